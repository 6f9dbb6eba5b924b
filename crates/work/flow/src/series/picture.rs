//! A series drawn.

use super::{Series, Step, StepWork};
use crate::picture::{Arrow, Drawn, Line, Picture};

impl<T, C> Series<T, C> {
    /// The steps as a flowchart of Mermaid, each kind in its shape and colour. All names are escaped.
    ///
    /// ```
    /// use millstream_flow::{Series, Task};
    /// let series = Series::new("two").with(Task::empty()).with(Task::empty());
    /// assert!(series.to_mermaid().contains("n0 --> n1"));
    /// ```
    pub fn to_mermaid(&self) -> String {
        let boxes: Vec<_> = self.steps.iter().map(drawn).collect();
        let arrows = (1..boxes.len()).map(|to| Arrow { from: to - 1, to, line: Line::Solid }).collect();
        Picture { name: &self.name, notes: Vec::new(), boxes, arrows }.to_mermaid()
    }
}

fn drawn<C>(step: &Step<C>) -> Drawn<'_> {
    let notes = match &step.work {
        StepWork::Compute(queue, _) => vec![format!("queue {}", queue.name())],
        StepWork::Future(_) => Vec::new(),
    };
    Drawn { name: &step.name, kind: Some(step.kind), notes }
}
