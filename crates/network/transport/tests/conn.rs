//! Bytes through a connection, what the peer did, and the record of it.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::IoSlice;

use millstream_transport::{Cause, ClosedBy, Conn, LifeTable, Opener, PeerEvent, Side};
use shared::{Folder, pair_at, peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Connected pairs over each carrier, with its name.
async fn pairs(folder: &Folder, table: &LifeTable) -> Vec<(&'static str, Conn, Conn)> {
    let (c4, s4) = pair_at("127.0.0.1:0", table).await;
    let (cu, su) = pair_at(&folder.socket(), table).await;
    let (cm, sm) = Conn::pair(1024, table);
    let mut pairs = vec![("tcp", c4, s4), ("unix", cu, su), ("memory", cm, sm)];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let (c6, s6) = pair_at("[::1]:0", table).await;
        pairs.push(("tcp6", c6, s6));
    }
    pairs
}

#[tokio::test]
async fn bytes_pass_both_ways_and_are_counted() {
    let (folder, table) = (Folder::new("echo"), LifeTable::default());
    for (carrier, mut client, mut server) in pairs(&folder, &table).await {
        client.write_all(b"hello ").await.unwrap();
        let more = client.write_vectored(&[IoSlice::new(b"wor"), IoSlice::new(b"ld")]).await.unwrap();
        client.flush().await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello world"[..6 + more], "{carrier}");
        assert!(more == 5 || carrier == "memory", "{carrier}: both parts go out at once");
        server.write_all(b"yes").await.unwrap();
        server.shutdown().await.unwrap();
        let mut reply = String::new();
        client.read_to_string(&mut reply).await.unwrap();
        assert_eq!(reply, "yes", "{carrier}");
        let (sent, received) = (client.life().snapshot(), server.life().snapshot());
        assert_eq!((sent.bytes_out, sent.bytes_in), (text.len() as u64, 3), "{carrier}");
        assert_eq!((received.bytes_in, received.bytes_out), (text.len() as u64, 3), "{carrier}");
        assert_eq!((sent.side, received.side), (Side::Client, Side::Server));
        assert_eq!(
            (sent.closed_by, received.closed_by),
            (Some(ClosedBy::Us), Some(ClosedBy::Peer)),
            "{carrier}"
        );
    }
}

#[tokio::test]
async fn data_is_seen_and_still_there_to_be_read() {
    let (folder, table) = (Folder::new("data"), LifeTable::default());
    for (carrier, mut client, mut server) in pairs(&folder, &table).await {
        assert!(server.try_peer().is_none(), "{carrier}");
        client.write_all(b"ab").await.unwrap();
        for _ in 0..3 {
            assert!(matches!(peer(&mut server).await, PeerEvent::Data), "{carrier}");
            assert!(matches!(server.try_peer(), Some(PeerEvent::Data)), "{carrier}");
        }
        let mut both = [0; 2];
        server.read_exact(&mut both).await.unwrap();
        assert_eq!(&both, b"ab", "{carrier}");
        assert!(server.try_peer().is_none(), "{carrier}");
        assert_eq!(server.life().closed_by(), None, "{carrier}");
        assert_eq!(server.life().snapshot().bytes_in, 2, "{carrier}");
    }
}

#[tokio::test]
async fn fin_is_seen_before_and_after_the_watch_begins() {
    let (folder, table) = (Folder::new("fin"), LifeTable::default());
    for (carrier, client, mut server) in pairs(&folder, &table).await {
        drop(client);
        assert!(matches!(peer(&mut server).await, PeerEvent::Fin), "{carrier}: closed before");
        assert!(matches!(server.try_peer(), Some(PeerEvent::Fin)), "{carrier}");
    }
    for (carrier, client, mut server) in pairs(&folder, &table).await {
        let watch = tokio::spawn(async move { (peer(&mut server).await, server) });
        tokio::task::yield_now().await; // the watch is registered now
        drop(client);
        let (event, mut server) = watch.await.unwrap();
        assert!(matches!(event, PeerEvent::Fin), "{carrier}: closed after");
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "{carrier}");
        assert_eq!(server.life().closed_by(), Some(ClosedBy::Peer), "{carrier}");
    }
}

#[tokio::test]
async fn kernel_tells_what_the_reactor_had_no_turn_to_see() {
    let (folder, table) = (Folder::new("peek"), LifeTable::default());
    for (carrier, mut client, server) in pairs(&folder, &table).await.into_iter().take(2) {
        assert!(server.peek_now().is_none(), "{carrier}");
        client.write_all(b"x").await.unwrap();
        assert!(matches!(server.peek_now(), Some(PeerEvent::Data)), "{carrier}");
        drop(client);
        let mut server = server;
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 1, "{carrier}");
        assert!(matches!(server.peek_now(), Some(PeerEvent::Fin)), "{carrier}");
        assert_eq!(server.life().closed_by(), Some(ClosedBy::Peer), "{carrier}");
    }
}

#[tokio::test]
async fn data_before_a_fin_comes_first() {
    let (folder, table) = (Folder::new("last"), LifeTable::default());
    for (carrier, mut client, mut server) in pairs(&folder, &table).await {
        client.write_all(b"x").await.unwrap();
        drop(client);
        assert!(matches!(peer(&mut server).await, PeerEvent::Data), "{carrier}");
        assert_eq!(server.read_u8().await.unwrap(), b'x', "{carrier}");
        assert!(matches!(peer(&mut server).await, PeerEvent::Fin), "{carrier}");
    }
}

#[tokio::test]
async fn reset_is_seen_before_and_after_the_watch_begins() {
    let table = LifeTable::default();
    let (client, mut server) = pair_at("127.0.0.1:0", &table).await;
    client.set_linger_zero();
    drop(client);
    assert!(matches!(peer(&mut server).await, PeerEvent::Reset(_)), "reset before");
    assert_eq!(server.life().closed_by(), Some(ClosedBy::Peer));

    let (client, mut server) = pair_at("127.0.0.1:0", &table).await;
    let watch = tokio::spawn(async move { peer(&mut server).await });
    tokio::task::yield_now().await;
    client.set_linger_zero();
    drop(client);
    assert!(matches!(watch.await.unwrap(), PeerEvent::Reset(_)), "reset after");
}

#[tokio::test]
async fn watch_wakes_again_after_its_data_was_read() {
    let table = LifeTable::default();
    let (mut client, mut server) = pair_at("127.0.0.1:0", &table).await;
    client.write_all(b"1").await.unwrap();
    assert!(matches!(peer(&mut server).await, PeerEvent::Data));
    server.read_u8().await.unwrap();
    let watch = tokio::spawn(async move { peer(&mut server).await });
    tokio::task::yield_now().await;
    client.write_all(b"2").await.unwrap();
    assert!(matches!(watch.await.unwrap(), PeerEvent::Data));
}

#[tokio::test]
async fn first_cause_wins_and_drop_has_one_of_its_own() {
    let table = LifeTable::default();
    let (client, server) = Conn::pair(64, &table);
    client.end(Cause::Lifetime);
    client.close(Cause::Shutdown);
    drop(server);
    let (client, server) = Conn::pair(64, &table);
    client.close(Cause::IdleTimeoutLocal);
    drop(server.into_stream());
    let counts = table.counts();
    for cause in [Cause::Lifetime, Cause::Dropped, Cause::IdleTimeoutLocal, Cause::HandedOver] {
        assert_eq!(counts.ended_by_cause(cause), 1, "{cause}");
    }
    assert_eq!(counts.ended_for(Side::Client, Cause::Lifetime, ClosedBy::Us), 1);
    assert_eq!(counts.opened_for(Side::Server, Opener::Accepted), 2);
    assert_eq!((counts.opened(), counts.ended(), counts.open()), (4, 4, 0));
}

#[tokio::test]
async fn addresses_are_those_of_the_wire() {
    let table = LifeTable::default();
    let mut acceptor = shared::listen("0.0.0.0:0");
    let port = acceptor.local_addr().as_tcp().unwrap().port();
    let to = millstream_transport::Addr::Tcp(([127, 0, 0, 1], port).into());
    let client = shared::dial_to(&to, &table).await;
    let server = Conn::accept(acceptor.accept().await.unwrap(), &table).unwrap();
    assert!(server.life().local().is_wildcard());
    assert_eq!(server.local_addr(), to, "asked of the kernel");
    assert_eq!(client.peer_addr(), &to);
    assert_eq!(server.peer_addr(), &client.local_addr());
}

#[tokio::test]
async fn live_connections_are_listed_until_they_go() {
    let table = LifeTable::default();
    let (client, server) = Conn::pair(64, &table);
    server.life().count_message();
    let listed = table.snapshot();
    assert_eq!(listed.len(), 2);
    let of_server = listed.iter().find(|life| life.side == Side::Server).unwrap();
    assert_eq!((of_server.messages, of_server.cause, of_server.ended), (1, None, None));
    let kept = client.shared_life();
    client.close(Cause::Cancelled);
    assert_eq!((table.snapshot().len(), table.open_count()), (1, 1));
    assert!(kept.snapshot().ended.is_some(), "the record outlives its connection");
    assert_eq!(kept.cause(), Some(Cause::Cancelled));
}

#[test]
fn connection_of_a_runtime_that_ended_is_seen_as_broken() {
    let table = LifeTable::default();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (mut client, _server) = first.block_on(pair_at("127.0.0.1:0", &table));
    drop(first);
    runtime().block_on(async {
        assert!(matches!(peer(&mut client).await, PeerEvent::Reset(_)));
        assert!(client.read_u8().await.is_err());
    });
    assert!(matches!(client.try_peer(), None | Some(PeerEvent::Reset(_))));
}

#[tokio::test]
async fn looking_does_not_take_the_watchers_place() {
    let (folder, table) = (Folder::new("look"), LifeTable::default());
    for (carrier, mut client, mut server) in pairs(&folder, &table).await {
        let mut looks = 0;
        let watch = std::future::poll_fn(|cx| {
            let event = server.poll_peer(cx);
            looks += 1;
            if event.is_pending() {
                assert!(server.try_peer().is_none(), "{carrier}");
            }
            event
        });
        let (event, written) = tokio::join!(watch, client.write_all(b"x"));
        written.unwrap();
        assert!(matches!(event, PeerEvent::Data), "{carrier}");
        assert!(looks >= 2, "{carrier}: it waited");
    }
}

#[tokio::test]
async fn fin_that_nobody_read_still_came_first() {
    let (folder, table) = (Folder::new("unread-fin"), LifeTable::default());
    for (carrier, client, mut server) in pairs(&folder, &table).await {
        assert!(server.try_peer().is_none());
        drop(client);
        reactor_turn().await;
        let life = server.shared_life();
        server.close(Cause::IdleTimeoutLocal);
        assert_eq!(life.closed_by(), Some(ClosedBy::Peer), "{carrier}");
    }
}

/// Lets the reactor see what has arrived: a byte that went through it after that has been read.
async fn reactor_turn() {
    let (mut near, mut far) = tokio::net::UnixStream::pair().unwrap();
    near.write_u8(1).await.unwrap();
    far.read_u8().await.unwrap();
}
