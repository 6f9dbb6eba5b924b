//! Listening: options that reach accepted sockets, shared ports, Unix socket files.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use millstream_base::Kind;
use millstream_transport::{Addr, Conn, LifeTable, ListenAddr, ListenOptions, Listener};
use shared::{Folder, dial_to, listen, soon};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn any_port() -> ListenAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn at(address: &Addr) -> ListenAddr {
    ListenAddr::Tcp(address.as_tcp().unwrap())
}

#[tokio::test]
async fn accepted_sockets_inherit_what_the_listener_was_told() {
    let table = LifeTable::default();
    for nodelay in [true, false] {
        let mut options = ListenOptions::default().with_keepalive(Some(Duration::from_secs(77)));
        options.nodelay = nodelay;
        let mut acceptor = Listener::bind(&any_port(), &options).unwrap().register().unwrap();
        let client = dial_to(&acceptor.local_addr().clone(), &table).await;
        let accepted = acceptor.accept().await.unwrap();
        let fd = accepted.as_fd();
        let socket = SockRef::from(&fd);
        assert_eq!(socket.tcp_nodelay().unwrap(), nodelay);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(77));
        assert!(socket.nonblocking().unwrap());
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        drop(client);
    }
}

/// The length of the accept queue the kernel grants to the listener on `port`, as `ss` prints it.
fn granted_backlog(port: u16) -> Option<u32> {
    let output =
        std::process::Command::new("ss").args(["-Hltn", &format!("sport = :{port}")]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(2)?.parse().ok()
}

#[tokio::test]
async fn accept_queue_is_as_long_as_the_kernel_allows() {
    let most: u32 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    let long = listen("127.0.0.1:0");
    let Some(granted) = granted_backlog(long.local_addr().as_tcp().unwrap().port()) else {
        eprintln!("SKIPPED: ss missing");
        return;
    };
    assert_eq!(granted, most.min(65_535));
    let short = Listener::bind(&any_port(), &ListenOptions::default().with_backlog(7)).unwrap();
    assert_eq!(granted_backlog(short.local_addr().as_tcp().unwrap().port()), Some(7));
}

#[tokio::test]
async fn siblings_share_a_port_and_strangers_do_not() {
    let options = ListenOptions::default().with_reuse_port();
    let first = Listener::bind(&any_port(), &options).unwrap();
    let second = first.sibling().unwrap();
    assert_eq!(first.local_addr(), second.local_addr());
    let error = Listener::bind(&at(first.local_addr()), &options).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(
        error.to_string(),
        format!("can't listen on {}: Address already in use (os error 98)", first.local_addr())
    );

    let address = first.local_addr().clone();
    let (mut first, mut second) = (first.register().unwrap(), second.register().unwrap());
    let table = LifeTable::default();
    let mut seen = (0, 0);
    // The kernel spreads by hash of a random client port: 64 connections on one side only happen once in 2^63 runs.
    for _ in 0..64 {
        let _client = dial_to(&address, &table).await;
        tokio::select! {
            one = first.accept() => { one.unwrap(); seen.0 += 1 }
            two = second.accept() => { two.unwrap(); seen.1 += 1 }
        }
    }
    assert_eq!(seen.0 + seen.1, 64);
    assert!(seen.0 > 0 && seen.1 > 0, "{seen:?}");
}

#[test]
fn port_is_free_again_once_all_siblings_are_gone() {
    let options = ListenOptions::default().with_reuse_port();
    let first = Listener::bind(&any_port(), &options).unwrap();
    let address = at(first.local_addr());
    let second = first.sibling().unwrap();
    drop(first);
    assert!(Listener::bind(&address, &options).is_err());
    drop(second);
    Listener::bind(&address, &options).unwrap();
}

#[test]
fn port_is_not_shared_unless_asked_for() {
    let listener = Listener::bind(&any_port(), &ListenOptions::default()).unwrap();
    assert_eq!(listener.sibling().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn address_of_another_host_is_one_clear_line() {
    let error = Listener::bind(&"192.0.2.1:0".parse().unwrap(), &ListenOptions::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "can't listen on 192.0.2.1:0: Cannot assign requested address (os error 99)"
    );
}

#[tokio::test]
async fn accepted_socket_moves_to_another_threads_reactor() {
    let table = LifeTable::default();
    let mut acceptor = listen("127.0.0.1:0");
    let mut client = dial_to(&acceptor.local_addr().clone(), &table).await;
    let accepted = acceptor.accept().await.unwrap();
    let its_table = table.clone();
    let worker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut conn = Conn::accept(accepted, &its_table).unwrap();
            let byte = conn.read_u8().await.unwrap();
            conn.write_all(&[byte + 1]).await.unwrap();
        });
    });
    client.write_all(&[41]).await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), 42);
    worker.join().unwrap();
}

#[tokio::test]
async fn stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let folder = Folder::new("stale");
    let address: ListenAddr = folder.socket().parse().unwrap();
    let path = folder.0.join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // leaves its file behind
    assert!(path.exists());
    let listener = Listener::bind(&address, &ListenOptions::default()).unwrap();
    let error = Listener::bind(&address, &ListenOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("Address already in use (os error 98)"), "{error}");
    let sibling = listener.sibling().unwrap();
    drop(listener);
    assert!(path.exists(), "a sibling still listens");
    let table = LifeTable::default();
    let mut acceptor = sibling.register().unwrap();
    let client = dial_to(&acceptor.local_addr().clone(), &table).await;
    acceptor.accept().await.unwrap();
    drop((acceptor, client));
    assert!(!path.exists(), "the last one takes the file along");
}

#[test]
fn file_that_is_no_socket_stays() {
    let folder = Folder::new("file");
    let path = folder.0.join("s");
    std::fs::write(&path, "precious").unwrap();
    assert!(Listener::bind(&folder.socket().parse().unwrap(), &ListenOptions::default()).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn socket_file_of_a_successor_stays() {
    let folder = Folder::new("successor");
    let path = folder.0.join("s");
    let first = Listener::bind(&folder.socket().parse().unwrap(), &ListenOptions::default()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _successor = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn socket_file_has_the_mode_asked_for() {
    let folder = Folder::new("mode");
    for mode in [0o600, 0o666, 0o660] {
        let options = ListenOptions::default().with_unix_mode(mode);
        let _listener = Listener::bind(&folder.socket().parse().unwrap(), &options).unwrap();
        let found = std::fs::metadata(folder.0.join("s")).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode);
    }
}

#[tokio::test]
async fn connection_that_died_in_the_queue_harms_nobody() {
    let table = LifeTable::default();
    let mut acceptor = listen("127.0.0.1:0");
    let address = acceptor.local_addr().clone();
    let dead = dial_to(&address, &table).await;
    dead.set_linger_zero();
    drop(dead);
    let mut alive = dial_to(&address, &table).await;
    alive.write_all(b"x").await.unwrap();
    // Linux hands the dead one out; it reads as reset. Either way the next one is served.
    let mut served = false;
    while !served {
        let accepted =
            tokio::time::timeout_at(soon().moment().into(), acceptor.accept()).await.unwrap().unwrap();
        let mut conn = Conn::accept(accepted, &table).unwrap();
        served = conn.read_u8().await.is_ok();
    }
}
