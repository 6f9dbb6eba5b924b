//! A run as a table.

use std::fmt;

use super::{Record, Span};
use crate::text::{cut, on_one_line, time, width};

/// Longer names and workers are cut.
const WIDEST: usize = 60;
const HEAD: [&str; 7] = ["name", "kind", "worker", "waited", "ran", "share", "ending"];
/// Numbers stand to the right.
const IS_NUMBER: [bool; 7] = [false, false, false, true, true, true, false];

impl Record {
    /// The run as text: a line for each span in the order in which they began, with how long it waited and ran and which share of the
    /// whole that is. Those on the critical path have a star. A last line has the sums.
    ///
    /// ```
    /// use millstream_flow::{Series, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (_, record) = Series::new("one").with(Task::empty()).recorded().await;
    /// let table = record.to_table();
    /// assert!(table.contains("* empty  other"));
    /// assert_eq!(table, record.to_string());
    /// # });
    /// ```
    pub fn to_table(&self) -> String {
        self.to_string()
    }

    /// The sums in a sentence.
    pub(super) fn summary(&self) -> String {
        let tasks = self.spans.iter().filter(|span| span.attempt == 1).count();
        let noun = if tasks == 1 { "task" } else { "tasks" };
        let (took, ran) = (time(self.took), time(self.running()));
        format!("{tasks} {noun} took {took} and ran {ran} in all, {:.2} at once", self.parallelism())
    }

    fn cells(&self, span: &Span) -> [String; 7] {
        let mut name = cut(&on_one_line(&span.name), WIDEST);
        if span.attempt > 1 {
            name.push_str(&format!(" ({})", span.attempt));
        }
        let kind = span.kind.name().to_owned();
        let ending = span.ending.name().to_owned();
        if !span.has_begun() {
            let [worker, waited, ran, share] = ["-"; 4].map(str::to_owned);
            return [name, kind, worker, waited, ran, share, ending];
        }
        let worker = cut(&on_one_line(&span.worker), WIDEST);
        let share = match self.took.as_secs_f64() {
            0.0 => "-".to_owned(),
            took => format!("{:.1} %", 100.0 * span.ran().as_secs_f64() / took),
        };
        [name, kind, worker, time(span.waited()), time(span.ran()), share, ending]
    }
}

/// As [`Record::to_table`].
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut order: Vec<_> = (0..self.spans.len()).collect();
        order.sort_by_key(|at| (self.spans[*at].begun, self.spans[*at].ended));
        let mut is_critical = vec![false; self.spans.len()];
        self.critical_path().into_iter().for_each(|at| is_critical[at] = true);
        let lines: Vec<_> = order.iter().map(|at| (is_critical[*at], self.cells(&self.spans[*at]))).collect();
        let mut widths = HEAD.map(width);
        for (_, cells) in &lines {
            widths.iter_mut().zip(cells).for_each(|(widest, cell)| *widest = width(cell).max(*widest));
        }
        line(f, false, &HEAD, &widths)?;
        for (is_critical, cells) in &lines {
            line(f, *is_critical, &cells.each_ref().map(String::as_str), &widths)?;
        }
        writeln!(f, "{}: {}; * is on the critical path", on_one_line(&self.flow), self.summary())
    }
}

fn line(f: &mut fmt::Formatter<'_>, is_marked: bool, cells: &[&str; 7], widths: &[usize; 7]) -> fmt::Result {
    let mut line = String::from(if is_marked { "*" } else { " " });
    for ((cell, widest), is_number) in cells.iter().zip(widths).zip(IS_NUMBER) {
        let space = " ".repeat(widest - width(cell));
        line.push_str(if line.len() == 1 { " " } else { "  " });
        let [before, behind] = if is_number { [&*space, ""] } else { ["", &*space] };
        [before, cell, behind].into_iter().for_each(|part| line.push_str(part));
    }
    writeln!(f, "{}", line.trim_end())
}
