//! A server whose every connection runs a script: for clients that must bear what no real server does.
//!
//! ```
//! use millstream_peers::{RawConn, Scripted};
//!
//! let server = Scripted::serve([
//!     |conn: &mut RawConn| {
//!         conn.read_request();
//!         conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
//!     },
//! ]);
//! let mut client = RawConn::connect(server.address());
//! client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
//! assert_eq!(client.read_response("GET").text(), "hi");
//! ```

use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use socket2::SockRef;

use crate::{Count, RawConn};

/// What happens on one connection. It ends with a FIN when the script returns, unless [`resetting`] or the
/// script says otherwise.
pub type Script = Box<dyn FnOnce(RawConn) + Send>;

/// A server on loopback whose every connection runs a script in a thread of its own. Dropping it closes the listener,
/// waits for the scripts, and fails the test where one of them failed.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    listener: Weak<TcpListener>,
    accepted: Count,
    stops: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// Makes the script of connection `n`, from 0 on; `None` closes the listener: whoever comes later is refused.
type Next = Box<dyn FnMut(u64) -> Option<Script> + Send>;

impl Scripted {
    /// The first connection runs the first script, and so on; behind the last script the listener closes.
    pub fn serve<S>(scripts: impl IntoIterator<Item = S>) -> Self
    where
        S: FnOnce(&mut RawConn) + Send + 'static,
    {
        let mut scripts: Vec<_> = scripts.into_iter().collect();
        scripts.reverse();
        Self::start(Box::new(move |_| scripts.pop().map(boxed)))
    }

    /// As [`serve`](Self::serve), for scripts of different types.
    pub fn serve_boxed(scripts: Vec<Script>) -> Self {
        let mut scripts = scripts;
        scripts.reverse();
        Self::start(Box::new(move |_| scripts.pop()))
    }

    /// Every connection runs the same script, which is told its number, from 0 on.
    pub fn always<S>(script: S) -> Self
    where
        S: Fn(u64, &mut RawConn) + Send + Sync + 'static,
    {
        let script = Arc::new(script);
        Self::start(Box::new(move |number| {
            let script = script.clone();
            Some(boxed(move |conn: &mut RawConn| script(number, conn)))
        }))
    }

    /// Accepts nothing: connections stay in the kernel's queue, where a client believes them open.
    pub fn never() -> (TcpListener, SocketAddr) {
        listen()
    }

    fn start(next: Next) -> Self {
        let (listener, address) = listen();
        let listener = Arc::new(listener);
        let open_listener = Arc::downgrade(&listener);
        let (accepted, stops) = (Count::new(), Arc::new(AtomicBool::new(false)));
        let running = Arc::<Mutex<Vec<JoinHandle<()>>>>::default();
        let accepting = Accepting {
            listener,
            next,
            accepted: accepted.clone(),
            stops: stops.clone(),
            running: running.clone(),
        };
        let acceptor = Some(thread::spawn(move || accepting.run()));
        Self { address, listener: open_listener, accepted, stops, acceptor, running }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections were accepted, to look at or wait for.
    pub fn accepted(&self) -> &Count {
        &self.accepted
    }

    /// Waits for all scripts that have begun.
    ///
    /// # Panics
    /// When one of them failed.
    #[track_caller]
    pub fn finish(mut self) {
        self.join().expect("every script went through");
    }

    fn join(&mut self) -> thread::Result<()> {
        self.stops.store(true, Relaxed);
        // Wakes the acceptor, and takes no port for it; where the listener is closed already, nobody needs to be woken.
        if let Some(listener) = self.listener.upgrade() {
            let _ = SockRef::from(&*listener).shutdown(Shutdown::Both);
        }
        let acceptor = self.acceptor.take().map_or(Ok(()), JoinHandle::join);
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        running.into_iter().map(JoinHandle::join).fold(acceptor, |all, one| all.and(one))
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if self.acceptor.is_none() {
            return;
        }
        let joined = self.join();
        if !thread::panicking() {
            joined.expect("every script went through");
        }
    }
}

/// A script that resets the connection at its end.
pub fn resetting(script: impl FnOnce(&mut RawConn) + Send + 'static) -> Script {
    Box::new(move |mut conn| {
        script(&mut conn);
        conn.reset();
    })
}

/// A script that closes the connection well at its end.
pub fn boxed(script: impl FnOnce(&mut RawConn) + Send + 'static) -> Script {
    Box::new(move |mut conn| script(&mut conn))
}

struct Accepting {
    listener: Arc<TcpListener>,
    next: Next,
    accepted: Count,
    stops: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Accepting {
    fn run(mut self) {
        let mut number = 0;
        let mut script = (self.next)(number);
        // The script is there before its connection, so that behind the last one nobody is let in.
        while let Some(run) = script.take() {
            let Ok((stream, _)) = self.listener.accept() else { return };
            if self.stops.load(Relaxed) {
                return;
            }
            let thread = thread::spawn(move || run(RawConn::over(stream).expect("just accepted")));
            self.running.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
            self.accepted.rise();
            number += 1;
            script = (self.next)(number);
        }
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::End;

    #[test]
    fn connections_run_their_scripts_in_order_and_then_nobody_is_let_in() {
        let server = Scripted::serve_boxed(vec![
            boxed(|conn| {
                conn.send("first");
            }),
            resetting(|conn| {
                conn.expect("bye");
            }),
        ]);
        let mut first = RawConn::connect(server.address());
        assert_eq!(first.read_to_end(), (b"first".to_vec(), End::Fin));
        let mut second = RawConn::connect(server.address());
        second.send("bye");
        assert_eq!(second.expect_end(), End::Reset);
        server.accepted().wait_for(2);
        crate::eventually("the listener is closed", || RawConn::try_connect(server.address()).is_err());
        server.finish();
    }

    #[test]
    fn always_tells_each_connection_its_number() {
        let server = Scripted::always(|number, conn| {
            conn.send(number.to_string());
        });
        for number in 0..3 {
            assert_eq!(RawConn::connect(server.address()).read_to_fin(), number.to_string().as_bytes());
        }
    }

    #[test]
    #[should_panic(expected = "every script went through")]
    fn failed_script_fails_the_test() {
        let server = Scripted::serve([|conn: &mut RawConn| {
            conn.expect("yes");
        }]);
        RawConn::connect(server.address()).send("no!").half_close().read_to_end();
        server.finish();
    }
}
