//! What an engine is doing, over HTTP: health, metrics, connections, and a page to look at them.
//!
//! | path | what |
//! | --- | --- |
//! | `/health` | JSON: status, version, uptime, workers; 503 while the engine drains and after |
//! | `/metrics` | OpenMetrics text of everything the engine counts |
//! | `/connections` | JSON: how many were opened and ended and why, and those that live (`?limit=`, `?side=`, `?state=`) |
//! | `/doctor` | JSON: what is wrong with the host's connections (`?for=`, `?format=text`); compares with a report that is POSTed |
//! | `/` | a page that shows these |
//!
//! [`Admin`] runs on a thread and an engine of its own: it answers when every worker of the watched engine is stuck, and
//! while that engine drains. It listens on loopback only, unless it is told otherwise.

mod admin;
mod budgets;
mod connections;
mod dashboard;
mod diagnose;
mod facts;
mod health;
mod hosts;
mod routes;
mod samples;
mod targets;

pub use admin::{Admin, RunningAdmin};
