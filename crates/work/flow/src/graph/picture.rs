//! A graph drawn.

use super::Graph;
use super::plan::{Details, EdgeKind, NodeWork, OnFailure, Plan};
use crate::picture::{Arrow, Drawn, Line, Picture};

impl<I: Send + Sync + 'static> Graph<I> {
    /// The graph in the language of Graphviz: `dot -Tsvg` draws it.
    ///
    /// Each kind has its shape and its colour. An arrow is solid for an output, dashed for one that may be missing, dotted for a mere
    /// order, and says "if" for a condition. Deadlines, tries, queues and limits stand with the names. All names are escaped.
    ///
    /// ```
    /// use millstream_flow::{GraphBuilder, TaskKind};
    /// let mut graph = GraphBuilder::<u32>::new("double");
    /// let number = graph.input();
    /// graph.task("twice", TaskKind::Other, number, |number| async move { Ok(*number * 2) });
    /// let dot = graph.build().to_dot();
    /// assert!(dot.starts_with("digraph {") && dot.contains("n0 -> n1;"));
    /// ```
    pub fn to_dot(&self) -> String {
        picture(&self.plan).to_dot()
    }

    /// The graph as a flowchart of Mermaid, which many sites draw in Markdown. It looks as that of [`to_dot`](Self::to_dot).
    ///
    /// ```
    /// use millstream_flow::{GraphBuilder, TaskKind};
    /// let mut graph = GraphBuilder::<u32>::new("double");
    /// let number = graph.input();
    /// graph.task("twice", TaskKind::Other, number, |number| async move { Ok(*number * 2) });
    /// let chart = graph.build().to_mermaid();
    /// assert!(chart.starts_with("flowchart LR") && chart.contains("n0 --> n1"));
    /// ```
    pub fn to_mermaid(&self) -> String {
        picture(&self.plan).to_mermaid()
    }
}

fn picture(plan: &Plan) -> Picture<'_> {
    let boxes = plan.nodes.iter().zip(&plan.details).map(|(work, node)| {
        let kind = (!matches!(work, NodeWork::Input)).then_some(node.kind);
        Drawn { name: &node.name, kind, notes: notes(plan, work, node) }
    });
    let arrows = (0..plan.len()).flat_map(|to| {
        let edges = plan.edges_of(to).iter();
        edges.map(move |edge| Arrow { from: edge.from as usize, to, line: line(edge.kind) })
    });
    let mut notes: Vec<_> =
        plan.max_parallel.map(|most| format!("at most {most} at once")).into_iter().collect();
    if plan.on_failure == OnFailure::Continue {
        notes.push("goes on when a node fails".to_owned());
    }
    Picture { name: &plan.name, notes, boxes: boxes.collect(), arrows: arrows.collect() }
}

fn notes(plan: &Plan, work: &NodeWork, node: &Details) -> Vec<String> {
    let mut notes = Vec::new();
    if let NodeWork::Compute(queue, _) | NodeWork::ComputeWithCare(queue, _) = work {
        notes.push(format!("queue {}", plan.queues[*queue as usize].name()));
    }
    notes.extend(node.deadline.map(|limit| format!("deadline {limit:?}")));
    notes.extend(node.retry.as_ref().map(|retry| format!("up to {} tries", retry.most())));
    notes
}

fn line(kind: EdgeKind) -> Line {
    match kind {
        EdgeKind::Value => Line::Solid,
        EdgeKind::Optional => Line::Dashed,
        EdgeKind::After => Line::Dotted,
        EdgeKind::When => Line::If,
    }
}
