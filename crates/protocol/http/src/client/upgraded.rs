//! What a connection becomes when the server switches protocols.

use std::pin::Pin;

use bytes::Bytes;
use millstream_client::Lease;
use millstream_client::transport::{Addr, Cause};

use super::wire::Http1;
use crate::raw::raw_conn;

/// The raw connection behind an upgrade (101, or 2xx to CONNECT). What the server sent already is read first.
///
/// It counts as one of the client's connections to its target until it is dropped, which closes it. No deadline watches
/// over it any more.
pub struct UpgradedConn {
    /// `None` only while it is dropped.
    lease: Option<Lease<Http1>>,
    early: Bytes,
}

impl UpgradedConn {
    pub(crate) fn new(lease: Lease<Http1>, early: Bytes) -> Self {
        lease.timer().disarm();
        Self { lease: Some(lease), early }
    }

    /// The server's address.
    pub fn peer_addr(&self) -> &Addr {
        self.lease.as_ref().expect(HELD).conn().peer_addr()
    }

    /// Bytes that came with the reply and have not been read yet.
    pub fn early(&self) -> &[u8] {
        &self.early
    }

    fn conn(&mut self) -> Pin<&mut millstream_transport::Conn> {
        Pin::new(self.lease.as_mut().expect(HELD).conn_mut())
    }
}

/// Only `drop` takes the lease.
const HELD: &str = "an upgraded connection holds its lease until it is dropped";

raw_conn!(UpgradedConn);

impl Drop for UpgradedConn {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.close(Cause::HandedOver);
        }
    }
}

impl std::fmt::Debug for UpgradedConn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UpgradedConn")
    }
}
