//! A network namespace for one test: 100 ports, two addresses, nobody else.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use millstream_doctor::{Observer, Report, Sample, States};
use millstream_peers::netns::Namespace;
pub(crate) use millstream_peers::netns::{CLIENT, SERVER};
use millstream_peers::or_skip;
use socket2::{Domain, Socket, Type};

/// Runs a test in a fresh namespace. Without the right to make one it says so, and passes.
pub(crate) fn inside(test: impl FnOnce() + Send) {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        test();
    }));
}

/// A setting of this namespace.
pub(crate) fn set(name: &str, value: &str) {
    std::fs::write(format!("/proc/sys/{name}"), value).expect("a fresh namespace allows it");
}

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    // Outside the range of the namespace, where nobody else is.
    let address = SocketAddr::from((SERVER, 8080));
    (TcpListener::bind(address).expect("a fresh namespace allows it"), address)
}

/// A socket bound to the client's address; with one destination it makes no difference that bind chooses the port.
pub(crate) fn socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a fresh namespace allows it");
    socket.bind(&SocketAddr::from((CLIENT, 0)).into()).expect("a fresh namespace allows it");
    socket
}

/// A connection, client's end first.
pub(crate) fn pair(listener: &TcpListener, to: SocketAddr) -> (TcpStream, TcpStream) {
    let socket = socket();
    socket.connect(&to.into()).expect("a fresh namespace allows it");
    (socket.into(), listener.accept().expect("a fresh namespace allows it").0)
}

pub(crate) fn pairs(
    listener: &TcpListener,
    to: SocketAddr,
    count: usize,
) -> (Vec<TcpStream>, Vec<TcpStream>) {
    (0..count).map(|_| pair(listener, to)).unzip()
}

/// Looks until it sees this; what was seen on the way is forgotten.
pub(crate) fn until(is_there: impl Fn(&Sample) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut observer = Observer::new().expect("a fresh namespace allows it");
        observer.sample().expect("a fresh namespace allows it");
        let observation = observer.observation();
        if observation.samples.last().is_some_and(&is_there) {
            return;
        }
        assert!(Instant::now() < deadline, "not seen: {:#?}", observation.samples);
        std::thread::yield_now();
    }
}

/// The client closes first, then the server: TIME_WAIT on the client's ports.
pub(crate) fn leave_time_wait(count: usize) {
    let (listener, to) = listen();
    let (clients, servers) = pairs(&listener, to, count);
    for client in &clients {
        client.shutdown(Shutdown::Both).expect("it is open");
    }
    drop(clients);
    drop(servers);
    until_time_wait(count);
}

/// Waits for so many TIME_WAIT: the last FIN may still be on its way when both ends have closed.
pub(crate) fn until_time_wait(count: usize) {
    until(|sample| total(sample, |states| states.time_wait) == count as u32);
}

/// A count over all endpoints.
pub(crate) fn total(sample: &Sample, of: impl Fn(&States) -> u32) -> u32 {
    sample.endpoints.iter().map(|one| of(&one.states)).sum()
}

/// Three samples of what is there; `between` happens before each.
pub(crate) fn report(mut between: impl FnMut(usize)) -> Report {
    let mut observer = Observer::new().expect("a fresh namespace allows it");
    for at in 0..3 {
        between(at);
        observer.sample().expect("a fresh namespace allows it");
    }
    Report::of(&observer.observation())
}

/// Exactly this diagnosis.
#[track_caller]
pub(crate) fn expect(report: &Report, row: u8) {
    let rows: Vec<_> = report.diagnoses.iter().map(|one| one.row).collect();
    assert_eq!(rows, [row], "{}", report.to_text());
}
