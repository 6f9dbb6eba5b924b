//! The report for people: a verdict of one screen first, then the evidence in tables.

use std::fmt::Write as _;

use crate::diagnosis::{Diagnosis, RemedyKind, Severity};
use crate::observation::{Confidence, Holder};
use crate::report::{EndpointRow, Report, Verdict};

/// `curl (pid 12): 30 probable`.
pub(crate) fn holder(one: &Holder) -> String {
    let sure = match one.confidence {
        Confidence::Certain => "",
        Confidence::Probable => " probable",
    };
    format!("{} (pid {}): {}{sure}", one.name, one.pid, one.sockets)
}

/// Endpoints shown; the rest is in the JSON.
const ROWS: usize = 20;

impl Report {
    /// The report as text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // A String takes everything: writing to it can't fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        self.write_verdict(out)?;
        if let Some(since) = &self.since {
            write!(out, "\n{}", since.to_text())?;
        }
        for one in &self.diagnoses {
            write_diagnosis(out, one)?;
        }
        self.write_endpoints(out)?;
        let states: Vec<_> = self
            .states
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        writeln!(
            out,
            "\nSockets: {}",
            if states.is_empty() { "none".to_owned() } else { states.join(", ") }
        )?;
        for line in &self.unseen {
            writeln!(out, "Not seen: {line}")?;
        }
        if !self.not_checked.is_empty() {
            let mut by_reason = std::collections::BTreeMap::<&str, Vec<&str>>::new();
            for one in &self.not_checked {
                by_reason.entry(&one.why).or_default().push(&one.rule);
            }
            for (why, rules) in by_reason {
                writeln!(out, "Not checked: {} ({why})", rules.join(", "))?;
            }
        }
        Ok(())
    }

    fn write_verdict(&self, out: &mut String) -> std::fmt::Result {
        let word = match self.verdict {
            Verdict::Ok => "OK",
            Verdict::Warning => "WARNING",
            Verdict::Critical => "CRITICAL",
        };
        let span = self.host.observed_ms as f64 / 1000.0;
        let found = match self.diagnoses.len() {
            0 => "nothing".to_owned(),
            1 => "1 thing".to_owned(),
            count => format!("{count} things"),
        };
        writeln!(out, "{word}: {found} found in {span:.1} s")?;
        for one in &self.diagnoses {
            let place = one.endpoint.as_ref().map_or(String::new(), |place| format!(" at {place}"));
            writeln!(out, "  {} {}{place}: {}", severity(one.severity), one.rule, one.cause)?;
            if let Some(first) = one.remedies.first() {
                writeln!(out, "           do: {}", first.text)?;
            }
        }
        Ok(())
    }

    fn write_endpoints(&self, out: &mut String) -> std::fmt::Result {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n{:<46} {:>7} {:>9} {:>10} {:>13} {:>9}  held by",
            "endpoint", "estab.", "TIME_WAIT", "CLOSE_WAIT", "ports", "none left"
        )?;
        for row in self.endpoints.iter().take(ROWS) {
            writeln!(out, "{}", line(row))?;
        }
        let more = self.endpoints.len().saturating_sub(ROWS);
        if more > 0 {
            writeln!(out, "and {more} more (see --json)")?;
        }
        Ok(())
    }
}

fn line(row: &EndpointRow) -> String {
    let arrow = if row.budget.is_some() { "->" } else { "<-" };
    let name = format!("{} {arrow} {}", row.local, row.remote);
    let ports = row.budget.map_or("-".to_owned(), |budget| format!("{}/{budget}", row.used));
    let left = row.seconds_to_exhaustion.map_or("-".to_owned(), |seconds| {
        if seconds == 0 { "now".to_owned() } else { format!("in {seconds} s") }
    });
    let mut who: Vec<_> = row.processes.iter().map(holder).collect();
    if row.unknown > 0 {
        who.push(format!("{} unknown", row.unknown));
    }
    if let Some(takeable) = row.takeable.filter(|&count| count > 0) {
        who.push(format!("{takeable} may be taken over"));
    }
    let (established, waits, closed) = (row.established, row.time_wait, row.close_wait);
    format!("{name:<46} {established:>7} {waits:>9} {closed:>10} {ports:>13} {left:>9}  {}", who.join(", "))
}

fn write_diagnosis(out: &mut String, one: &Diagnosis) -> std::fmt::Result {
    writeln!(out, "\n{} {} (row {})", severity(one.severity).trim_end(), one.rule, one.row)?;
    writeln!(out, "  symptom   {}", one.symptom)?;
    writeln!(out, "  cause     {}", one.cause)?;
    for line in &one.evidence {
        writeln!(out, "  evidence  {line}")?;
    }
    for remedy in &one.remedies {
        let kind = match remedy.kind {
            RemedyKind::Code => "code",
            RemedyKind::Configuration => "settings",
            RemedyKind::Sysctl => "sysctl",
        };
        writeln!(out, "  {kind:<9} {}", remedy.text)?;
        writeln!(out, "              expected: {}; check: {}", remedy.expected, remedy.check)?;
    }
    for line in &one.not {
        writeln!(out, "  not       {line}")?;
    }
    Ok(())
}

fn severity(one: Severity) -> &'static str {
    match one {
        Severity::Note => "note    ",
        Severity::Warning => "warning ",
        Severity::Critical => "critical",
    }
}
