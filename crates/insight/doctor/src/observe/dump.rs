//! All TCP sockets of the thread's network namespace, as the doctor keeps them.

use std::ops::ControlFlow;

use millstream_base::{Error, Kind, Origin};
use millstream_sockets::{Diag, Query, Record, TimerKind};

use super::socket::Socket;

/// All of them, IPv4 first.
pub(crate) fn all(diag: &mut Diag) -> Result<Vec<Socket>, Error> {
    let mut sockets = Vec::new();
    let each = |record: &Record<'_>| {
        sockets.push(Socket::of(record));
        ControlFlow::Continue(())
    };
    diag.dump(&Query::all().with_info(), each).map_err(failed)?;
    Ok(sockets)
}

/// An error of the kernel's answers, in the project's words.
pub(crate) fn failed(error: millstream_sockets::Error) -> Error {
    Error::new(Kind::Io, Origin::Local, "the kernel's list of sockets can't be had").with_source(error)
}

impl Socket {
    fn of(record: &Record<'_>) -> Self {
        let timer = record.timer();
        let info = record.info().unwrap_or_default();
        let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let rest = timer.filter(|timer| timer.kind == TimerKind::TimeWait).map(|timer| timer.expires);
        Self {
            state: record.state(),
            local: record.local(),
            remote: record.remote(),
            cookie: record.cookie(),
            inode: record.inode(),
            rest_ms: rest.map_or(0, millis),
            retransmits: timer.map_or(0, |timer| timer.retransmits),
            receive_queue: record.receive_queue(),
            send_queue: record.send_queue(),
            unacked: info.unacked(),
            since_ack_ms: millis(info.since_ack_received()),
            silent_ms: millis(info.since_data_received().min(info.since_ack_received())),
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_sockets::State;

    use super::*;

    #[test]
    fn own_listener_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let all = all(&mut Diag::open().unwrap()).unwrap();
        assert!(all.iter().any(|one| one.state == State::Listen && one.local == local && one.inode != 0));
    }
}
