//! Out of descriptors. Alone in its program: it lowers the limit of the whole process.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;

use millstream_transport::{AcceptError, Conn, LifeTable, ListenOptions, Listener};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn acceptor_says_exhausted_and_goes_on_when_there_is_room() {
    let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).unwrap();
    let mut acceptor = listener.register().unwrap();
    let address = acceptor.local_addr().as_tcp().unwrap();
    let clients: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum }).unwrap();
    let mut fill = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fill.push(file);
    }
    for _ in 0..3 {
        match acceptor.accept().await {
            Err(AcceptError::Exhausted(error)) => assert_eq!(error.raw_os_error(), Some(24)),
            other => panic!("{other:?}"),
        }
    }
    let table = LifeTable::default();
    for _ in &clients {
        fill.pop();
        let accepted = acceptor.accept().await.expect("one descriptor is free");
        let conn = Conn::accept(accepted, &table).unwrap();
        assert!(matches!(acceptor_now(&mut acceptor).await, None | Some(Err(AcceptError::Exhausted(_)))));
        std::mem::forget(conn); // keeps its descriptor
    }
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(acceptor.ignored(), 0);
}

/// What the acceptor gives at once, if anything.
async fn acceptor_now(
    acceptor: &mut millstream_transport::Acceptor,
) -> Option<Result<millstream_transport::Accepted, AcceptError>> {
    tokio::select! {
        biased;
        result = acceptor.accept() => Some(result),
        () = tokio::task::yield_now() => None,
    }
}
