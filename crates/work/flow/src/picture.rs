//! What is drawn of a flow that has not run: boxes and arrows, as text that other programs draw.

mod dot;
mod mermaid;

use crate::TaskKind;

/// A flow as boxes and arrows. Boxes are known by their places.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) name: &'a str,
    /// What holds for all of it.
    pub(crate) notes: Vec<String>,
    pub(crate) boxes: Vec<Drawn<'a>>,
    pub(crate) arrows: Vec<Arrow>,
}

/// What is done.
#[derive(Debug)]
pub(crate) struct Drawn<'a> {
    pub(crate) name: &'a str,
    /// None of what a run gets.
    pub(crate) kind: Option<TaskKind>,
    pub(crate) notes: Vec<String>,
}

/// What waits for what.
#[derive(Debug)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Solid,
    Dashed,
    Dotted,
    /// Solid, and says "if".
    If,
}

/// How boxes of a kind look. The colours are those of `millstream bench --html`, paled, and some between them.
struct Look {
    class: &'static str,
    fill: &'static str,
    edge: &'static str,
    /// In the language of Graphviz.
    shape: &'static str,
    /// Around a label of Mermaid.
    brackets: [&'static str; 2],
}

const INK: &str = "#1c2430";

impl Drawn<'_> {
    fn look(&self) -> &'static Look {
        LOOKS.iter().find(|(kind, _)| *kind == self.kind).map_or(&LOOKS[0].1, |(_, look)| look)
    }

    /// What stands below its name.
    fn below(&self) -> impl Iterator<Item = &str> {
        self.kind.map(TaskKind::name).into_iter().chain(self.notes.iter().map(String::as_str))
    }
}

const fn look(
    class: &'static str,
    fill: &'static str,
    edge: &'static str,
    shape: &'static str,
    brackets: [&'static str; 2],
) -> Look {
    Look { class, fill, edge, shape, brackets }
}

/// The first is that of kinds which are not among them.
const LOOKS: [(Option<TaskKind>, Look); 7] = [
    (Some(TaskKind::Other), look("other", "#eceff2", "#5c6a7a", "box", ["(", ")"])),
    (Some(TaskKind::Network), look("network", "#dcebf7", "#1264a3", "ellipse", ["([", "])"])),
    (Some(TaskKind::Compute), look("compute", "#fae3d8", "#b8460e", "box", ["[", "]"])),
    (Some(TaskKind::File), look("file", "#dcf1e5", "#1b7f4b", "note", ["[(", ")]"])),
    (Some(TaskKind::Timer), look("timer", "#eae2f5", "#6f4fa8", "hexagon", ["{{", "}}"])),
    (Some(TaskKind::Flow), look("flow", "#f5edcf", "#806600", "component", ["[[", "]]"])),
    (None, look("input", "#ffffff", INK, "cds", [">", "]"])),
];
