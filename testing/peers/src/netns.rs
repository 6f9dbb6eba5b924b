//! A network namespace for one test: no TIME_WAIT at its start, 100 local ports, settings of its own, and nobody else.
//!
//! 10.9.0.x on `lo` are not loopback for `tcp_tw_reuse=2`: connections between them follow the rules of a real network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::Skip;
use crate::program::find;

/// The namespace of the thread that runs a test.
#[derive(Debug)]
pub struct Namespace(());

/// Where clients of a test connect from.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));
/// Where servers of a test listen; outside the range of local ports.
pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2));
/// The same over IPv6; on `lo` once it is [added](Namespace::add_address).
pub const SERVER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2));
/// The first and the last of the 100 local ports; the ends differ in parity.
pub const PORTS: (u16, u16) = (40_000, 40_099);

impl Namespace {
    /// Runs `test` on a thread of its own in a fresh namespace, with `tcp_tw_reuse=0`. Threads and programs that it starts
    /// live there too.
    ///
    /// # Errors
    /// Without the right to make a namespace, or without `ip`.
    ///
    /// # Panics
    /// When the test does.
    pub fn run<T: Send>(test: impl FnOnce(&Self) -> T + Send) -> Result<T, Skip> {
        find("ip")?;
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::scope(|scope| {
            let inside = move || {
                unshare(CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| Skip::because(format!("no network namespace may be made: {errno}")))?;
                let namespace = Self::furnish();
                Ok(test(&namespace))
            };
            let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, inside);
            let ended = thread.expect("a thread can be started").join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn furnish() -> Self {
        let namespace = Self(());
        namespace.ip("link set lo up");
        namespace.add_address(CLIENT);
        namespace.add_address(SERVER);
        namespace.set("net.ipv4.ip_local_port_range", &format!("{} {}", PORTS.0, PORTS.1));
        namespace.set("net.ipv4.tcp_tw_reuse", "0");
        namespace
    }

    /// One more address on `lo`. It can be used when this returns: the kernel makes those of IPv6 usable a moment later
    /// (`addrconf_dad_start`, net/ipv6/addrconf.c, leaves that to a work queue).
    pub fn add_address(&self, address: IpAddr) {
        self.ip(&format!("address add {address} dev lo"));
        crate::eventually("the address can be used", || TcpListener::bind((address, 0)).is_ok());
    }

    /// No reset ends a TIME_WAIT from here on: for tests that count them.
    ///
    /// By default one does, on loopback too: where a server's delayed ACK and its FIN overtake each other between two cores,
    /// the client answers the late ACK, the server has no such connection any more, and its reset takes the TIME_WAIT away
    /// (RFC 1337, section 2). On a busy machine up to a fifth of 100 went so.
    pub fn keep_time_wait(&self) {
        self.set("net.ipv4.tcp_rfc1337", "1");
    }

    /// Changes a setting of this namespace.
    ///
    /// # Panics
    /// When the kernel does not have it, or refuses the value.
    pub fn set(&self, name: &str, value: &str) {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::write(&file, value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    fn ip(&self, arguments: &str) {
        let output = Command::new("ip").args(arguments.split(' ')).output().expect("it was found");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn namespace_has_its_ports_and_addresses_and_ends_with_its_test() {
        let port = crate::or_skip!(Namespace::run(|namespace| {
            namespace.set("net.ipv4.tcp_fin_timeout", "7");
            // The same port in each run: nobody else is there.
            let listener = TcpListener::bind((SERVER, 8080)).expect("nobody else listens");
            let stream = TcpStream::connect((SERVER, 8080)).expect("it listens");
            drop(listener);
            stream.local_addr().expect("it is connected").port()
        }));
        assert!((PORTS.0..=PORTS.1).contains(&port));
        let outside = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_fin_timeout").expect("Linux has it");
        assert_ne!(outside.trim(), "7");
    }

    #[test]
    #[should_panic(expected = "as the test wants")]
    fn panic_in_a_namespace_fails_the_test() {
        let ran = Namespace::run(|_| panic!("as the test wants"));
        // Skipped: there is nothing that could have panicked.
        ran.unwrap_or_else(|skip| panic!("as the test wants: {skip}"));
    }
}
