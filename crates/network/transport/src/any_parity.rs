//! A search for a local port that stays as quick when half of the ports are in use.
//!
//! `connect` looks at ports of one parity first, and at the others when none of those is free: from half of the range on it
//! walks over all of the first half in vain, each time (`__inet_hash_connect`, net/ipv4/inet_hashtables.c). A socket with a port
//! range of its own (`IP_LOCAL_PORT_RANGE`, Linux 6.3) is searched in steps of one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use nix::libc::{self, IPPROTO_IP};
use socket2::Socket;

/// include/uapi/linux/in.h
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// The lowest port in the lower half, the highest in the upper half.
#[derive(Clone, Copy, Debug)]
struct LocalPortRange;

nix::setsockopt_impl!(
    LocalPortRange,
    IPPROTO_IP,
    IP_LOCAL_PORT_RANGE,
    u32,
    nix::sys::socket::sockopt::SetStruct<'_, u32>
);

/// 1 to 65535. An end outside of the host's range counts as the host's own (`inet_sk_get_local_port_range`), so this follows
/// whatever `ip_local_port_range` says, and leaves out what is reserved.
const WHOLE: u32 = 1 | 65_535 << 16;

/// Has this socket's `connect` search ports of both parities alike. A kernel that does not know it is asked once.
pub(crate) fn search_any_parity(socket: &Socket) {
    static IS_UNKNOWN: AtomicBool = AtomicBool::new(false);
    if IS_UNKNOWN.load(Relaxed) {
        return;
    }
    if let Err(nix::errno::Errno::ENOPROTOOPT) = nix::sys::socket::setsockopt(socket, LocalPortRange, &WHOLE)
    {
        IS_UNKNOWN.store(true, Relaxed);
    }
}
