//! The flowcharts of Mermaid (<https://mermaid.js.org/syntax/flowchart.html>).

use std::fmt::Write;

use super::{INK, LOOKS, Line, Picture};
use crate::text::on_one_line;

impl Picture<'_> {
    pub(crate) fn to_mermaid(&self) -> String {
        let words: Vec<_> = [self.name].into_iter().chain(self.notes.iter().map(String::as_str)).collect();
        // The boxes leave room for one line.
        let title = label([on_one_line(&words.join(", ")).as_str()].into_iter());
        let mut chart = format!("flowchart LR\n    subgraph flow_ [{title}]\n    direction LR\n");
        for (number, drawn) in self.boxes.iter().enumerate() {
            let look = drawn.look();
            let label = label(std::iter::once(drawn.name).chain(drawn.below()));
            let [open, close] = look.brackets;
            let _ = writeln!(chart, "    n{number}{open}{label}{close}:::{}", look.class);
        }
        for arrow in &self.arrows {
            let line = match arrow.line {
                Line::Solid => "-->",
                Line::Dashed | Line::Dotted => "-.->",
                Line::If => "-- if -->",
            };
            let _ = writeln!(chart, "    n{} {line} n{}", arrow.from, arrow.to);
        }
        chart.push_str("    end\n    style flow_ fill:none,stroke:#5c6a7a\n");
        self.style(&mut chart);
        chart
    }

    fn style(&self, chart: &mut String) {
        for (line, dashes) in [(Line::Dashed, "7 4"), (Line::Dotted, "1 4")] {
            let arrows = self.arrows.iter().enumerate().filter(|(_, arrow)| arrow.line == line);
            let numbers: Vec<_> = arrows.map(|(number, _)| number.to_string()).collect();
            if !numbers.is_empty() {
                let _ = writeln!(chart, "    linkStyle {} stroke-dasharray: {dashes}", numbers.join(","));
            }
        }
        for (_, look) in &LOOKS {
            if self.boxes.iter().any(|drawn| drawn.look().class == look.class) {
                let (class, fill, edge) = (look.class, look.fill, look.edge);
                let _ = writeln!(chart, "    classDef {class} fill:{fill},stroke:{edge},color:{INK}");
            }
        }
    }
}

/// A quoted label. It may hold HTML, Markdown, entities and directives: so all but letters, figures and spaces is written by its number.
fn label<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut label = String::from("\"");
    for (number, line) in lines.enumerate() {
        if number > 0 {
            label.push_str("<br/>");
        }
        let mut before = ' ';
        for char in line.chars() {
            // Even by their numbers they are a line's end, a formula, the begin of an icon.
            if matches!((before, char), ('\\', 'n') | ('$', '$') | (':', 'f')) {
                label.push(ZERO_WIDTH_SPACE);
            }
            push(&mut label, char);
            before = char;
        }
    }
    if label.len() == 1 {
        label.push(' '); // an empty label is an error
    }
    label.push('"');
    label
}

fn push(label: &mut String, char: char) {
    match char {
        '\n' => label.push_str("<br/>"),
        '\t' | ' ' => label.push(' '),
        '\r' => (),
        char if char.is_control() => label.push(char::REPLACEMENT_CHARACTER),
        char if char.is_ascii() && !char.is_ascii_alphanumeric() => {
            let _ = write!(label, "#{};", u32::from(char));
        }
        char => label.push(char),
    }
}

const ZERO_WIDTH_SPACE: char = '\u{200b}';
