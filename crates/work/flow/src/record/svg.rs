//! A run as a picture: what ran when, on a scale of time.

mod axis;
mod bar;
mod legend;
mod rows;

use std::fmt::Write;

use axis::Axis;
use bar::Bar;
use rows::{Row, rows};

use super::{Ending, Record};
use crate::text::{cut, on_one_line, time};

/// What a picture of a run has a row for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rows {
    /// Each task, with all its attempts.
    #[default]
    ByTask,
    /// Each thread; as many as it had tasks at once. How long tasks waited is told on hovering only.
    ByWorker,
}

/// In pixels, as all that follows.
const WIDTH: f64 = 1000.0;
const MARGIN: f64 = 16.0;
/// Where the scale begins, and how wide it is. Names stand before it, spans behind.
const PLOT: f64 = 206.0;
const PLOT_WIDTH: f64 = 600.0;
/// Where the rows begin, and how high each is.
const TOP: f64 = 104.0;
const ROW: f64 = 22.0;
/// So much of a name is shown before it is clipped; the rest is told on hovering.
const NAME_WIDTH: usize = 27;

impl Record {
    /// A picture of the run as an SVG that needs nothing else, in light and dark: a row for each task, with waiting pale and running
    /// solid before a scale of time; the critical path is framed, and listed below.
    ///
    /// It has at most 200 rows and 1,000 spans: of more it shows the critical path, what went wrong and the longest, and says how many
    /// it left out.
    ///
    /// ```
    /// use millstream_flow::{Series, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (_, record) = Series::new("two").with(Task::empty()).with(Task::empty()).recorded().await;
    /// assert!(record.to_svg().starts_with("<svg xmlns="));
    /// # });
    /// ```
    pub fn to_svg(&self) -> String {
        self.to_svg_with(Rows::default())
    }

    /// The same with other rows.
    ///
    /// ```
    /// use millstream_flow::{Rows, Series, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (_, record) = Series::new("one").with(Task::empty()).recorded().await;
    /// let svg = record.to_svg_with(Rows::ByWorker);
    /// # });
    /// ```
    pub fn to_svg_with(&self, rows: Rows) -> String {
        let path = self.critical_path();
        let mut is_critical = vec![false; self.spans.len()];
        path.iter().for_each(|at| is_critical[*at] = true);
        Drawing { record: self, by: rows, path, is_critical }.draw()
    }
}

struct Drawing<'a> {
    record: &'a Record,
    by: Rows,
    path: Vec<usize>,
    is_critical: Vec<bool>,
}

impl Drawing<'_> {
    fn draw(&self) -> String {
        let rows = rows(self.record, self.by, &self.is_critical);
        #[allow(clippy::cast_precision_loss)] // at most 200
        let bottom = TOP + ROW * rows.len().max(1) as f64;
        let mut body = String::new();
        self.head(&mut body, &rows);
        let axis = Axis::new(
            self.record
                .spans
                .iter()
                .map(|span| span.ended)
                .max()
                .max(Some(self.record.took))
                .unwrap_or_default(),
        );
        scale(&mut body, &axis, bottom);
        if rows.is_empty() {
            let _ = writeln!(
                body,
                "<text class=\"soft\" x=\"{}\" y=\"{}\">nothing ran</text>",
                PLOT + 10.0,
                TOP + 15.0
            );
        }
        let mut y = TOP;
        let mut above = "";
        for row in &rows {
            let is_new = self.by == Rows::ByTask || row.name != above;
            self.row(&mut body, row, &axis, y, is_new);
            above = row.name;
            y += ROW;
        }
        let below = legend::signs(&mut body, self.record, self.by == Rows::ByTask, bottom + 14.0);
        let height = legend::critical(&mut body, self.record, &self.path, below) + MARGIN;
        let name = xml(&self.record.flow);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ms-flow\" role=\"img\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" style=\"max-width:100%;height:auto\">\n<title>{name}</title>\n<style>\n{}</style>\n{DEFS}\
             <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n{body}</svg>\n",
            include_str!("svg/style.css")
        )
    }

    fn head(&self, svg: &mut String, rows: &[Row<'_>]) {
        let record = self.record;
        let name = xml(&cut(&on_one_line(&record.flow), 100));
        let summary = record.summary();
        let _ = writeln!(svg, "<text class=\"title\" x=\"{MARGIN}\" y=\"30\">{name}</text>");
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{MARGIN}\" y=\"50\">{summary}</text>");
        let (all, shown) = (record.spans.len(), rows.iter().map(|row| row.spans.len()).sum::<usize>());
        if shown < all {
            let _ = writeln!(
                svg,
                "<text class=\"soft\" x=\"{MARGIN}\" y=\"68\">{} of {all} are left out; shown are the critical path, what went wrong and \
                 the longest, as far as there is room</text>",
                all - shown
            );
        }
    }

    fn row(&self, svg: &mut String, row: &Row<'_>, axis: &Axis, y: f64, is_new: bool) {
        let spans = row.spans.iter().map(|at| (&self.record.spans[*at], self.is_critical[*at]));
        let is_strong = self.by == Rows::ByTask && spans.clone().any(|(_, is_critical)| is_critical);
        let strong = if is_strong { " strong" } else { "" };
        let text = y + 15.0;
        if is_new {
            let name = on_one_line(row.name);
            let (full, short) = (xml(&name), xml(&cut(&name, NAME_WIDTH)));
            let _ = writeln!(
                svg,
                "<text class=\"name{strong}\" x=\"{MARGIN}\" y=\"{text}\"><title>{full}</title>{short}</text>"
            );
        }
        let shows_wait = self.by == Rows::ByTask;
        for (span, is_critical) in spans {
            Bar { span, is_critical, shows_wait }.draw(svg, axis, y + 5.0);
        }
        if self.by == Rows::ByTask {
            let note = xml(&self.note(row));
            let x = PLOT + PLOT_WIDTH + 10.0;
            let _ = writeln!(svg, "<text class=\"soft\" x=\"{x}\" y=\"{text}\">{note}</text>");
        }
    }

    /// How long a task ran, how it ended, and with how many attempts.
    fn note(&self, row: &Row<'_>) -> String {
        let Some(last) = row.spans.last().map(|at| &self.record.spans[*at]) else { return String::new() };
        let ran = row.spans.iter().map(|at| self.record.spans[*at].ran()).sum();
        let mut note = if last.has_begun() { time(ran) } else { String::new() };
        if last.ending != Ending::Done {
            let _ = write!(note, " {}", last.ending.name());
        }
        if last.attempt > 1 {
            let _ = write!(note, ", {} tries", last.attempt);
        }
        note
    }
}

fn scale(svg: &mut String, axis: &Axis, bottom: f64) {
    for (moment, text) in axis.ticks() {
        let x = PLOT + PLOT_WIDTH * axis.place(moment);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
             <text class=\"soft middle\" x=\"{x:.1}\" y=\"{}\">{text}</text>",
            TOP - 6.0
        );
    }
}

/// Text as XML 1.0 allows it (section 2.2): other characters are replaced.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'.. => escaped.push(char),
            _ => escaped.push(char::REPLACEMENT_CHARACTER),
        }
    }
    escaped
}

/// What marks how a span ended.
const DEFS: &str = "<defs>\
<clipPath id=\"ms-names\"><rect x=\"0\" y=\"0\" width=\"196\" height=\"100%\"/></clipPath>\
<pattern id=\"ms-failed\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path class=\"paper\" stroke-width=\"4\" d=\"M0 0v6\"/></pattern>\
<pattern id=\"ms-timed-out\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<path class=\"paper\" stroke-width=\"3\" d=\"M0 0v4\"/></pattern>\
<pattern id=\"ms-cancelled\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\">\
<circle class=\"dot\" cx=\"2.5\" cy=\"2.5\" r=\"1.5\"/></pattern>\
</defs>\n";
