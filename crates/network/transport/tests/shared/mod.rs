//! What several test files need: a listener on loopback, a connected pair, deadlines.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test file uses a part

use std::future::poll_fn;
use std::time::{Duration, Instant};

use millstream_base::Deadline;
use millstream_transport::{
    Acceptor, Addr, Conn, DialOptions, LifeTable, ListenAddr, ListenOptions, Listener, Opener, PeerEvent,
    dial,
};

/// Long enough for anything on loopback; a test that waits so long has failed.
pub fn soon() -> Deadline {
    Deadline::after(Instant::now(), Duration::from_secs(20))
}

pub fn listen(address: &str) -> Acceptor {
    let address: ListenAddr = address.parse().unwrap();
    Listener::bind(&address, &ListenOptions::default()).unwrap().register().unwrap()
}

pub async fn dial_to(address: &Addr, table: &LifeTable) -> Conn {
    dial(std::slice::from_ref(address), &DialOptions::default(), soon(), table, Opener::Direct).await.unwrap()
}

/// Client and server of one connection over `address`.
pub async fn pair_at(address: &str, table: &LifeTable) -> (Conn, Conn) {
    let mut acceptor = listen(address);
    let client = dial_to(&acceptor.local_addr().clone(), table).await;
    let server = Conn::accept(acceptor.accept().await.unwrap(), table).unwrap();
    (client, server)
}

/// Waits for what the peer does.
pub async fn peer(conn: &mut Conn) -> PeerEvent {
    poll_fn(|cx| conn.poll_peer(cx)).await
}

/// A folder of its own for one test, removed with it.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millstream-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn socket(&self) -> String {
        format!("unix:{}", self.0.join("s").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
