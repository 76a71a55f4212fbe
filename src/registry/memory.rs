//! What is remembered of manifests, so that a tag that has not moved costs one small request, and a digest none.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{artifact::Selected, error::RegistryError, reference::Reference};
use crate::digest::Digest;

/// Manifests that are remembered, and as many tags. Both are named by devices, too.
const MAX: usize = 1024;

/// How long a manifest that a reference is pinned to is not asked for again. It cannot change; but we may have been
/// locked out, or it may have been deleted, and that shows when somebody asks.
const FRESH: Duration = Duration::from_secs(300);

/// How long it is remembered that a layer came otherwise than its digest or size says: somebody may mend the registry.
const MISMATCHED: Duration = Duration::from_secs(60);

/// What one set of credentials was shown by registries.
#[derive(Default)]
pub(super) struct Memory {
    manifests: Mutex<Recent<(String, String, Digest), Seen>>,
    tags: Mutex<Recent<(String, String, String), ()>>,
    refused: Mutex<Recent<(Reference, Digest), Refused>>,
}

/// What a manifest, or an index, leads to.
#[derive(Debug, Clone)]
struct Seen {
    selected: Selected,
    at: Instant,
}

/// Why a layer is of no use.
#[derive(Debug, Clone)]
struct Refused {
    why: RegistryError,
    at: Instant,
}

impl Memory {
    /// Whether a reference's tag was looked up before.
    pub(super) fn knows_tag(&self, of: &Reference) -> bool {
        of.tag().is_some_and(|tag| lock(&self.tags).get(&key(of, tag.to_owned())).is_some())
    }

    /// Where the module is that a manifest in a reference's repository leads to.
    pub(super) fn manifest(&self, of: &Reference, digest: Digest) -> Option<Selected> {
        lock(&self.manifests).get(&key(of, digest)).map(|seen| seen.selected.clone())
    }

    /// The same, if it was seen lately.
    pub(super) fn fresh_manifest(&self, of: &Reference, digest: Digest) -> Option<Selected> {
        let mut manifests = lock(&self.manifests);
        let seen = manifests.get(&key(of, digest)).filter(|seen| seen.at.elapsed() < FRESH)?;
        Some(seen.selected.clone())
    }

    /// Notes what a reference has led to just now.
    pub(super) fn saw(&self, of: &Reference, digest: Digest, selected: Selected) {
        if let (Some(tag), None) = (of.tag(), of.digest()) {
            lock(&self.tags).put(key(of, tag.to_owned()), ());
        }
        lock(&self.manifests).put(key(of, digest), Seen { selected, at: Instant::now() });
    }

    /// Why a layer, by whatever name it has here, is of no use.
    pub(super) fn refused(&self, of: &Reference, layer: Digest) -> Option<RegistryError> {
        let mut refused = lock(&self.refused);
        let Refused { why, at } = refused.get(&(of.clone(), layer))?;
        (!is_mismatch(why) || at.elapsed() < MISMATCHED).then(|| why.clone())
    }

    /// Notes that a layer is of no use. It will not be, since it cannot change; but one that came otherwise than it should
    /// may come right in a minute. Who asks before has it neither fetched nor unpacked again.
    pub(super) fn refuse(&self, of: &Reference, layer: Digest, why: RegistryError) {
        lock(&self.refused).put((of.clone(), layer), Refused { why, at: Instant::now() });
    }
}

/// Whether an error says that a registry sent something else than it should.
pub(super) fn is_mismatch(error: &RegistryError) -> bool {
    matches!(error, RegistryError::DigestMismatch { .. } | RegistryError::SizeMismatch { .. })
}

fn key<T>(of: &Reference, name: T) -> (String, String, T) {
    (of.host().to_owned(), of.repository().to_owned(), name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The [`MAX`] values that were used last.
struct Recent<K, V> {
    values: HashMap<K, (u64, V)>,
    clock: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), clock: 0 }
    }
}

impl<K: Clone + Eq + std::hash::Hash, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&V> {
        self.clock += 1;
        let (used, value) = self.values.get_mut(key)?;
        *used = self.clock;
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        self.clock += 1;
        if self.values.len() >= MAX && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            oldest.and_then(|oldest| self.values.remove(&oldest));
        }
        self.values.insert(key, (self.clock, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Reference {
        Reference::parse(text, "registry.example").unwrap()
    }

    fn layer() -> Selected {
        let media_type = "application/wasm".to_owned();
        Selected::Raw(crate::registry::artifact::Layer { digest: Digest::of(b"module"), size: 8, media_type })
    }

    #[tokio::test(start_paused = true)]
    async fn a_manifest_is_fresh_for_five_minutes_and_remembered_longer() {
        let (memory, of, digest) = (Memory::default(), reference("add:1"), Digest::of(b"manifest"));
        memory.saw(&of, digest, layer());
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(memory.fresh_manifest(&of, digest), Some(layer()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(memory.fresh_manifest(&of, digest), None);
        assert_eq!(memory.manifest(&of, digest), Some(layer()));
    }

    #[tokio::test]
    async fn what_one_repository_has_another_does_not() {
        let (memory, digest) = (Memory::default(), Digest::of(b"manifest"));
        memory.saw(&reference("add:1"), digest, layer());
        for other in ["sub:1", "other.example/add:1"] {
            assert_eq!(memory.manifest(&reference(other), digest), None);
            assert!(!memory.knows_tag(&reference(other)));
        }
        assert!(memory.knows_tag(&reference("add:1")) && !memory.knows_tag(&reference("add:2")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_that_came_otherwise_than_it_should_is_refused_for_a_minute_and_a_useless_one_for_ever() {
        let (memory, of) = (Memory::default(), reference("add:1"));
        let (useless, rotten) = (Digest::of(b"useless"), Digest::of(b"rotten"));
        memory.refuse(&of, useless, RegistryError::TooLarge { reference: of.clone(), size: 2, limit: 1 });
        memory.refuse(&of, rotten, RegistryError::SizeMismatch { reference: of.clone(), expected: 2, actual: 1 });
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(memory.refused(&of, useless).is_some() && memory.refused(&of, rotten).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(memory.refused(&of, useless).is_some() && memory.refused(&of, rotten).is_none());
    }

    #[test]
    fn no_more_is_remembered_than_a_bound_and_the_least_used_goes_first() {
        let mut recent = Recent::default();
        for number in 0..MAX {
            recent.put(number, ());
        }
        assert!(recent.get(&0).is_some());
        recent.put(MAX, ());
        assert!(recent.get(&0).is_some() && recent.get(&1).is_none());
        assert_eq!(recent.values.len(), MAX);
    }
}
