//! Where a dial takes long, a caller waits for the connection that comes back first.

mod world;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use millstream_base::Result;
use millstream_client::transport::LifeTable;
use millstream_client::upstream::{Resolve, Resolved};
use millstream_client::{Client, ClientOptions, Engine, Simple, Target};
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{LineClient, Lines, block_on, call, ms};

/// A resolver that takes as long as a far server's handshakes would.
struct Far;

impl Resolve for Far {
    fn resolve<'a>(&'a self, _host: &'a str) -> Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>> {
        Box::pin(async {
            let (begun, (far, arrives)) = (Instant::now(), tokio::sync::oneshot::channel());
            std::thread::spawn(move || {
                eventually("it is far", || begun.elapsed() >= ms(400));
                far.send(())
            });
            arrives.await.expect("it does arrive");
            Ok(Resolved::new(vec![IpAddr::from([127, 0, 0, 1])], ms(0)))
        })
    }
}

fn far_client() -> (Engine, LineClient, LifeTable) {
    let engine = Engine::builder().workers(1).build().expect("a thread can be started");
    let lives = LifeTable::new(engine.id(), 1);
    let options = ClientOptions::default();
    let client =
        Client::with_resolver(&engine, lives.clone(), Simple::new("lines", Lines), options, Arc::new(Far));
    (engine, client, lives)
}

/// Answers the first line after 150 ms, "held" when the gate opens, others at once.
fn server(gate: &Gate) -> Scripted {
    let gate = gate.clone();
    Scripted::always(move |number, conn: &mut RawConn| {
        let mut is_first = number == 0;
        while let Ok(line) = conn.try_read_some() {
            if line.is_empty() {
                return;
            }
            if std::mem::take(&mut is_first) {
                let begun = Instant::now();
                eventually("a while has passed", || begun.elapsed() >= ms(150));
            }
            if line.starts_with(b"held") {
                gate.wait();
            }
            if conn.try_send(line).is_err() {
                return;
            }
        }
    })
}

/// Once, as far as the machine is quick enough for the numbers to be what they should: how many connections it took, and else none.
fn returned_to_who_waits() -> Option<(u64, usize)> {
    let gate = Gate::new();
    let server = server(&gate);
    let (_engine, client, lives) = far_client();
    let target = Target::host("far", server.address().port());
    let is_quick = block_on(async {
        let begun = Instant::now();
        call(&client, &target, "first").await.expect("served");
        // The use is all but the resolver's 400 ms at most, and twice that is no longer than a dial.
        let is_use_short = begun.elapsed() <= ms(400 + 200);
        let (one, at, held) = (client.clone(), target.clone(), "held");
        let holder = tokio::spawn(async move { call(&one, &at, held).await });
        while client.pool_stats().lent == 0 {
            tokio::task::yield_now().await;
        }
        let (two, at, asked) = (client.clone(), target.clone(), Instant::now());
        let waiter = tokio::spawn(async move { call(&two, &at, "next").await });
        // It has its place, and waits rather than dial: for 300 ms, twice what a use takes.
        while client.pool_stats().reserved == 0 {
            tokio::task::yield_now().await;
        }
        gate.open();
        assert_eq!(holder.await.expect("no panic").expect("served"), "held");
        let is_back_soon = asked.elapsed() < ms(200);
        assert_eq!(waiter.await.expect("no panic").expect("served"), "next");
        is_use_short && is_back_soon
    });
    is_quick.then(|| (lives.counts().opened(), client.pool_stats().open))
}

#[test]
fn caller_takes_what_comes_back_before_a_dial_would_be_done() {
    let counts = (0..30).find_map(|_| returned_to_who_waits());
    assert_eq!(counts, Some((1, 1)), "none: the machine was too slow for 30 tries");
}

#[test]
fn caller_that_waited_in_vain_dials() {
    let gate = Gate::new();
    let server = server(&gate);
    let (_engine, client, lives) = far_client();
    let target = Target::host("far", server.address().port());
    block_on(async {
        call(&client, &target, "first").await.expect("served");
        let (one, at) = (client.clone(), target.clone());
        let holder = tokio::spawn(async move { call(&one, &at, "held").await });
        while client.pool_stats().lent == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(call(&client, &target, "next").await.expect("served by a new one"), "next");
        gate.open();
        assert_eq!(holder.await.expect("no panic").expect("served"), "held");
    });
    assert_eq!((lives.counts().opened(), client.pool_stats().open), (2, 2));
}
