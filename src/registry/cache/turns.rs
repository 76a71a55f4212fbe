//! Whose turn it is to unpack a layer: one at a time for each, and few altogether.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard, Semaphore, SemaphorePermit};

use crate::digest::Digest;

/// Layers that are unpacked at the same time: it takes a processor each, which chunks want too.
const MOST: usize = 2;

pub(super) struct Turns {
    layers: Mutex<HashMap<Digest, Weak<Turn<()>>>>,
    processors: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { layers: Mutex::default(), processors: Semaphore::new(MOST) }
    }
}

impl Turns {
    /// Waits until nobody else has a turn with this layer; the turn ends when what is returned is dropped.
    pub(super) async fn of(&self, layer: Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
            layers.retain(|_, turn| turn.strong_count() > 0);
            let known = layers.get(&layer).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::new(Turn::new(()));
                layers.insert(layer, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }

    /// Waits for a processor. `None` never comes: nobody closes it.
    pub(super) async fn processor(&self) -> Option<SemaphorePermit<'_>> {
        self.processors.acquire().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_layer_is_unpacked_by_one_at_a_time_and_nobody_waits_for_another_layer() {
        let turns = Turns::default();
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let first = turns.of(a).await;
        assert!(turns.of(a).now_or_never().is_none());
        drop(turns.of(b).now_or_never().unwrap());
        drop(first);
        assert!(turns.of(a).now_or_never().is_some());
        assert!(turns.layers.lock().unwrap().len() <= 1, "what nobody wants is forgotten");
    }
}
