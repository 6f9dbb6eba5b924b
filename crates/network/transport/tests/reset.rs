//! A reset in place of a close: only where nothing is on its way, and each is counted, by the kernel as by us.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::Instant;

use millstream_peers::netns::{Namespace, SERVER};
use millstream_peers::{eventually, or_skip};
use millstream_ports::Shortage;
use millstream_sockets::{Counters, Diag, Query};
use millstream_transport::{Addr, Cause, Conn, DialOptions, LifeTable, Opener, dial};
use shared::soon;
use tokio::io::AsyncWriteExt;

fn at() -> SocketAddr {
    (SERVER, 8080).into()
}

struct World {
    table: LifeTable,
    listener: TcpListener,
}

impl World {
    async fn pair(&self) -> (Conn, TcpStream) {
        let options = DialOptions::default().with_account(self.table.account("there"));
        let conn = dial(&[Addr::Tcp(at())], &options, soon(), &self.table, Opener::Direct).await.unwrap();
        (conn, self.listener.accept().unwrap().0)
    }
}

/// The client's receive queue, and what it has sent that is not acknowledged, by the kernel.
fn queues(conn: &Conn) -> (u32, u32) {
    let (local, peer) = (conn.life().local().as_tcp().unwrap(), conn.peer_addr().as_tcp().unwrap());
    let entry = Diag::open().unwrap().find(local, peer).unwrap().unwrap();
    (entry.receive_queue(), entry.send_queue())
}

async fn check(world: &World) {
    // Nothing on its way: a reset.
    let (mut quiet, mut server) = world.pair().await;
    quiet.write_all(b"ping").await.unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    eventually("what was sent is acknowledged", || queues(&quiet) == (0, 0));
    assert!(quiet.reset_if_quiescent());
    quiet.close(Cause::IdleTimeoutLocal);
    assert_eq!(server.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);

    // Something came that nobody read.
    let (unread, mut server) = world.pair().await;
    server.write_all(b"x").unwrap();
    eventually("it came", || queues(&unread).0 == 1);
    assert!(!unread.reset_if_quiescent());

    // Something is not sent yet, since the peer does not read.
    let (mut unsent, _server) = world.pair().await;
    let bytes = vec![7; 64 * 1024];
    while let Ok(result) = tokio::time::timeout(std::time::Duration::ZERO, unsent.write_all(&bytes)).await {
        result.unwrap();
    }
    assert!(queues(&unsent).1 > 0 && !unsent.reset_if_quiescent());

    // The peer closed: there would be no TIME_WAIT here.
    let (mut left, server) = world.pair().await;
    server.shutdown(Shutdown::Both).unwrap();
    std::future::poll_fn(|cx| left.poll_peer(cx)).await;
    assert!(!left.reset_if_quiescent());

    // Our end is said.
    let (mut half, _server) = world.pair().await;
    half.shutdown().await.unwrap();
    assert!(!half.reset_if_quiescent());
}

#[test]
fn reset_needs_the_kernels_word_that_nothing_is_on_its_way() {
    or_skip!(Namespace::run(|_| {
        let world = World { table: LifeTable::default(), listener: TcpListener::bind(at()).unwrap() };
        let before = Counters::read().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(&world));
        let account = world.table.find_account("there").unwrap();
        assert_eq!(account.snapshot().resets, 1);
        assert_eq!(account.records().iter().filter(|record| record.is_reset).count(), 1);
        let since = Counters::read().unwrap().since(&before);
        assert_eq!(since.get("TcpExt", "TCPAbortOnData"), 1, "by the kernel's count, too");
        let budget = world.table.ports().snapshots(Instant::now()).pop().unwrap();
        assert_eq!(budget.opened, 5);
        let mut reset = 0;
        let each = |_: &millstream_sockets::Record<'_>| {
            reset += 1;
            ControlFlow::Continue(())
        };
        Diag::open().unwrap().dump(&Query::all().remote(at()), each).unwrap();
        assert_eq!(reset, Shortage::look(at(), &[]).unwrap().held, "the list is whole");
        assert!(reset < 5, "the one that was reset holds no port");
    }));
}
