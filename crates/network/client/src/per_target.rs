//! What a client keeps for each target besides its connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Target;

/// One `T` for each target that connections were made to.
#[derive(Debug)]
pub(crate) struct PerTarget<T>(Mutex<HashMap<Target, Arc<T>>>);

/// Targets remembered; when there are more, those that nobody uses go.
const MOST_TARGETS: usize = 10_000;

impl<T: Default> PerTarget<T> {
    /// That of this target. Asked for when a connection is made, not for each call.
    pub(crate) fn of(&self, target: &Target) -> Arc<T> {
        let mut all = self.lock();
        if let Some(found) = all.get(target) {
            return found.clone();
        }
        if all.len() >= MOST_TARGETS {
            all.retain(|_, one| Arc::strong_count(one) > 1);
        }
        all.entry(target.clone()).or_default().clone()
    }

    /// Shows every one of them; nothing is added meanwhile.
    pub(crate) fn each(&self, look: impl FnMut(&T)) {
        let all = self.lock();
        all.values().map(|one| &**one).for_each(look);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for PerTarget<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
