//! Connections opened ahead of need: after a start, or before a burst that is known to come.

use std::sync::Arc;

use millstream_base::{Deadline, Kind, Result};
use millstream_pool::{Bucket, Permit};
use millstream_runtime::now;
use millstream_transport::Opener;

use crate::client::Shared;
use crate::slot::Slot;
use crate::{Client, Lease, Protocol, Target, dialer};

/// Connections that are dialled at once begin with one, and double with each round that succeeds, as TCP's slow start does (RFC 5681
/// section 3.1): a server that has just started, too, gets what it can take.
const MOST_AT_ONCE: usize = 64;

impl<P: Protocol> Client<P> {
    /// Opens connections to `target` until there are `count`, idle or in use, and gives how many it opened. Stops without an error
    /// where the client's limit is reached, where callers wait, or where 45 % of the local ports towards the target are in use.
    ///
    /// Dropping the future opens no more; what was begun goes to stock.
    ///
    /// # Errors
    /// When a connection can't be opened; those before it stay.
    pub async fn prewarm(&self, target: &Target, count: usize) -> Result<usize> {
        let bucket = self.shared().pool.bucket(target);
        let missing = || count.saturating_sub(bucket.places());
        warm(self.shared(), target, &bucket, Opener::Prewarm, missing).await
    }
}

/// Opens connections for as long as any are `missing`, as [`Client::prewarm`] does.
pub(crate) async fn warm<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    bucket: &Arc<Bucket<Slot<P::Session>>>,
    opener: Opener,
    missing: impl Fn() -> usize,
) -> Result<usize> {
    let deadline = Deadline::after(now(), shared.options.call_timeout);
    let (mut opened, mut at_once) = (0, 1);
    loop {
        let wanted = missing().min(at_once);
        let permits: Vec<_> = std::iter::from_fn(|| bucket.try_reserve()).take(wanted).collect();
        if permits.is_empty() {
            return Ok(opened);
        }
        let round = permits.len();
        // All of a round are under way before the first is waited for.
        let dials: Vec<_> =
            permits.into_iter().map(|permit| one(shared, target, permit, opener, deadline)).collect();
        let mut failed = None;
        for dial in dials {
            match dial.await {
                Ok(()) => opened += 1,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if error.kind() == Kind::PortsExhausted => return Ok(opened),
            Some(error) => return Err(error.with_target(target.to_string())),
            None => at_once = (round * 2).min(MOST_AT_ONCE),
        }
    }
}

/// One connection into the stock, begun at once.
fn one<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: Permit<Slot<P::Session>>,
    opener: Opener,
    deadline: Deadline,
) -> impl Future<Output = Result<()>> + use<P> {
    let (shared, target) = (shared.clone(), target.clone());
    let worker = shared.home().clone();
    let home = worker.clone();
    let dialling = worker.spawn(async move || {
        let lent = dialer::open_here(&shared, &target, permit, opener, deadline, home).await?;
        // At once: what is not in stock counts as in use.
        Lease::<P>::new(lent, shared.engine).release(now());
        Ok(())
    });
    async { dialling.await? }
}
