//! How much is asked of one registry at once, so that one that does not answer holds up nobody else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Answers to pulls that one registry is asked for at once.
const PER_HOST: usize = 8;

/// A bounded number of slots for each registry. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<HashMap<String, Arc<Semaphore>>>>);

impl Slots {
    /// Waits for a slot at the registry `host`; it is given back when dropped.
    pub(super) async fn at(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let slots = {
            let mut by_host = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody waits there, and nobody has one.
            by_host.retain(|_, slots| Arc::strong_count(slots) > 1);
            by_host.entry(host.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_HOST))).clone()
        };
        slots.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_registry_does_not_take_the_slots_of_another() {
        let slots = Slots::default();
        let mut held: Vec<_> = (0..PER_HOST).map(|_| slots.at("a").now_or_never().unwrap().unwrap()).collect();
        assert!(slots.at("a").now_or_never().is_none());
        assert!(slots.at("b").now_or_never().is_some());
        held.pop();
        assert!(slots.at("a").now_or_never().is_some());
        held.clear();
        assert!(slots.at("b").now_or_never().is_some());
        assert_eq!(slots.0.lock().unwrap().len(), 1, "what is not used is forgotten");
    }
}
