//! A module, read from the registry chunk by chunk and encoded on the way.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::{holds::Begun, known::ChunkDigests, starving::Starving};
use crate::{
    digest::{Digest, Hasher},
    protocol::{ChunkEncoder, ChunkHead, Format},
    registry::{Module, ModuleReader, RangeReader, Registry, RegistryError},
};

/// One chunk, ready for the wire.
pub(super) struct EncodedChunk {
    pub(super) index: u32,
    /// The module's bytes in it.
    pub(super) len: usize,
    /// Their digest.
    pub(super) digest: Digest,
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
    registry: Registry,
    module: Module,
    head: Arc<ChunkHead>,
    reader: Reader,
    /// What was read, and belongs to the next chunk.
    rest: Bytes,
    next: u32,
    /// The digests of all chunks, where they are known: every chunk is checked against them.
    known: Option<ChunkDigests>,
    /// Those of the chunks read so far.
    seen: Vec<Digest>,
    /// It was read anew once, because what a cache had was not what it should be.
    read_anew: bool,
    starving: Starving,
}

impl ChunkSource {
    /// Reads from the beginning; what is read is verified at the end.
    pub(super) async fn open(
        registry: &Registry,
        module: &Module,
        head: Arc<ChunkHead>,
    ) -> Result<Self, RegistryError> {
        let reader = Reader::Whole(registry.open(module).await?);
        Ok(Self::new(registry, module, head, reader))
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
        Ok(Self { next: first, ..Self::new(registry, module, head, reader).knowing(Some(known)) })
    }

    fn new(registry: &Registry, module: &Module, head: Arc<ChunkHead>, reader: Reader) -> Self {
        Self {
            registry: registry.clone(),
            module: module.clone(),
            head,
            reader,
            rest: Bytes::new(),
            next: 0,
            known: None,
            seen: Vec::new(),
            read_anew: false,
            starving: Starving::default(),
        }
    }

    /// Checks each chunk against what is known of it, if anything is.
    pub(super) fn knowing(self, known: Option<ChunkDigests>) -> Self {
        Self { known, ..self }
    }

    /// Says where it waits for the registry.
    pub(super) fn telling(self, starving: Starving) -> Self {
        Self { starving, ..self }
    }

    /// Waits until the first bytes of the next chunk are here. A call that is cancelled loses nothing.
    pub(super) async fn ready(&mut self) -> Result<(), RegistryError> {
        if self.rest.is_empty() && self.head.layout.len_of(self.next) > 0 {
            match self.read().await {
                Ok(bytes) => self.rest = bytes.unwrap_or_default(),
                Err(error) => self.read_anew(error).await?,
            }
        }
        Ok(())
    }

    /// The next chunk in each of `formats`; none of them: it is read and forgotten.
    ///
    /// The last chunk comes only after the whole module was verified.
    pub(super) async fn next(&mut self, formats: &[Format]) -> Result<EncodedChunk, RegistryError> {
        loop {
            match self.chunk(formats).await {
                Ok(chunk) => {
                    self.next += 1;
                    return Ok(chunk);
                }
                Err(error) => self.read_anew(error).await?,
            }
        }
    }

    async fn chunk(&mut self, formats: &[Format]) -> Result<EncodedChunk, RegistryError> {
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
        let digest = hasher.finish();
        self.check(index, digest).await?;
        let payloads = encoders.into_iter().map(|(format, encoder)| (format, encoder.finish())).collect();
        Ok(EncodedChunk { index, len, digest, payloads })
    }

    async fn check(&mut self, index: u32, digest: Digest) -> Result<(), RegistryError> {
        if let Some(known) = &self.known {
            return match known.get(index as usize) {
                Some(&expected) if expected != digest => {
                    let reference = self.module.reference.clone();
                    Err(RegistryError::DigestMismatch { reference, expected, actual: digest })
                }
                _ => Ok(()),
            };
        }
        self.seen.push(digest);
        // The reader ends only after the digest of the whole was as it should be.
        if index + 1 == self.head.layout.total() && self.read().await?.is_some() {
            return Err(self.short(0));
        }
        Ok(())
    }

    /// Reads the chunk under way anew where a copy on disk may be to blame, and every chunk is checked: once.
    async fn read_anew(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let is_copy = matches!(error, RegistryError::DigestMismatch { .. } | RegistryError::CacheChanged { .. });
        if self.read_anew || self.known.is_none() || !is_copy {
            return Err(error);
        }
        tracing::warn!(reference = %self.module.reference, chunk = self.next, %error, "reading it anew");
        self.read_anew = true;
        self.registry.distrust(&self.module).await;
        let offset = self.head.layout.offset(self.next);
        self.reader = Reader::Part(self.registry.open_at(&self.module, offset).await?);
        self.rest = Bytes::new();
        Ok(())
    }

    /// Whether reading on to chunk `index` is no more work for the registry than asking for it anew.
    pub(super) fn is_nearer(&self, index: u32) -> bool {
        let knows_ranges = match &self.reader {
            Reader::Whole(_) => true,
            Reader::Part(reader) => reader.knows_ranges(),
        };
        index == self.next || (index > self.next && !knows_ranges)
    }

    /// Reads on to chunk `index`.
    pub(super) async fn pass_over(&mut self, index: u32) -> Result<(), RegistryError> {
        while self.next < index {
            self.next(&[]).await?;
        }
        Ok(())
    }

    /// The first so many chunks, for who must tell whether they are the same as others; none where they are not known, or
    /// where there are none.
    pub(super) fn first(&self, chunks: u32) -> Option<Begun> {
        let digests = self.known.as_deref().unwrap_or(&self.seen).get(..chunks as usize)?;
        let mut hasher = Hasher::new();
        digests.iter().for_each(|digest| hasher.update(digest.as_bytes()));
        (chunks > 0).then(|| Begun { chunks, digest: hasher.finish() })
    }

    /// Whether every chunk is checked as it comes, rather than the whole at its end.
    pub(super) fn is_checked(&self) -> bool {
        self.known.is_some()
    }

    /// The digests of all chunks, once the module was read to its end.
    pub(super) fn verified(self) -> ChunkDigests {
        self.known.unwrap_or_else(|| self.seen.into())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let Self { reader, starving, .. } = self;
        starving
            .during(async {
                match reader {
                    Reader::Whole(reader) => reader.next().await,
                    Reader::Part(reader) => reader.next().await,
                }
            })
            .await
    }

    /// The reader ended before or after the size that it promised: it counts itself, so this is not to be expected.
    fn short(&self, left: usize) -> RegistryError {
        let expected = self.module.size;
        let actual = if left == 0 { expected + 1 } else { expected.saturating_sub(left as u64) };
        RegistryError::SizeMismatch { reference: self.module.reference.clone(), expected, actual }
    }
}
