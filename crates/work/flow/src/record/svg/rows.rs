//! Which spans a picture shows, and in which row.

use std::collections::HashMap;
use std::time::Duration;

use super::Rows;
use crate::record::{Ending, Record};

/// A row of a picture.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) name: &'a str,
    /// By their places in the record, in the order in which they began.
    pub(super) spans: Vec<usize>,
}

/// A picture has so many rows at most: 4,400 px.
pub(super) const ROWS: usize = 200;
/// And shows so many spans at most: some 400 KB.
pub(super) const SPANS: usize = 1_000;

/// The rows: of all spans if there is room, else of those on the critical path and those that went wrong, then of the longest.
pub(super) fn rows<'a>(record: &'a Record, by: Rows, is_critical: &[bool]) -> Vec<Row<'a>> {
    let spans = &record.spans;
    let mut places: Vec<_> = (0..spans.len()).collect();
    places.sort_by_key(|at| {
        let span = &spans[*at];
        let is_marked = is_critical[*at] || !matches!(span.ending, Ending::Done | Ending::Skipped);
        std::cmp::Reverse((is_marked, span.ended.saturating_sub(span.ready)))
    });
    places.truncate(SPANS);
    match by {
        Rows::ByTask => by_task(record, &places),
        Rows::ByWorker => by_worker(record, places),
    }
}

/// `places` are in the order of their weight.
fn by_task<'a>(record: &'a Record, places: &[usize]) -> Vec<Row<'a>> {
    let firsts = firsts(record);
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut known = HashMap::new();
    for at in places {
        let row = *known.entry(firsts[*at]).or_insert(rows.len());
        if row == rows.len() {
            if row == ROWS {
                known.remove(&firsts[*at]);
                continue;
            }
            rows.push(Row { name: &record.spans[*at].name, spans: Vec::new() });
        }
        rows[row].spans.push(*at);
    }
    let moment = |at: usize| (record.spans[at].begun, record.spans[at].ended, at);
    rows.iter_mut().for_each(|row| row.spans.sort_by_key(|at| moment(*at)));
    rows.sort_by_key(|row| row.spans.first().map(|at| moment(*at)));
    rows
}

/// The first attempt of each span's task.
fn firsts(record: &Record) -> Vec<usize> {
    let mut firsts: Vec<usize> = Vec::with_capacity(record.spans.len());
    for (at, span) in record.spans.iter().enumerate() {
        let before = span.after.first().and_then(|before| firsts.get(*before).copied());
        firsts.push(before.filter(|_| span.attempt > 1).unwrap_or(at));
    }
    firsts
}

/// As many rows for each worker as it had tasks at once, and not more than its share.
fn by_worker(record: &Record, mut places: Vec<usize>) -> Vec<Row<'_>> {
    // Those that never began come last.
    let key = |at: &usize| {
        let span = &record.spans[*at];
        (!span.has_begun(), span.worker.clone(), span.begun, span.ended, *at)
    };
    places.sort_by_cached_key(key);
    let of_one = places.chunk_by(|one, other| record.spans[*one].worker == record.spans[*other].worker);
    let share = (ROWS / of_one.clone().count().max(1)).max(1);
    of_one.flat_map(|places| lanes(record, places, share)).take(ROWS).collect()
}

/// The spans of one worker, in rows in which none begins before the one before it has ended.
fn lanes<'a>(record: &'a Record, places: &[usize], most: usize) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for at in places {
        let span = &record.spans[*at];
        let name = if span.has_begun() { &*span.worker } else { "never began" };
        let is_free = |row: &Row<'_>| row.spans.last().is_none_or(|last| end(record, *last) <= span.begun);
        match rows.iter().position(is_free) {
            Some(free) => rows[free].spans.push(*at),
            None if rows.len() < most => rows.push(Row { name, spans: vec![*at] }),
            None => (),
        }
    }
    rows
}

/// Up to when a span's place is taken. Those that never began have no length, but are drawn 10 px wide.
fn end(record: &Record, at: usize) -> Duration {
    let span = &record.spans[at];
    if span.has_begun() { span.ended } else { span.ended + record.took / 60 }
}
