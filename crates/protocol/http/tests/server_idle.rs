//! Waiting costs nothing, whatever is waited for. Alone in its program: it measures the CPU time of the whole process.

mod serving;

use std::time::{Duration, Instant};

use millstream_http::{Body, Request, Response};
use millstream_peers::{RawConn, eventually};
use serving::{Held, Served, get};

/// CPU time of this process so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux says it");
    let behind = text.rsplit_once(')').expect("the name stands in brackets").1;
    let ticks: Vec<u64> =
        behind.split_whitespace().skip(11).take(2).filter_map(|word| word.parse().ok()).collect();
    // Linux counts these in hundredths of a second on every platform it reports them on.
    Duration::from_millis(ticks.iter().sum::<u64>() * 10)
}

/// Answers when it is let go: `/body` reads the body first, `/stream` is silent behind its first piece.
async fn wait(held: Held, mut request: Request) -> Response {
    match request.path() {
        "/stream" => {
            let mut is_first = true;
            return Response::bytes(Body::from_fn(move || {
                let (held, is_first) = (held.clone(), std::mem::take(&mut is_first));
                async move {
                    if !is_first {
                        held.leaves.passed().await;
                    }
                    is_first.then(|| Ok("first".into()))
                }
            }));
        }
        "/large" => return Response::bytes(vec![b'x'; 32 << 20]),
        "/body" => while let Some(Ok(_)) = request.body_mut().chunk().await {},
        _ => {}
    }
    held.leaves.passed().await;
    Response::text("done")
}

const HEAD: &str = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";

/// Connections that all wait for something.
fn waiting(server: &Served) -> Vec<RawConn> {
    let unread = HEAD.replace("/body", "/hold");
    let requests = [
        String::new(),
        "GET / HT".to_owned(),
        get("/hold"),
        get("/hold") + &get("/hold"),
        get("/stream"),
        get("/stream") + &get("/stream"),
        get("/large"),
        get("/large") + &get("/hold"),
        HEAD.to_owned(),
        HEAD.to_owned() + "half",
        unread.clone(),
        unread + "half",
        HEAD.replace("Content-Length: 100", "Transfer-Encoding: chunked") + "5\r\nhello\r\n",
        // Refused, and lingering.
        "GARBAGE\r\n\r\n".to_owned(),
    ];
    let mut conns = Vec::new();
    for request in &requests {
        let mut conn = server.connect();
        conn.send(request);
        conns.push(conn);
    }
    conns
}

#[test]
fn server_that_waits_uses_no_cpu() {
    let held = Held::new();
    // The handlers of clients that closed their side are not dropped: they would be gone before anybody looks.
    for finishes in [false, true] {
        let held = held.clone();
        let server = Served::configured(
            |options| options.finish_abandoned = finishes,
            move |request| wait(held.clone(), request),
        );
        let mut conns = waiting(&server);
        if finishes {
            for conn in &mut conns {
                conn.half_close();
            }
        }
        eventually("all are accepted", || server.metric("millstream_server_accepted") >= 14);
        // What is accepted is not yet answered: a large body may still be on its way into the kernel. A server that
        // spins has no quiet while at all.
        eventually("a while without work", || {
            let (start, before) = (Instant::now(), cpu_time());
            eventually("time passes", || start.elapsed() > Duration::from_millis(400));
            let (used, passed) = (cpu_time() - before, start.elapsed());
            println!("{used:?} of CPU in {passed:?}");
            used < passed / 10
        });
    }
}
