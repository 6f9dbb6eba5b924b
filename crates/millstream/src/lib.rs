//! Millstream: an asynchronous networking and computing engine for back-end services.
//!
//! This crate is the facade: it re-exports the engine's parts and holds no logic of its own.
//!
//! ```no_run
//! use millstream::prelude::*;
//!
//! let engine = Engine::builder().build()?;
//! engine.run(async |engine| {
//!     let server = HttpServer::new(&engine).bind("127.0.0.1:8080")?;
//!     let running = server.serve(async |request: Request| format!("you asked for {}\n", request.path()))?;
//!     running.stopped().await;
//!     Ok::<_, Error>(())
//! })??;
//! # Ok::<(), Error>(())
//! ```

pub use millstream_admin as admin;
pub use millstream_base as base;
pub use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
pub use millstream_client as client;
pub use millstream_compute as compute;
pub use millstream_doctor as doctor;
pub use millstream_files as files;
pub use millstream_flow as flow;
pub use millstream_http as http;
pub use millstream_metrics as metrics;
pub use millstream_ports as ports;
pub use millstream_runtime as runtime;
pub use millstream_runtime::{CancelToken, Computing, Job, QueueOptions, WhenFull};
pub use millstream_runtime::{Engine, EngineBuilder, Label, Shutdown, Stage, Worker, spawn_local};
pub use millstream_runtime::{
    Interval, MissedTick, NamedTimer, Sleep, Timeout, interval, interval_at, sleep, sleep_until, timeout,
};
pub use millstream_server as server;
pub use millstream_sockets as sockets;
pub use millstream_transport as transport;

/// What most programs need.
pub mod prelude {
    pub use crate::http::{
        Body, Handler, HeaderName, HeaderValue, HttpClient, HttpServer, IntoResponse, Method, Request,
        Response, StatusCode, header,
    };
    pub use crate::{Engine, Error, Result, Shutdown, spawn_local};
}
