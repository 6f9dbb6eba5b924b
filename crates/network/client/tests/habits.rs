//! A server that does not announce its patience shows it, and is left in time after two lessons.

mod world;

use std::time::{Duration, Instant};

use millstream_client::ClientOptions;
use millstream_client::Simple;
use millstream_client::transport::Cause;
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{Lines, World, ms, target};

/// Closes a connection that lies idle behind a line "lesson N" when the Nth gate opens; all other lines it answers and waits on.
#[derive(Clone, Default)]
struct School {
    gates: [Gate; 24],
}

impl School {
    fn server(&self) -> Scripted {
        let school = self.clone();
        Scripted::always(move |_, conn: &mut RawConn| {
            while let Ok(line) = conn.try_read_some() {
                let lesson = std::str::from_utf8(&line).expect("text").trim().strip_prefix("lesson ");
                let gate = lesson.map(|number| number.parse::<usize>().expect("a number"));
                if line.is_empty() || conn.try_send(line).is_err() {
                    return;
                }
                if let Some(number) = gate {
                    return school.gates[number].wait();
                }
            }
        })
    }
}

fn paused<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}

/// Does the client keep its connection for this long, on a clock that stands still meanwhile?
fn keeps(world: &World, server: &Scripted, span: Duration) -> bool {
    let target = target(server.address());
    paused(async {
        world.call(&target, "x").await.expect("served");
        let opened = world.lives.counts().opened();
        tokio::time::advance(span).await;
        world.call(&target, "x").await.expect("served");
        world.lives.counts().opened() == opened
    })
}

/// Lets a connection lie idle until its server closes it: the least and the most that this has taken. The client measures it by itself,
/// and on a busy host the two are far apart.
fn lesson(
    world: &World,
    server: &Scripted,
    school: &School,
    number: usize,
    patience: Duration,
) -> [Duration; 2] {
    let (ended, called) = (world.ended(Cause::IdleTimeoutPeer), Instant::now());
    let line = format!("lesson {number}");
    world::block_on(world.call(&target(server.address()), &line)).expect("served");
    let parked = Instant::now();
    eventually("it lies idle for so long", || parked.elapsed() >= patience);
    let least = parked.elapsed();
    school.gates[number].open();
    eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) > ended);
    [least, called.elapsed()]
}

/// Far more than any lesson takes, and less than a client keeps a connection of whose server it knows nothing.
const LONG: Duration = Duration::from_secs(30);

/// Teaches a client that this server closes after `patience`, until it has learnt it: lessons that differ, as on a busy host, teach
/// nothing. Gives the least and the most that it may keep a connection now, half of the shorter of the last two lessons.
fn taught(patience: u64, protocol: Simple<Lines, String>) -> (Scripted, World, [Duration; 2]) {
    let school = School::default();
    let server = school.server();
    let world = World::with(1, ClientOptions::default(), protocol);
    let mut before = None;
    for number in 0..school.gates.len() {
        let [least, most] = lesson(&world, &server, &school, number, ms(patience));
        if !keeps(&world, &server, LONG) {
            let [least_before, most_before] = before.expect("one lesson teaches nothing");
            return (server, world, [least.min(least_before) / 2, most.min(most_before) / 2]);
        }
        before = Some([least, most]);
    }
    panic!("no two lessons in {} were alike", school.gates.len());
}

#[test]
fn connection_is_left_before_its_server_would_leave() {
    let (server, world, [least, most]) = taught(200, Simple::new("lines", Lines).idempotent());
    let left = world.ended(Cause::IdleTimeoutLocal);
    assert!(keeps(&world, &server, least - ms(20)), "used again within half of its server's patience");
    assert_eq!(world.ended(Cause::IdleTimeoutLocal), left);
    assert!(!keeps(&world, &server, most + ms(2)), "not used beyond it");
    assert_eq!(world.ended(Cause::IdleTimeoutLocal), left + 1);
}

#[test]
fn call_that_must_not_be_done_twice_keeps_away_from_the_end() {
    for is_idempotent in [true, false] {
        // In the last fifth of what the connection is kept, where that is known well enough to say so.
        let late = (0..8).find_map(|_| {
            let protocol = Simple::new("lines", Lines);
            let protocol = if is_idempotent { protocol.idempotent() } else { protocol };
            let (server, world, [least, most]) = taught(300, protocol);
            let late = most * 4 / 5 + ms(1);
            (late + ms(1) < least).then_some((server, world, late))
        });
        let (server, world, late) = late.expect("a lesson whose length is known to a quarter");
        assert_eq!(keeps(&world, &server, late), is_idempotent);
        assert_eq!(world.client.pool_stats().open, 1);
    }
}

#[test]
fn one_end_is_no_lesson() {
    let school = School::default();
    let (server, world) = (school.server(), World::new());
    lesson(&world, &server, &school, 0, ms(30));
    assert!(keeps(&world, &server, LONG));
    assert_eq!(server.accepted().value(), 2);
}
