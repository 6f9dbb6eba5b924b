//! What TCP knows of a connection (`struct tcp_info`, include/uapi/linux/tcp.h). Older kernels give less of it: then 0.

use std::time::Duration;

use crate::netlink::{u32_at, u64_at};

/// What TCP knows of a connection. Times are as exact as the kernel's: milliseconds, and microseconds for round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    options: u8,
    rto_us: u32,
    rtt_us: u32,
    min_rtt_us: u32,
    unacked: u32,
    last_data_sent_ms: u32,
    last_data_received_ms: u32,
    last_ack_received_ms: u32,
    total_retransmits: u32,
    congestion_window: u32,
    bytes_acked: u64,
    bytes_received: u64,
    segments_out: u32,
    segments_in: u32,
    not_sent: u32,
}

/// `TCPI_OPT_TIMESTAMPS`.
const TIMESTAMPS: u8 = 1;

impl TcpInfo {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let number = |at| u32_at(bytes, at).unwrap_or(0);
        let large = |at| u64_at(bytes, at).unwrap_or(0);
        Self {
            options: bytes.get(5).copied().unwrap_or(0),
            rto_us: number(8),
            unacked: number(24),
            last_data_sent_ms: number(44),
            last_data_received_ms: number(52),
            last_ack_received_ms: number(56),
            rtt_us: number(68),
            congestion_window: number(80),
            total_retransmits: number(100),
            bytes_acked: large(120),
            bytes_received: large(128),
            segments_out: number(136),
            segments_in: number(140),
            not_sent: number(144),
            min_rtt_us: number(148),
        }
    }

    /// Do segments carry timestamps (RFC 7323)? Without them a port in TIME_WAIT can't be taken over.
    pub fn has_timestamps(&self) -> bool {
        self.options & TIMESTAMPS != 0
    }

    /// The smoothed round trip.
    pub fn rtt(&self) -> Duration {
        micros(self.rtt_us)
    }

    /// The shortest round trip of late.
    pub fn min_rtt(&self) -> Duration {
        micros(self.min_rtt_us)
    }

    /// When what is not acknowledged is sent again.
    pub fn rto(&self) -> Duration {
        micros(self.rto_us)
    }

    /// Segments sent and not acknowledged; of a listener its accept queue.
    pub fn unacked(&self) -> u32 {
        self.unacked
    }

    /// Bytes written and not sent yet.
    pub fn not_sent(&self) -> u32 {
        self.not_sent
    }

    /// Bytes that the peer has acknowledged.
    pub fn bytes_acked(&self) -> u64 {
        self.bytes_acked
    }

    /// Bytes received in order.
    pub fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Segments sent.
    pub fn segments_out(&self) -> u32 {
        self.segments_out
    }

    /// Segments received.
    pub fn segments_in(&self) -> u32 {
        self.segments_in
    }

    /// Segments sent again, over the connection's life.
    pub fn total_retransmits(&self) -> u32 {
        self.total_retransmits
    }

    /// Segments that may be under way.
    pub fn congestion_window(&self) -> u32 {
        self.congestion_window
    }

    /// Since data was sent last.
    pub fn since_data_sent(&self) -> Duration {
        millis(self.last_data_sent_ms)
    }

    /// Since data came last.
    pub fn since_data_received(&self) -> Duration {
        millis(self.last_data_received_ms)
    }

    /// Since an acknowledgement came last.
    pub fn since_ack_received(&self) -> Duration {
        millis(self.last_ack_received_ms)
    }
}

fn micros(count: u32) -> Duration {
    Duration::from_micros(count.into())
}

fn millis(count: u32) -> Duration {
    Duration::from_millis(count.into())
}
