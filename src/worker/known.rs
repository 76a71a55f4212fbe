//! What verified readings left: the fingerprint of each chunk, for the modules read last.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use super::{fingerprint::Fingerprint, look::MAX_CHUNKS, slots::Slots, source::ChunkSource};
use crate::{
    digest::Digest,
    protocol::ChunkHead,
    registry::{Module, Registry, RegistryError},
};

/// The fingerprints of chunks that are remembered, over all modules: 8 MiB of them.
const MAX_KNOWN: usize = MAX_CHUNKS as usize;

/// The fingerprint of each chunk of a module that was verified.
pub(super) type Fingerprints = Arc<[Fingerprint]>;

/// Remembers them; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct KnownChunks(Arc<Mutex<Known>>);

/// A module's digest and the size of its chunks in bytes.
type Cut = (Digest, u32);

/// A reading of a module for the fingerprints of its chunks, by all who need them: whoever waits for it drives it.
type Survey = Shared<BoxFuture<'static, Result<Fingerprints, RegistryError>>>;

#[derive(Default)]
struct Known {
    by_cut: HashMap<Cut, Fingerprints>,
    surveys: HashMap<Cut, Survey>,
    /// The oldest first.
    order: VecDeque<Cut>,
    chunks: usize,
}

impl KnownChunks {
    /// The fingerprints of the chunks of the module that `head` is about.
    pub(super) fn get(&self, head: &ChunkHead) -> Option<Fingerprints> {
        self.lock().by_cut.get(&cut(head)).cloned()
    }

    /// The fingerprints of the chunks of a module; where nobody knows them, it is read once, however many ask meanwhile.
    ///
    /// # Errors
    /// Those of the reading, for all who wait for it.
    pub(super) async fn get_or_survey(
        &self,
        registry: &Registry,
        slots: &Slots,
        module: &Module,
        head: &Arc<ChunkHead>,
    ) -> Result<Fingerprints, RegistryError> {
        if let Some(known) = self.get(head) {
            return Ok(known);
        }
        let cut = cut(head);
        let begin = || survey(registry.clone(), slots.clone(), module.clone(), head.clone()).boxed().shared();
        let survey = self.lock().surveys.entry(cut).or_insert_with(begin).clone();
        let surveyed = survey.await;
        self.lock().surveys.remove(&cut);
        if let Ok(fingerprints) = &surveyed {
            self.put(head, fingerprints.clone());
        }
        surveyed
    }

    /// Forgets the readings that nobody waits for any more.
    pub(super) fn end_surveys(&self) {
        self.lock().surveys.clear();
    }

    /// Remembers them.
    pub(super) fn put(&self, head: &ChunkHead, fingerprints: Fingerprints) {
        let mut known = self.lock();
        let cut = cut(head);
        known.chunks += fingerprints.len();
        match known.by_cut.insert(cut, fingerprints) {
            None => known.order.push_back(cut),
            Some(same) => known.chunks -= same.len(),
        }
        while known.chunks > MAX_KNOWN
            && let Some(oldest) = known.order.pop_front()
        {
            known.chunks -= known.by_cut.remove(&oldest).map_or(0, |known| known.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(head: &ChunkHead) -> Cut {
    (head.digest, head.layout.chunk_size())
}

/// Reads a whole module without sending anything.
async fn survey(
    registry: Registry,
    slots: Slots,
    module: Module,
    head: Arc<ChunkHead>,
) -> Result<Fingerprints, RegistryError> {
    let _slot = slots.at(module.reference.host()).await;
    let mut source = ChunkSource::open(&registry, &module, head.clone()).await?;
    for _ in 0..head.layout.total() {
        source.next(&[]).await?;
    }
    Ok(source.verified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Layout;

    fn head(name: &str) -> ChunkHead {
        let layout = Layout::new(10, 5).unwrap();
        ChunkHead { app_name: name.to_owned(), digest: Digest::of(name.as_bytes()), layout }
    }

    #[test]
    fn what_was_verified_last_is_known_within_a_bound() {
        let known = KnownChunks::default();
        let half: Fingerprints = vec![Fingerprint::of([]); MAX_KNOWN / 2].into();
        for name in ["a", "b", "b", "c"] {
            known.put(&head(name), half.clone());
        }
        assert!(known.get(&head("a")).is_none());
        assert!(known.get(&head("b")).is_some() && known.get(&head("c")).is_some());
        known.put(&head("d"), vec![Fingerprint::of([]); MAX_KNOWN + 1].into());
        assert!(known.get(&head("d")).is_none(), "more than is remembered at all");
    }
}
