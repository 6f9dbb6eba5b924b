//! Flows drawn before they run.

use std::time::Duration;

use millstream_base::Result;
use millstream_flow::{Graph, GraphBuilder, OnFailure, Retry, Series, Task, TaskKind};

fn page() -> Graph<bool> {
    let mut graph = GraphBuilder::<bool>::new("page").max_parallel(4).on_failure(OnFailure::Continue);
    let input = graph.input();
    let user = graph.task("user", TaskKind::Network, (), |()| async { Ok(1) });
    graph.deadline(user, Duration::from_millis(1500));
    graph.retry(user, Retry::times(3));
    let ads = graph.task("ads", TaskKind::File, user.after(), |()| async { Ok(()) });
    graph.when(ads, input);
    graph.task("page", TaskKind::Flow, (user, ads.optional()), |_| async { Ok(()) });
    graph.build()
}

#[test]
fn a_graph_is_drawn_for_graphviz() {
    let expected = r##"digraph {
    graph [label="page\nat most 4 at once\ngoes on when a node fails", labelloc=t, rankdir=LR, bgcolor=white, fontname="sans-serif", fontcolor="#1c2430"];
    node [style=filled, fontname="sans-serif", fontcolor="#1c2430"];
    edge [fontname="sans-serif", fontcolor="#1c2430", color="#1c2430"];
    n0 [label="input", shape=cds, fillcolor="#ffffff", color="#1c2430"];
    n1 [label="user\nnetwork\ndeadline 1.5s\nup to 3 tries", shape=ellipse, fillcolor="#dcebf7", color="#1264a3"];
    n2 [label="ads\nfile", shape=note, fillcolor="#dcf1e5", color="#1b7f4b"];
    n3 [label="page\nflow", shape=component, fillcolor="#f5edcf", color="#806600"];
    n1 -> n2 [style=dotted];
    n0 -> n2 [label="if"];
    n1 -> n3;
    n2 -> n3 [style=dashed];
}
"##;
    assert_eq!(page().to_dot(), expected);
}

#[test]
fn a_graph_is_drawn_for_mermaid() {
    let expected = r##"flowchart LR
    subgraph flow_ ["page#44; at most 4 at once#44; goes on when a node fails"]
    direction LR
    n0>"input"]:::input
    n1(["user<br/>network<br/>deadline 1#46;5s<br/>up to 3 tries"]):::network
    n2[("ads<br/>file")]:::file
    n3[["page<br/>flow"]]:::flow
    n1 -.-> n2
    n0 -- if --> n2
    n1 --> n3
    n2 -.-> n3
    end
    style flow_ fill:none,stroke:#5c6a7a
    linkStyle 3 stroke-dasharray: 7 4
    linkStyle 0 stroke-dasharray: 1 4
    classDef network fill:#dcebf7,stroke:#1264a3,color:#1c2430
    classDef file fill:#dcf1e5,stroke:#1b7f4b,color:#1c2430
    classDef flow fill:#f5edcf,stroke:#806600,color:#1c2430
    classDef input fill:#ffffff,stroke:#1c2430,color:#1c2430
"##;
    assert_eq!(page().to_mermaid(), expected);
}

#[test]
fn a_series_is_drawn_as_a_row_and_an_empty_one_too() {
    let series =
        Series::new("")
            .with(Task::empty().named("end"))
            .with(Task::new("nap", TaskKind::Timer, async { Ok(()) }));
    let chart = series.to_mermaid();
    assert!(chart.contains("subgraph flow_ [\" \"]"), "{chart}");
    assert!(
        chart.contains("n0(\"end<br/>other\"):::other\n    n1{{\"nap<br/>timer\"}}:::timer\n    n0 --> n1\n"),
        "{chart}"
    );
    assert_eq!(Series::new("none").to_mermaid().lines().count(), 5);
}

/// Names that mean something to one of the two, with what each makes of them. Seen drawn by Graphviz 2.42 and Mermaid 11.17.
#[test]
fn names_are_escaped_for_each_format() {
    let cases = [
        ("", "", ""),
        ("\"quoted\"", "\\\"quoted\\\"", "#34;quoted#34;"),
        ("a\\n\\", "a\\\\n\\\\", "a#92;\u{200b}n#92;"),
        ("two\r\nlines\t", "two\\nlines ", "two<br/>lines "),
        ("<b>&lt;</b>", "<b>&amp;lt;</b>", "#60;b#62;#38;lt#59;#60;#47;b#62;"),
        ("#35; end", "#35; end", "#35;35#59; end"),
        ("%%{init}%%", "%%{init}%%", "#37;#37;#123;init#125;#37;#37;"),
        ("`1. *x*`", "`1. *x*`", "#96;1#46; #42;x#42;#96;"),
        ("$$x fa:fa-car", "$$x fa:fa-car", "#36;\u{200b}#36;x fa#58;\u{200b}fa#45;car"),
        ("東京 é 🦀", "東京 é 🦀", "東京 é 🦀"),
        ("\0\u{1b}[m", "\u{fffd}\u{fffd}[m", "\u{fffd}\u{fffd}#91;m"),
    ];
    for (name, dot, mermaid) in cases {
        let mut graph = GraphBuilder::<()>::new("names");
        graph.task(name, TaskKind::Compute, (), |()| async { Ok(()) as Result<()> });
        let graph = graph.build();
        let text = graph.to_dot();
        assert!(text.contains(&format!("n1 [label=\"{dot}\\ncompute\", ")), "{name:?} in {text}");
        let text = graph.to_mermaid();
        assert!(text.contains(&format!("n1[\"{mermaid}<br/>compute\"]:::compute")), "{name:?} in {text}");
    }
}

#[test]
fn long_names_are_cut_where_graphviz_would_refuse_them() {
    let graph = GraphBuilder::<()>::new("&".repeat(100_000)).build();
    let dot = graph.to_dot();
    let label = dot.split('"').nth(1).expect("it has a label");
    assert!(label.len() < 16_384 && label.ends_with("…"), "{}", label.len());
}
