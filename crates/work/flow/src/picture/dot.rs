//! The language of Graphviz (<https://graphviz.org/doc/info/lang.html>).

use std::fmt::Write;

use super::{INK, Line, Picture};

impl Picture<'_> {
    pub(crate) fn to_dot(&self) -> String {
        let lines = std::iter::once(self.name).chain(self.notes.iter().map(String::as_str));
        let mut dot = format!(
            "digraph {{\n    graph [label={}, labelloc=t, rankdir=LR, bgcolor=white, fontname=\"sans-serif\", fontcolor=\"{INK}\"];\n    \
             node [style=filled, fontname=\"sans-serif\", fontcolor=\"{INK}\"];\n    \
             edge [fontname=\"sans-serif\", fontcolor=\"{INK}\", color=\"{INK}\"];\n",
            label(lines)
        );
        for (number, drawn) in self.boxes.iter().enumerate() {
            let look = drawn.look();
            let label = label(std::iter::once(drawn.name).chain(drawn.below()));
            let style = if look.class == "other" { ", style=\"rounded,filled\"" } else { "" };
            let (shape, fill, edge) = (look.shape, look.fill, look.edge);
            let _ = writeln!(
                dot,
                "    n{number} [label={label}, shape={shape}, fillcolor=\"{fill}\", color=\"{edge}\"{style}];"
            );
        }
        for arrow in &self.arrows {
            let attributes = match arrow.line {
                Line::Solid => "",
                Line::Dashed => " [style=dashed]",
                Line::Dotted => " [style=dotted]",
                Line::If => " [label=\"if\"]",
            };
            let _ = writeln!(dot, "    n{} -> n{}{attributes};", arrow.from, arrow.to);
        }
        dot.push_str("}\n");
        dot
    }
}

/// So much of a line is shown: Graphviz 2.43 refuses strings of more than 16,384 bytes, and an escape takes up to five.
const MOST_CHARS: usize = 1000;

/// A quoted label: a backslash begins an escape there, and `&` an entity of HTML.
fn label<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let mut label = String::from("\"");
    for (number, line) in lines.enumerate() {
        if number > 0 {
            label.push_str("\\n");
        }
        let rest = line.chars().nth(MOST_CHARS).map(|_| '…');
        for char in line.chars().take(MOST_CHARS).chain(rest) {
            match char {
                '"' => label.push_str("\\\""),
                '\\' => label.push_str("\\\\"),
                '&' => label.push_str("&amp;"),
                '\n' => label.push_str("\\n"),
                '\t' => label.push(' '),
                '\r' => (),
                char if char.is_control() => label.push(char::REPLACEMENT_CHARACTER),
                char => label.push(char),
            }
        }
    }
    label.push('"');
    label
}
