//! A module, read from the registry chunk by chunk and encoded on the way.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, Bytes};
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use super::look::MAX_CHUNKS;
use crate::{
    digest::{Digest, Hasher},
    protocol::{ChunkEncoder, ChunkHead, Format},
    registry::{Module, ModuleReader, RangeReader, Registry, RegistryError},
};

/// The digests of chunks that are remembered, over all modules: 8 MiB of them.
const MAX_KNOWN: usize = MAX_CHUNKS as usize;

/// Modules of which it is remembered how far they were read in vain.
const MAX_BEGUN: usize = 32;

/// One chunk, ready for the wire.
pub(super) struct EncodedChunk {
    pub(super) index: u32,
    /// The module's bytes in it.
    pub(super) len: usize,
    pub(super) payloads: Vec<(Format, Bytes)>,
}

enum Reader {
    /// From the beginning, verified at its end.
    Whole(ModuleReader),
    /// From the middle: every chunk is checked against what a verified reading left.
    Part(RangeReader),
}

/// Reads the chunks of a module in order.
pub(super) struct ChunkSource {
    module: Module,
    head: Arc<ChunkHead>,
    reader: Reader,
    /// What was read, and belongs to the next chunk.
    rest: Bytes,
    next: u32,
    /// The digests of all chunks, where they are known; else those of the chunks read so far.
    known: Option<ChunkDigests>,
    seen: Vec<Digest>,
    /// What an earlier reading, which did not get to its end, saw of the first chunks: devices may have them.
    begun: Vec<Digest>,
}

/// The digest of each chunk of a module that was verified.
pub(super) type ChunkDigests = Arc<[Digest]>;

impl ChunkSource {
    /// Reads from the beginning; what is read is verified at the end.
    pub(super) async fn open(
        registry: &Registry,
        module: &Module,
        head: Arc<ChunkHead>,
    ) -> Result<Self, RegistryError> {
        let reader = Reader::Whole(registry.open(module).await?);
        let (module, rest, seen, begun) = (module.clone(), Bytes::new(), Vec::new(), Vec::new());
        Ok(Self { module, head, reader, rest, next: 0, known: None, seen, begun })
    }

    /// Expects the first chunks to be what an earlier reading saw, before that of the whole is known to be right.
    pub(super) fn expect(mut self, begun: Vec<Digest>) -> Self {
        self.begun = begun;
        self
    }

    /// Reads from chunk `first` on, and checks each chunk against what is known of it.
    pub(super) async fn open_at(
        registry: &Registry,
        module: &Module,
        head: Arc<ChunkHead>,
        first: u32,
        known: ChunkDigests,
    ) -> Result<Self, RegistryError> {
        let reader = Reader::Part(registry.open_at(module, head.layout.offset(first)).await?);
        let (rest, seen, begun) = (Bytes::new(), Vec::new(), Vec::new());
        Ok(Self { module: module.clone(), head, reader, rest, next: first, known: Some(known), seen, begun })
    }

    /// Waits until the first bytes of the next chunk are here. A call that is cancelled loses nothing.
    pub(super) async fn ready(&mut self) -> Result<(), RegistryError> {
        if self.rest.is_empty() && self.head.layout.len_of(self.next) > 0 {
            self.rest = self.read().await?.unwrap_or_default();
        }
        Ok(())
    }

    /// The next chunk in each of `formats`; none of them: it is read and forgotten.
    ///
    /// The last chunk comes only after the whole module was verified.
    pub(super) async fn next(&mut self, formats: &[Format]) -> Result<EncodedChunk, RegistryError> {
        let index = self.next;
        let mut encoders: Vec<_> =
            formats.iter().map(|&format| (format, ChunkEncoder::new(&self.head, format, index))).collect();
        let len = self.head.layout.len_of(index);
        let (mut left, mut hasher) = (len, Hasher::new());
        while left > 0 {
            if self.rest.is_empty() {
                self.rest = self.read().await?.ok_or_else(|| self.short(left))?;
            }
            let piece = &self.rest[..self.rest.len().min(left)];
            hasher.update(piece);
            for (_, encoder) in &mut encoders {
                encoder.push(piece);
            }
            left -= piece.len();
            self.rest.advance(piece.len());
        }
        self.next += 1;
        self.check(index, hasher.finish()).await?;
        let payloads = encoders.into_iter().map(|(format, encoder)| (format, encoder.finish())).collect();
        Ok(EncodedChunk { index, len, payloads })
    }

    async fn check(&mut self, index: u32, digest: Digest) -> Result<(), RegistryError> {
        let expected = self.known.as_deref().unwrap_or(&self.begun).get(index as usize);
        if let Some(&expected) = expected.filter(|expected| **expected != digest) {
            let reference = self.module.reference.clone();
            return Err(RegistryError::DigestMismatch { reference, expected, actual: digest });
        }
        if self.known.is_some() {
            return Ok(());
        }
        self.seen.push(digest);
        // The reader ends only after the digest of the whole was as it should be.
        if self.next == self.head.layout.total() && self.read().await?.is_some() {
            return Err(self.short(0));
        }
        Ok(())
    }

    /// The digests of the chunks read so far, by this reading or the one before: whichever came farther.
    pub(super) fn begun(self) -> Vec<Digest> {
        if self.seen.len() > self.begun.len() { self.seen } else { self.begun }
    }

    /// The digests of all chunks, once the module was read to its end.
    pub(super) fn verified(self) -> ChunkDigests {
        self.known.unwrap_or_else(|| self.seen.into())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        match &mut self.reader {
            Reader::Whole(reader) => reader.next().await,
            Reader::Part(reader) => reader.next().await,
        }
    }

    /// The reader ended before or after the size that it promised: it counts itself, so this is not to be expected.
    fn short(&self, left: usize) -> RegistryError {
        let expected = self.module.size;
        let actual = if left == 0 { expected + 1 } else { expected.saturating_sub(left as u64) };
        RegistryError::SizeMismatch { reference: self.module.reference.clone(), expected, actual }
    }
}

/// What verified readings left: the digest of each chunk, for the modules read last.
#[derive(Clone, Default)]
pub(super) struct KnownChunks(Arc<Mutex<Known>>);

/// A module's digest and the size of its chunks in bytes.
type Cut = (Digest, u32);

/// A reading of a module for the digests of its chunks, by all who need them: whoever waits for it drives it.
type Survey = Shared<BoxFuture<'static, Result<ChunkDigests, Arc<RegistryError>>>>;

#[derive(Default)]
struct Known {
    digests: HashMap<Cut, ChunkDigests>,
    surveys: HashMap<Cut, Survey>,
    /// Of readings that did not get to their end: what was sent of them.
    begun: HashMap<Cut, Vec<Digest>>,
    /// The oldest first.
    order: VecDeque<Cut>,
    chunks: usize,
}

impl KnownChunks {
    /// The digests of the chunks of the module that `head` is about.
    pub(super) fn get(&self, head: &ChunkHead) -> Option<ChunkDigests> {
        let known = self.lock();
        known.digests.get(&cut(head)).cloned()
    }

    /// The digests of the chunks of a module; where nobody knows them, it is read once, however many ask meanwhile.
    pub(super) async fn get_or_survey(
        &self,
        registry: &Registry,
        module: &Module,
        head: &Arc<ChunkHead>,
    ) -> Result<ChunkDigests, Arc<RegistryError>> {
        if let Some(digests) = self.get(head) {
            return Ok(digests);
        }
        let cut = cut(head);
        let begin = || survey(registry.clone(), module.clone(), head.clone()).boxed().shared();
        let survey = self.lock().surveys.entry(cut).or_insert_with(begin).clone();
        let surveyed = survey.await;
        self.lock().surveys.remove(&cut);
        if let Ok(digests) = &surveyed {
            self.put(head, digests.clone());
        }
        surveyed
    }

    /// What the last reading saw that did not get to its end.
    pub(super) fn begun(&self, head: &ChunkHead) -> Vec<Digest> {
        self.lock().begun.get(&cut(head)).cloned().unwrap_or_default()
    }

    /// A reading did not get to its end; `digests` of what was sent of it, none where it was corrupt.
    pub(super) fn put_begun(&self, head: &ChunkHead, digests: Vec<Digest>) {
        let mut known = self.lock();
        // Bounded by forgetting: there are never many at once, and all it costs is a check.
        if known.begun.len() >= MAX_BEGUN {
            known.begun.clear();
        }
        if digests.is_empty() {
            known.begun.remove(&cut(head));
        } else {
            known.begun.insert(cut(head), digests);
        }
    }

    /// Remembers them.
    pub(super) fn put(&self, head: &ChunkHead, digests: ChunkDigests) {
        let mut known = self.lock();
        let cut = cut(head);
        known.begun.remove(&cut);
        known.chunks += digests.len();
        match known.digests.insert(cut, digests) {
            None => known.order.push_back(cut),
            Some(same) => known.chunks -= same.len(),
        }
        while known.chunks > MAX_KNOWN
            && let Some(oldest) = known.order.pop_front()
        {
            known.chunks -= known.digests.remove(&oldest).map_or(0, |digests| digests.len());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(head: &ChunkHead) -> Cut {
    (head.digest, head.layout.chunk_size())
}

/// Reads a whole module without sending anything, for the digests of its chunks.
async fn survey(registry: Registry, module: Module, head: Arc<ChunkHead>) -> Result<ChunkDigests, Arc<RegistryError>> {
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
        let half: ChunkDigests = vec![Digest::of(b""); MAX_KNOWN / 2].into();
        for name in ["a", "b", "b", "c"] {
            known.put(&head(name), half.clone());
        }
        assert!(known.get(&head("a")).is_none());
        assert!(known.get(&head("b")).is_some() && known.get(&head("c")).is_some());
        known.put(&head("d"), vec![Digest::of(b""); MAX_KNOWN + 1].into());
        assert!(known.get(&head("d")).is_none(), "more than is remembered at all");
    }
}
