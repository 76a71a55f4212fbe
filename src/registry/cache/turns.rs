//! Whose turn it is to unpack a layer: one at a time for each, and few altogether.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as Turn, MutexGuard, Semaphore, SemaphorePermit};

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

/// Somebody's place in the queue for a layer.
pub(in crate::registry) struct Place(Arc<Turn<()>>);

impl Place {
    /// Waits until nobody else has a turn with this layer; the turn ends when what is returned is dropped.
    pub(in crate::registry) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.0.lock().await
    }

    /// Leaves; `true` where nobody else wants this layer: one of those who leave at the same time is told so.
    pub(in crate::registry) fn leave(self) -> bool {
        Arc::into_inner(self.0).is_some()
    }
}

impl Turns {
    /// Queues for a layer.
    pub(super) fn queue(&self, layer: Digest) -> Place {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.retain(|_, turn| turn.strong_count() > 0);
        let known = layers.get(&layer).and_then(Weak::upgrade);
        Place(known.unwrap_or_else(|| {
            let turn = Arc::new(Turn::new(()));
            layers.insert(layer, Arc::downgrade(&turn));
            turn
        }))
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
        let [first, second] = [(); 2].map(|()| turns.queue(Digest::of(b"a")));
        let turn = first.turn().await;
        assert!(second.turn().now_or_never().is_none());
        drop(turns.queue(Digest::of(b"b")).turn().now_or_never().unwrap());
        drop(turn);
        assert!(second.turn().now_or_never().is_some());
        assert!(!first.leave());
        assert!(second.leave());
        let _another = turns.queue(Digest::of(b"c"));
        assert_eq!(turns.layers.lock().unwrap().len(), 1, "what nobody wants is forgotten");
    }
}
