//! What stands below a picture: its signs, and the critical path.

use std::fmt::Write;

use super::bar::{ending_class, never, running};
use super::{MARGIN, WIDTH, xml};
use crate::record::{Ending, Record};
use crate::text::{cut, on_one_line, time, width};

/// The longest steps of the critical path; so many are listed.
const STEPS: usize = 12;
const LINE: f64 = 18.0;

/// A sign with its text.
struct Sign {
    class: String,
    text: &'static str,
    ending: Ending,
    is_critical: bool,
    is_hollow: bool,
}

/// Writes the signs that the record needs, from `y` on; gives where they end.
pub(super) fn signs(svg: &mut String, record: &Record, shows_wait: bool, mut y: f64) -> f64 {
    let mut x = MARGIN;
    for sign in needed(record, shows_wait) {
        #[allow(clippy::cast_precision_loss)] // a few letters, of 7 px on average
        let wide = 30.0 + 7.0 * width(sign.text) as f64;
        if x + wide > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + LINE);
        }
        let _ = write!(svg, "<g class=\"{}\">", sign.class);
        if sign.is_hollow {
            never(svg, x + 7.0, y);
        } else {
            let place = format!("x=\"{x:.1}\" y=\"{y}\" width=\"14\" height=\"12\"");
            running(svg, sign.ending, sign.is_critical, &place);
        }
        let _ = writeln!(svg, "</g><text x=\"{:.1}\" y=\"{}\">{}</text>", x + 20.0, y + 10.0, sign.text);
        x += wide;
    }
    y + LINE
}

fn needed(record: &Record, shows_wait: bool) -> Vec<Sign> {
    let plain = |class: &str, text| {
        let (ending, is_critical, is_hollow) = (Ending::Done, false, false);
        Sign { class: class.to_owned(), text, ending, is_critical, is_hollow }
    };
    let mut signs: Vec<Sign> = Vec::new();
    for span in record.spans.iter().filter(|span| span.has_begun()) {
        if signs.iter().all(|sign| sign.text != span.kind.name()) {
            signs.push(plain(span.kind.name(), span.kind.name()));
        }
    }
    if shows_wait && record.spans.iter().any(|span| !span.waited().is_zero()) {
        signs.push(plain("other wait", "waited"));
    }
    for ending in [Ending::Failed, Ending::TimedOut, Ending::Cancelled] {
        if record.spans.iter().any(|span| span.has_begun() && span.ending == ending) {
            let class = format!("other {}", ending_class(ending));
            signs.push(Sign { class, ending, ..plain("", ending.name()) });
        }
    }
    let never = |ending: Ending| record.spans.iter().any(|span| !span.has_begun() && span.ending == ending);
    if never(Ending::Skipped) {
        signs.push(Sign { is_hollow: true, ..plain("other skipped", "skipped") });
    }
    if record.spans.iter().any(|span| !span.has_begun() && span.ending != Ending::Skipped) {
        signs.push(Sign { is_hollow: true, ..plain("other", "never began") });
    }
    if record.spans.iter().any(|span| span.has_begun()) {
        signs.push(Sign { is_critical: true, ..plain("other critical", "on the critical path") });
    }
    signs
}

/// Lists the critical path, from `y` on; gives where it ends.
pub(super) fn critical(svg: &mut String, record: &Record, path: &[usize], mut y: f64) -> f64 {
    if path.is_empty() {
        return y;
    }
    let mut longest = path.to_vec();
    longest.sort_by_key(|at| std::cmp::Reverse(record.spans[*at].ran()));
    longest.truncate(STEPS);
    let left_out = path.len() - longest.len();
    let more =
        if left_out == 0 { String::new() } else { format!(": {STEPS} longest of {} steps", path.len()) };
    y += LINE;
    let _ = writeln!(svg, "<text class=\"strong\" x=\"{MARGIN}\" y=\"{y}\">Critical path{more}</text>");
    for (number, at) in path.iter().enumerate().filter(|(_, at)| longest.contains(at)) {
        let span = &record.spans[*at];
        y += LINE;
        let name = cut(&on_one_line(&span.name), 80);
        let (number, ran, waited) = (number + 1, time(span.ran()), time(span.waited()));
        let text = xml(&format!("{number}. {name}: ran {ran}, waited {waited}"));
        let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{y}\">{text}</text>");
    }
    y
}
