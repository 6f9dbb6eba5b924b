//! Records made by hand, and what is shown of them.

mod random;
mod xml;

use super::*;

/// A span in microseconds.
fn span(name: &str, kind: TaskKind, worker: &str, us: [u64; 3], ending: Ending, after: &[usize]) -> Span {
    let [ready, begun, ended] = us.map(Duration::from_micros);
    let (name, worker, after) = (Cow::Owned(name.to_owned()), worker.into(), after.to_vec());
    Span { name, kind, attempt: 1, worker, ready, begun, ended, ending, after }
}

fn record(flow: &str, spans: Vec<Span>) -> Record {
    let took = spans.iter().map(|span| span.ended).max().unwrap_or_default();
    Record { flow: Cow::Owned(flow.to_owned()), spans, took }
}

/// One of each kind and each ending.
fn page() -> Record {
    use Ending::{Cancelled, Done, Failed, Skipped, TimedOut};
    use TaskKind::{Compute, File, Flow, Network, Other, Timer};
    let long = "read a template with a name that is longer than its column";
    let mut spans = vec![
        span(long, File, "worker-2", [0, 40, 41], Done, &[]),
        span("fetch ads <b>&\"'", Network, "worker-1", [0, 30, 2_500], Failed, &[]),
        span("fetch user", Network, "worker-1", [0, 20, 4_000], Done, &[]),
        span("fetch ads <b>&\"'", Network, "worker-2", [2_500, 5_000, 7_900], TimedOut, &[1]),
        span("banner", Other, "", [7_900, 7_900, 7_900], Skipped, &[3]),
        span("nap", Timer, "worker-1", [0, 10, 9_000], Cancelled, &[]),
        span("resize 東京都庁", Compute, "compute-1", [4_000, 6_500, 11_800], Done, &[2]),
        span("render", Flow, "worker-2", [11_800, 11_900, 12_345], Done, &[6, 0, 4]),
        span("audit", File, "", [11_800, 11_800, 11_800], Cancelled, &[6]),
    ];
    spans[3].attempt = 2;
    record("page", spans)
}

/// Each row's name, as the picture shows it.
fn row_names(svg: &str) -> Vec<&str> {
    let parts = svg.split("<text class=\"name").skip(1);
    parts.filter_map(|part| part.split_once("</title>")?.1.split("</text>").next()).collect()
}

#[test]
fn a_run_is_drawn_as_it_was_looked_at() {
    let svg = page().to_svg();
    xml::check(&svg).unwrap();
    for (number, (line, expected)) in svg.lines().zip(include_str!("tests/page.svg").lines()).enumerate() {
        assert_eq!(line, expected, "line {number}");
    }
    assert_eq!(svg.len(), include_str!("tests/page.svg").len());
}

#[test]
fn attempts_share_a_row_and_long_names_are_cut() {
    let svg = page().to_svg();
    assert_eq!(
        row_names(&svg),
        [
            "nap",
            "fetch user",
            "fetch ads &lt;b&gt;&amp;&quot;&#39;",
            "read a template with a nam…",
            "resize 東京都庁",
            "banner",
            "audit",
            "render"
        ]
    );
    assert!(svg.contains("<title>read a template with a name that is longer than its column</title>"));
    assert!(svg.contains("5.37 ms timed out, 2 tries"));
}

#[test]
fn each_worker_has_as_many_rows_as_tasks_at_once() {
    let svg = page().to_svg_with(Rows::ByWorker);
    xml::check(&svg).unwrap();
    assert_eq!(row_names(&svg), ["compute-1", "worker-1", "worker-2", "never began"]);
    // worker-1 had three at once.
    assert!(svg.contains("y2=\"236\""), "six rows of 22 px below 104");
    assert!(!svg.contains("class=\"wait\""));
}

#[test]
fn nothing_and_one_of_no_length_are_drawn() {
    for rows in [Rows::ByTask, Rows::ByWorker] {
        let svg = record("nothing", Vec::new()).to_svg_with(rows);
        xml::check(&svg).unwrap();
        assert!(svg.contains(">nothing ran<"));
        let one = span("one", TaskKind::Other, "worker", [0, 0, 0], Ending::Done, &[]);
        let svg = record("one", vec![one]).to_svg_with(rows);
        xml::check(&svg).unwrap();
        assert!(svg.contains("width=\"2.0\" height=\"12\"") && !svg.contains("NaN"), "{svg}");
    }
}

#[test]
fn the_shortest_at_the_end_stays_in_the_picture() {
    let us = 3_600_000_000;
    let spans = vec![
        span("long", TaskKind::Compute, "a", [0, 0, us], Ending::Done, &[]),
        span("short", TaskKind::Compute, "a", [us, us, us], Ending::Done, &[0]),
    ];
    let svg = record("hour", spans).to_svg();
    assert!(svg.contains("x=\"804.0\" y=\"131\" width=\"2.0\""), "{svg}");
}

#[test]
fn a_table_is_aligned_and_marks_the_critical_path() {
    let expected = "\
\x20 name                                                        kind     worker      waited      ran   share  ending
  nap                                                         timer    worker-1   10.0 µs  8.99 ms  72.8 %  cancelled
* fetch user                                                  network  worker-1   20.0 µs  3.98 ms  32.2 %  done
  fetch ads <b>&\"'                                            network  worker-1   30.0 µs  2.47 ms  20.0 %  failed
  read a template with a name that is longer than its column  file     worker-2   40.0 µs  1.00 µs   0.0 %  done
  fetch ads <b>&\"' (2)                                        network  worker-2   2.50 ms  2.90 ms  23.5 %  timed out
* resize 東京都庁                                             compute  compute-1  2.50 ms  5.30 ms  42.9 %  done
  banner                                                      other    -                -        -       -  skipped
  audit                                                       file     -                -        -       -  cancelled
* render                                                      flow     worker-2    100 µs   445 µs   3.6 %  done
page: 8 tasks took 12.3 ms and ran 24.1 ms in all, 1.95 at once; * is on the critical path
";
    assert_eq!(page().to_table(), expected);
    let empty = record("a\nb", Vec::new()).to_table();
    assert!(
        empty.ends_with(
            "a b: 0 tasks took 0 ns and ran 0 ns in all, 0.00 at once; * is on the critical path\n"
        )
    );
}
