//! Out of descriptors. Alone in its program: it lowers the limit of the whole process.

mod lines;

use std::fs::File;

use lines::Served;
use millstream_peers::{Count, Gate, RawConn};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn server_pauses_counts_and_serves_again_when_descriptors_come_free() {
    let (entered, leaves) = (Count::new(), Gate::new());
    let handler = {
        let (entered, leaves) = (entered.clone(), leaves.clone());
        move |line: String| {
            let (entered, leaves) = (entered.clone(), leaves.clone());
            async move {
                entered.rise();
                leaves.passed().await;
                Ok(line)
            }
        }
    };
    let server = Served::start(1, |_| (), handler);
    // Busy ones, which nobody closes to make room.
    let mut busy: Vec<_> = (0..5).map(|_| RawConn::connect(server.address)).collect();
    for conn in &mut busy {
        conn.send("busy\n");
    }
    entered.wait_for(5);

    // The clients' ends need descriptors too: they are there before the last one is taken. Until then the worker is held.
    let goes_on = hold_worker(&server);
    let mut waiting: Vec<_> = (0..10).map(|_| RawConn::connect(server.address)).collect();
    let limits = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: limits.maximum })
        .expect("lower is allowed");
    let fill: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    goes_on.open();

    for conn in &mut waiting {
        conn.send("hello\n");
    }
    server.wait_for_metric("millstream_server_accept_exhausted", 3);
    assert_eq!(server.metric("millstream_server_accepted"), 5);
    leaves.open();
    for conn in &mut busy {
        conn.expect("busy\n");
    }
    // Now they are idle and make room, one for another: nobody waits for ever.
    for conn in &mut waiting {
        conn.expect("hello\n");
    }
    assert!(server.metric("millstream_server_evicted_idle") > 0);
    assert!(server.metric("millstream_server_accepted") > 5);

    // With nobody in the queue nobody has to make room.
    let mut idle: Vec<_> = waiting.split_off(8);
    drop(waiting);
    let evicted = server.metric("millstream_server_evicted_idle");
    for conn in &mut idle {
        conn.send("idle\n").expect("idle\n");
    }
    assert_eq!(server.metric("millstream_server_evicted_idle"), evicted);

    drop(fill);
    setrlimit(Resource::Nofile, limits).expect("back to what it was");
    let accepted = server.metric("millstream_server_accepted");
    let mut conns: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.send("again\n").expect("again\n");
    }
    assert_eq!(server.metric("millstream_server_accepted"), accepted + 20);
}

/// Keeps the server's worker busy until the gate it gives is opened.
fn hold_worker(server: &Served) -> Gate {
    let (is_held, goes_on) = (Gate::new(), Gate::new());
    let hold = {
        let (is_held, goes_on) = (is_held.clone(), goes_on.clone());
        move || {
            is_held.open();
            goes_on.wait();
        }
    };
    server.engine.workers()[0].run(hold).expect("the engine runs");
    is_held.wait();
    goes_on
}
