//! Spans of flows: what lies within what, on whatever thread, and what a subscriber is told of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_base::{Error, Result};
use millstream_flow::{GraphBuilder, Hedge, OnFailure, Parallel, Retry, Series, Task, TaskKind};
use millstream_runtime::{Engine, Queue, QueueOptions};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

/// The lines of spans around each event, by the event's message.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.0.push_str(&format!(" {}={value:?}", field.name()).replace('"', ""));
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(attributes.metadata().name().to_owned());
        attributes.record(&mut fields);
        context.span(id).expect("it is new").extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        let spans = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let lines: Vec<_> =
            spans.map(|span| span.extensions().get::<Fields>().expect("each has some").0.clone()).collect();
        self.0.lock().expect("no panic").insert(message.0, lines.join(" / "));
    }
}

impl Seen {
    /// What was around this event.
    fn around(&self, event: &str) -> String {
        self.0.lock().expect("no panic").get(event).cloned().unwrap_or_else(|| format!("no event {event}"))
    }
}

fn say(event: &'static str) -> Result<()> {
    tracing::info!("{event}");
    Ok(())
}

/// Fails the first time.
fn second_try(attempt: u32, event: &'static str) -> Result<()> {
    if attempt == 1 { Err(Error::invalid("not yet")) } else { say(event) }
}

const OTHER: TaskKind = TaskKind::Other;

async fn series(queue: &Queue) {
    let mut series = Series::new("pages");
    series.push(Task::new("fetch", TaskKind::Network, async { say("step") }));
    series.push(Task::compute("parse", queue, || say("step, thread")));
    series.push(Task::compute("again", queue, || say("next step, thread")));
    let retry = Retry::times(2).backoff(Duration::ZERO, Duration::ZERO);
    series.push(Task::retry(
        "store",
        OTHER,
        retry,
        |attempt| async move { second_try(attempt, "tried step") },
    ));
    series.await.expect("no step fails");
}

async fn parallel(queue: &Queue) {
    let tasks = [
        Task::new("one", TaskKind::File, async { say("part") }),
        Task::compute("two", queue, || say("part, thread")),
    ];
    Parallel::of("both", tasks).all().await.expect("none fails");
    let hedge = Hedge::after(Duration::ZERO);
    let hedged = Task::hedge("late", OTHER, hedge, |attempt| async move {
        if attempt == 1 { std::future::pending().await } else { say("hedged") }
    });
    hedged.await.expect("the second does not wait");
}

async fn graph(queue: &Queue, careful: &Queue) {
    let mut graph = GraphBuilder::<()>::new("report").on_failure(OnFailure::Continue);
    let first = graph.task("read", TaskKind::File, (), |()| {
        let made = say("node made");
        async { made.and_then(|()| say("node")) }
    });
    let second = graph.compute("sum", queue, first, |_| say("node, thread"));
    let third = graph.compute("write", careful, second, |_| say("careful node, thread"));
    let tries = Mutex::new(0);
    let fourth = graph.task("send", TaskKind::Network, third, move |_| {
        let mut tries = tries.lock().expect("no panic");
        *tries += 1;
        let attempt = *tries;
        async move { second_try(attempt, "tried node") }
    });
    graph.retry(fourth, Retry::times(2).backoff(Duration::ZERO, Duration::ZERO));
    graph.build().run(()).await.ok().expect("no node fails in the end");
}

#[test]
fn spans_say_flow_task_and_attempt_on_every_thread() {
    let seen = Seen::default();
    // For all threads: this file has one test.
    tracing::subscriber::set_global_default(Registry::default().with(seen.clone())).expect("the only one");
    let engine = Engine::builder().workers(1).build().expect("an engine");
    let queue = engine.compute("plain").expect("threads");
    let options = QueueOptions::default().deadline(Duration::from_secs(3600));
    let careful = engine.compute_with("careful", options).expect("threads");
    engine
        .run(async move |_| {
            series(&queue).await;
            parallel(&queue).await;
            graph(&queue, &careful).await;
        })
        .expect("the engine runs");
    let step =
        |task: &str, kind: &str| format!("series flow=pages / task flow=pages task={task} kind={kind}");
    assert_eq!(seen.around("step"), step("fetch", "network"));
    assert_eq!(seen.around("step, thread"), step("parse", "compute"));
    assert_eq!(seen.around("next step, thread"), step("again", "compute"));
    assert_eq!(seen.around("tried step"), step("store", "other") + " / attempt attempt=2");
    let part =
        |task: &str, kind: &str| format!("parallel flow=both / task flow=both task={task} kind={kind}");
    assert_eq!(seen.around("part"), part("one", "file"));
    assert_eq!(seen.around("part, thread"), part("two", "compute"));
    assert_eq!(seen.around("hedged"), "task task=late kind=other / attempt attempt=2");
    let node =
        |task: &str, kind: &str| format!("graph flow=report / task flow=report task={task} kind={kind}");
    assert_eq!(seen.around("node made"), node("read", "file"));
    assert_eq!(seen.around("node"), node("read", "file"));
    assert_eq!(seen.around("node, thread"), node("sum", "compute"));
    assert_eq!(seen.around("careful node, thread"), node("write", "compute"));
    assert_eq!(seen.around("tried node"), node("send", "network") + " / attempt attempt=2");
}
