//! Since when a pass waits for the registry.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A pass that has waited so long for its next byte does not hold up others. Shorter waits are what networks are like.
pub(super) const STARVING: Duration = Duration::from_secs(1);

/// Shared by a pass, which waits, and the schedule, which looks.
#[derive(Debug, Clone, Default)]
pub(super) struct Starving(Arc<Mutex<Option<Instant>>>);

impl Starving {
    /// Waits for the registry, as others can see.
    pub(super) async fn during<T>(&self, waiting: impl Future<Output = T>) -> T {
        self.set(Some(Instant::now()));
        let fed = waiting.await;
        self.set(None);
        fed
    }

    /// When the wait under way will have been long; `None` where there is none.
    pub(super) fn at(&self) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|since| since + STARVING)
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}
