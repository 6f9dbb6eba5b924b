//! A handler that blocks its worker is reported under its route's name.

mod serving;

use std::io::Write;
use std::sync::{Arc, Mutex};

use millstream_http::{Request, Router};
use serving::Served;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn says(&self, what: &str) -> bool {
        String::from_utf8_lossy(&self.0.lock().expect("unpoisoned")).contains(what)
    }
}

#[test]
fn blocked_worker_names_the_route() {
    let log = Log::default();
    let writer = log.clone();
    // The watchdog has a thread of its own: only a subscriber for all threads hears it.
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let seen = log.clone();
    let block = move |_: Request| {
        let seen = seen.clone();
        async move {
            tokio::task::yield_now().await;
            // Blocks the worker until the watchdog has spoken.
            while !seen.says("worker blocked") {
                std::thread::yield_now();
            }
            "done"
        }
    };
    let server = Served::start(Router::new().nest("/api", Router::new().get("/slow/{id}", block)));
    let mut conn = server.connect();
    conn.send(serving::get("/api/slow/7"));
    assert_eq!(conn.read_response("GET").text(), "done");
    assert!(
        log.says("GET /api/slow/{id} ("),
        "{}",
        String::from_utf8_lossy(&log.0.lock().expect("unpoisoned"))
    );
    assert!(log.says("router_blocked.rs:"));
}
