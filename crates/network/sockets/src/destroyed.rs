//! The feed of TCP sockets that end (`SKNLGRP_INET_TCP_DESTROY`, include/uapi/linux/sock_diag.h): what `ss -E` shows.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::RecvFlags;

use crate::diag::SOCK_DIAG_BY_FAMILY;
use crate::netlink::Channel;
use crate::{Entry, Record, Result};

/// The TCP sockets that end in this network namespace, each with its last [`TcpInfo`](crate::TcpInfo). Needs no rights.
///
/// A connection that we close first is told when a small socket takes over its port, which is in FIN_WAIT_2 already, before the
/// peer's FIN; the small socket has no end of its own here. [`Entry::state`] says nothing: the kernel's is CLOSE by then, whose
/// number a dump has for [`State::BoundInactive`](crate::State::BoundInactive). What comes while nobody reads is kept up to the buffer's size (1 MiB), then lost, and a read says so.
#[derive(Debug)]
pub struct Destroyed {
    channel: Channel,
}

/// The groups of IPv4 (1) and IPv6 (3), as bits.
const GROUPS: u32 = 1 | 1 << 2;

impl Destroyed {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the kernel has no sock_diag.
    pub fn subscribe() -> Result<Self> {
        Ok(Self { channel: Channel::open(GROUPS)? })
    }

    /// Those that have ended since the last call; none if none has. Never waits.
    ///
    /// # Errors
    /// When some were lost (`ENOBUFS`): the next call goes on behind them.
    pub fn take(&mut self) -> Result<Vec<Entry>> {
        let mut ended = Vec::new();
        while let Some(mut messages) = self.channel.receive("feed of ended sockets", RecvFlags::DONTWAIT)? {
            while let Some(message) = messages.next() {
                if message.kind == SOCK_DIAG_BY_FAMILY {
                    ended.extend(Record::parse(message.body).map(|record| record.to_entry()));
                }
            }
        }
        Ok(ended)
    }
}

/// Readable when there is something to take.
impl AsFd for Destroyed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.socket().as_fd()
    }
}
