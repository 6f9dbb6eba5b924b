//! What a span looks like.

use std::fmt::Write;

use super::axis::Axis;
use super::{PLOT, PLOT_WIDTH, xml};
use crate::record::{Ending, Span};
use crate::text::time;

/// High, above the row's lower edge.
const HIGH: f64 = 12.0;
/// Nothing is narrower: it is to be seen, and to be hovered over.
const NARROWEST: f64 = 2.0;

/// One span in a row that begins at `y`.
#[derive(Debug)]
pub(super) struct Bar<'a> {
    pub(super) span: &'a Span,
    pub(super) is_critical: bool,
    /// Is the time it waited shown before it?
    pub(super) shows_wait: bool,
}

impl Bar<'_> {
    pub(super) fn draw(&self, svg: &mut String, axis: &Axis, y: f64) {
        let span = self.span;
        let at = |moment| PLOT + PLOT_WIDTH * axis.place(moment);
        let (ready, begun, ended) = (at(span.ready), at(span.begun), at(span.ended));
        let (kind, ending) = (span.kind.name(), ending_class(span.ending));
        let critical = if self.is_critical { " critical" } else { "" };
        let hover = xml(&hover(span, self.is_critical));
        let _ = write!(svg, "<g class=\"{kind} {ending}{critical}\"><title>{hover}</title>");
        if !span.has_begun() {
            never(svg, ready, y);
        } else {
            if self.shows_wait && begun > ready {
                let (top, width) = (y + 4.0, begun - ready);
                let _ = write!(
                    svg,
                    "<rect class=\"wait\" x=\"{ready:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"4\"/>"
                );
            }
            let width = (ended - begun).max(NARROWEST);
            let left = begun.min(PLOT + PLOT_WIDTH - width);
            let place = format!("x=\"{left:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{HIGH}\"");
            running(svg, span.ending, self.is_critical, &place);
        }
        svg.push_str("</g>\n");
    }
}

/// A rectangle that says how it ended.
pub(super) fn running(svg: &mut String, ending: Ending, is_critical: bool, place: &str) {
    let _ = write!(svg, "<rect {place}/>");
    if ending != Ending::Done {
        let _ = write!(svg, "<rect class=\"mark\" {place}/>");
    }
    if is_critical {
        let _ = write!(svg, "<rect class=\"frame\" {place} style=\"stroke-linejoin:round\"/>");
    }
}

/// A hollow diamond.
pub(super) fn never(svg: &mut String, x: f64, y: f64) {
    let _ = write!(svg, "<path class=\"never\" d=\"M{x:.1} {y}l5 6l-5 6l-5 -6z\"/>");
}

pub(super) fn ending_class(ending: Ending) -> &'static str {
    match ending {
        Ending::TimedOut => "timed-out",
        ending => ending.name(),
    }
}

fn hover(span: &Span, is_critical: bool) -> String {
    let mut hover = span.name.to_string();
    if span.attempt > 1 {
        let _ = write!(hover, ", attempt {}", span.attempt);
    }
    let _ = write!(hover, "\n{}, {}", span.kind, span.ending.name());
    if span.has_begun() {
        let (waited, ran, begun) = (time(span.waited()), time(span.ran()), time(span.begun));
        let _ = write!(hover, "\non {}\nwaited {waited}, ran {ran}, from {begun} on", span.worker);
    } else {
        let _ = write!(hover, "\nnever began");
    }
    if is_critical {
        hover.push_str("\non the critical path");
    }
    hover
}
