//! How a connection ends that its peer is about to close: behind the peer, so that the peer keeps TIME_WAIT.
//!
//! TIME_WAIT costs a client one of its local ports towards that server for 60 s, and a server nothing but 256 bytes
//! (struct `tcp_timewait_sock`). A server that said `Connection: close` has nearly always closed by the time its reply is read.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use millstream_pool::{EvictCause, Lent};
use millstream_runtime::{now, spawn_local};
use millstream_transport::{Cause, PeerEvent};
use tokio::io::AsyncReadExt;

use crate::Session;
use crate::slot::{self, Slot};

/// How long the peer's FIN is waited for: a round trip around the world. A port in TIME_WAIT is lost 240 times longer.
const PATIENCE: Duration = Duration::from_millis(250);
/// What a peer may still say before its FIN, and nobody wants to know: TLS says goodbye too.
const LAST_WORDS: usize = 16 * 1024;

/// Closes the connection when its peer has, or when that takes too long.
pub(crate) fn close_behind_peer<S: Session>(mut lent: Lent<Slot<S>>, cause: Cause) {
    let conn = lent.session.conn_mut();
    // Most have come with the reply; what the reactor has not seen yet the kernel knows.
    let is_closed = |event: Option<PeerEvent>| matches!(event, Some(PeerEvent::Fin | PeerEvent::Reset(_)));
    if is_closed(conn.try_peer()) || is_closed(conn.peek_now()) {
        return slot::end(lent, cause, EvictCause::Closed);
    }
    let worker = lent.worker.clone();
    // Dropped where the engine has stopped, and closed by that.
    let _ = worker.run(move || drop(spawn_local(wait_and_close(lent, cause))));
}

async fn wait_and_close<S: Session>(mut lent: Lent<Slot<S>>, cause: Cause) {
    lent.timer.arm(now() + PATIENCE);
    wait(&mut lent).await;
    slot::end(lent, cause, EvictCause::Closed);
}

/// Until the peer has ended, or the timer.
async fn wait<S: Session>(slot: &mut Slot<S>) {
    let mut ended = pin!(hear_out(&mut slot.session));
    poll_fn(|cx| match ended.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => slot.timer.poll_expired(cx),
    })
    .await;
}

/// Reads to the peer's end.
async fn hear_out<S: Session>(session: &mut S) {
    let mut buffer = [0; 512];
    let mut left = LAST_WORDS;
    while let Ok(count @ 1..) = session.conn_mut().read(&mut buffer).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}
