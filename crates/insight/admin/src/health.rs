//! `/health`: may this process be sent more work?

use std::time::Instant;

use millstream_http::server::Stage;
use millstream_http::{Response, StatusCode};
use serde::Serialize;

use crate::admin::Watched;

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    version: &'a str,
    uptime_seconds: f64,
    workers: usize,
    connections: u64,
    /// How long what is under way may go on; while draining only.
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_seconds_left: Option<f64>,
}

pub(crate) fn response(watched: &Watched) -> Response {
    let now = Instant::now();
    let (status, code, until) = match watched.stage() {
        Stage::Running => ("ok", StatusCode::OK, None),
        Stage::Draining(until) => ("draining", StatusCode::SERVICE_UNAVAILABLE, Some(until)),
        Stage::Stopped => ("stopped", StatusCode::SERVICE_UNAVAILABLE, None),
    };
    let health = Health {
        status,
        version: &watched.version,
        uptime_seconds: (now - watched.since).as_secs_f64(),
        workers: watched.workers,
        connections: watched.lives.open_count(),
        drain_seconds_left: until.map(|until| until.saturating_duration_since(now).as_secs_f64()),
    };
    Response::json(&health).with_status(code)
}
