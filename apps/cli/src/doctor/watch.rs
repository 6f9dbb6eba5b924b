//! The live view: endpoints with their budget, the forecast, and what was found; twice a second.

use std::time::{Duration, Instant};

use millstream::doctor::{EndpointRow, Observer, Report, Severity, Verdict};
use millstream::{Error, Result};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};

use super::since::Earlier;
use crate::exit::Exit;

/// A guess: quick enough to see things move, and one dump costs a few milliseconds.
const PERIOD: Duration = Duration::from_millis(500);

/// Shows it until somebody has seen enough.
pub(super) fn run(mut observer: Observer, mut earlier: Earlier) -> Result<Exit> {
    let mut terminal = ratatui::try_init().map_err(|error| Error::io(error).with_target("terminal"))?;
    let outcome = watch(&mut observer, &mut earlier, &mut terminal);
    ratatui::restore();
    outcome.map(|()| Exit::Done)
}

fn watch(observer: &mut Observer, earlier: &mut Earlier, terminal: &mut DefaultTerminal) -> Result<()> {
    loop {
        observer.sample()?;
        let observation = observer.observation();
        let report = Report::of(&observation);
        let since = earlier.look(&observation, &report)?;
        terminal.draw(|frame| draw(frame, &report, &since)).map_err(Error::io)?;
        let next = Instant::now() + PERIOD;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            if !event::poll(left).map_err(Error::io)? {
                break;
            }
            match event::read().map_err(Error::io)? {
                Event::Key(key) if is_end(key) => return Ok(()),
                Event::Resize(..) => {
                    terminal.draw(|frame| draw(frame, &report, &since)).map_err(Error::io)?;
                }
                _ => {}
            }
        }
    }
}

fn is_end(key: KeyEvent) -> bool {
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

fn draw(frame: &mut Frame<'_>, report: &Report, since: &[String]) {
    let height = height(since, frame.area().width);
    let areas = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(height),
        Constraint::Min(5),
        Constraint::Percentage(40),
    ]);
    let [head, compared, middle, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(header(report)), head);
    if height > 0 {
        let lines: Vec<_> = since.iter().map(|line| Line::from(line.as_str())).collect();
        let lines = Paragraph::new(lines).wrap(Wrap { trim: false });
        frame.render_widget(lines.block(Block::bordered().title(" before -> now ")), compared);
    }
    frame.render_widget(table(report), middle);
    frame.render_widget(found(report), foot);
}

/// Lines of the block that compares, its frame with it; none if there is nothing in it.
fn height(since: &[String], width: u16) -> u16 {
    if since.is_empty() {
        return 0;
    }
    let inner = usize::from(width).saturating_sub(2).max(1);
    let lines: usize = since.iter().map(|line| line.len().div_ceil(inner)).sum();
    // More would leave too little for what is found; `--since` without `--watch` has it all.
    u16::try_from(lines.min(6)).unwrap_or(6) + 2
}

fn header(report: &Report) -> Vec<Line<'static>> {
    let (word, colour) = match report.verdict {
        Verdict::Critical => (" CRITICAL ", Color::Red),
        Verdict::Warning => (" WARNING ", Color::Yellow),
        _ => (" OK ", Color::Green),
    };
    let states = report.states.iter().filter(|(_, count)| **count > 0);
    let states: Vec<_> = states.map(|(name, count)| format!("{name} {count}")).collect();
    let span = format!("  the last {} s   q quits", report.host.observed_ms / 1000);
    let first =
        Line::from(vec![Span::styled(word, Style::new().fg(Color::Black).bg(colour)), Span::raw(span)]);
    vec![first, Line::from(states.join("  ")).dim()]
}

fn table(report: &Report) -> Table<'static> {
    let names = ["endpoint", "estab.", "TIME_WAIT", "/s", "CLOSE_W.", "ports held", "none left", "held by"];
    let widths = [
        Constraint::Min(34),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Length(24),
        Constraint::Length(9),
        Constraint::Min(16),
    ];
    // More than any terminal has lines.
    let rows = report.endpoints.iter().take(200).map(row);
    Table::new(rows, widths)
        .header(Row::new(names).style(Style::new().bold()))
        .block(Block::bordered().title(" endpoints "))
}

fn row(one: &EndpointRow) -> Row<'static> {
    let arrow = if one.budget.is_some() { "->" } else { "<-" };
    let who =
        one.processes.first().map_or(String::new(), |holder| format!("{} ({})", holder.name, holder.pid));
    let who =
        if one.unknown > 0 { format!("{who} {} unknown", one.unknown).trim_start().to_owned() } else { who };
    let left = match one.seconds_to_exhaustion {
        Some(0) => Cell::from("now").red(),
        Some(seconds) => Cell::from(format!("in {seconds} s")).yellow(),
        None => Cell::from("-"),
    };
    Row::new([
        Cell::from(format!("{} {arrow} {}", one.local, one.remote)),
        Cell::from(one.established.to_string()),
        Cell::from(one.time_wait.to_string()),
        Cell::from(format!("{:.1}", one.time_wait_rate)),
        Cell::from(one.close_wait.to_string()),
        one.budget.map_or(Cell::from("-"), |budget| bar(one, budget)),
        left,
        Cell::from(who),
    ])
}

/// How much of the budget is held: ten steps, and the numbers. The colour is that of what can't be taken over.
fn bar(one: &EndpointRow, budget: u32) -> Cell<'static> {
    let share = |count: u32| f64::from(count) / f64::from(budget.max(1));
    let used = one.used;
    let full = (share(used) * 10.0).ceil().clamp(0.0, 10.0) as usize;
    let colour = match share(used.saturating_sub(one.takeable.unwrap_or(0))) {
        share if share >= 0.9 => Color::Red,
        // Half: the kernel's search gets slow there.
        share if share >= 0.5 => Color::Yellow,
        _ => Color::Green,
    };
    Cell::from(Line::from(vec![
        Span::styled("█".repeat(full), Style::new().fg(colour)),
        Span::raw("░".repeat(10 - full)).dim(),
        Span::raw(format!(" {used}/{budget}")),
    ]))
}

fn found(report: &Report) -> Paragraph<'static> {
    let mut lines = Vec::new();
    for one in &report.diagnoses {
        let colour = match one.severity {
            Severity::Critical => Color::Red,
            Severity::Warning => Color::Yellow,
            _ => Color::Blue,
        };
        let place = one.endpoint.as_deref().unwrap_or("this host");
        let head = format!("{} at {place}: ", one.rule);
        lines.push(Line::from(vec![
            Span::styled(head, Style::new().fg(colour).bold()),
            Span::raw(one.cause.clone()),
        ]));
        lines.extend(one.remedies.first().map(|remedy| Line::from(format!("  do: {}", remedy.text))));
        lines.extend(one.not.first().map(|what| Line::from(format!("  not: {what}")).dim()));
    }
    if lines.is_empty() {
        lines.push(Line::from("nothing is wrong"));
    }
    Paragraph::new(lines).wrap(Wrap { trim: false }).block(Block::bordered().title(" found "))
}

#[cfg(test)]
mod tests {
    use millstream::doctor::Observation;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn view_fits_every_size_and_shows_what_was_found() {
        let text = r#"{"ports":100,"samples":[{},{},{"endpoints":[{"local":"10.9.0.1","remote":"10.9.0.2:80",
            "states":{"time_wait":100},"held":100,"expiries":[0,0,0,0,0,0,0,0,0,0,0,100]}]}]}"#;
        let report = Report::of(&text_to(text));
        let since =
            ["net.ipv4.tcp_tw_reuse: 0 -> 1".to_owned(), "predicted -92 %, observed -90 %".to_owned()];
        for (width, height) in [(1, 1), (20, 5), (80, 24), (200, 60)] {
            let shown = shown(&report, &since, (width, height));
            if width >= 80 {
                for part in ["CRITICAL", "10.9.0.1 -> 10.9.0.2:80", "ports-exhausted", "observed -90 %"] {
                    assert!(shown.contains(part), "{part} at {width}x{height}: {shown}");
                }
            }
        }
    }

    #[test]
    fn cure_by_a_setting_is_shown_from_the_sample_that_sees_it_on() {
        let mut earlier = Earlier::default();
        // All samples so far: for each, how many connections had taken a port over by then.
        let mut recycled = vec![0, 0, 0];
        let mut look = |recycled: &[u32], reuse: u64| {
            let observation = full(recycled, reuse);
            let report = Report::of(&observation);
            let since = earlier.look(&observation, &report).expect("both are of all endpoints");
            shown(&report, &since, (160, 40))
        };
        let before = look(&recycled, 0);
        assert!(before.contains("CRITICAL") && !before.contains("before -> now"), "{before}");

        recycled.push(0);
        let at_once = look(&recycled, 1);
        assert!(at_once.contains("before -> now") && at_once.contains("tcp_tw_reuse: 0 -> 1"), "{at_once}");
        assert!(!at_once.contains("predicted"), "too few samples to judge by: {at_once}");

        (0..2).for_each(|_| {
            recycled.push(9);
            look(&recycled, 1);
        });
        recycled.push(9);
        let after = look(&recycled, 1);
        for part in ["tcp_tw_reuse: 0 -> 1", "that the ports allow", ": as predicted", "100/100"] {
            assert!(after.contains(part), "{part}: {after}");
        }
        assert!(after.contains("OK") && after.contains("nothing is wrong"), "{after}");
    }

    /// All of a hundred ports in TIME_WAIT for long enough, in as many samples as there are counts of those taken over.
    fn full(recycled: &[u32], reuse: u64) -> Observation {
        let endpoint = r#"{"local":"10.9.0.1","remote":"10.9.0.2:80","states":{"time_wait":100},"held":100,"rested":100}"#;
        let sample = |count: &u32| {
            format!(r#"{{"endpoints":[{endpoint}],"counters":{{"TcpExt.TWRecycled":{count}}}}}"#)
        };
        let samples: Vec<_> = recycled.iter().map(sample).collect();
        let samples = samples.join(",");
        text_to(&format!(
            r#"{{"ports":100,"samples":[{samples}],"sysctls":{{"net.ipv4.tcp_tw_reuse":{reuse}}},"made_at":100}}"#
        ))
    }

    /// What stands on a terminal of this size, without its lines' ends.
    fn shown(report: &Report, since: &[String], (width, height): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, report, since)).unwrap();
        terminal.backend().buffer().content().iter().map(|cell| cell.symbol()).collect()
    }

    fn text_to(text: &str) -> Observation {
        serde_json::from_str(text).unwrap()
    }
}
