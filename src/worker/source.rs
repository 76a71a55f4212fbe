//! A module, read from the registry chunk by chunk and encoded on the way.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::task::JoinError;

use super::{fingerprint::Fingerprint, holds::Begun, known::Fingerprints, starving::Starving};
use crate::{
    buffers::Buffers,
    digest::Hasher,
    protocol::{ChunkEncoder, ChunkHead, Format},
    registry::{Module, ModuleReader, RangeReader, Registry, RegistryError, Slice},
};

/// One chunk, ready for the wire.
pub(super) struct EncodedChunk {
    pub(super) index: u32,
    /// The module's bytes in it.
    pub(super) len: usize,
    pub(super) fingerprint: Fingerprint,
    pub(super) payloads: Vec<(Format, Bytes)>,
}

impl EncodedChunk {
    fn new(head: &ChunkHead, index: u32, pieces: &[Bytes], into: Vec<(Format, Vec<u8>)>, buffers: &Buffers) -> Self {
        let encode = |(format, buffer)| {
            let mut encoder = ChunkEncoder::new_in(buffer, head, format, index);
            for piece in pieces {
                encoder.push(piece);
            }
            (format, buffers.lend(encoder.finish_buffer()))
        };
        Self {
            index,
            len: pieces.iter().map(Bytes::len).sum(),
            fingerprint: Fingerprint::of(pieces.iter().map(|piece| &**piece)),
            payloads: into.into_iter().map(encode).collect(),
        }
    }
}

/// What a chunk is made of.
enum Content {
    Pieces(Vec<Bytes>),
    /// Still to be read, where that may block.
    File {
        slice: Slice,
        into: Vec<u8>,
        home: Buffers,
    },
}

impl Content {
    fn pieces(self) -> io::Result<Vec<Bytes>> {
        match self {
            Self::Pieces(pieces) => Ok(pieces),
            Self::File { slice, mut into, home } => {
                slice.read(&mut into)?;
                Ok(vec![home.lend(into)])
            }
        }
    }
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
    /// What all chunks are, where it is known: every chunk is checked against it.
    known: Option<Fingerprints>,
    /// What those are that were read so far.
    seen: Vec<Fingerprint>,
    /// It was read anew once, because what a cache had was not what it should be.
    read_anew: bool,
    starving: Starving,
    /// For what is read from a file.
    reading: Buffers,
    buffers: Buffers,
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
        known: Fingerprints,
    ) -> Result<Self, RegistryError> {
        let reader = Reader::Part(registry.open_at(module, head.layout.offset(first)).await?);
        Ok(Self { next: first, known: Some(known), ..Self::new(registry, module, head, reader) })
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
            reading: Buffers::default(),
            buffers: Buffers::default(),
        }
    }

    /// Says where it waits for the registry.
    pub(super) fn telling(self, starving: Starving) -> Self {
        Self { starving, ..self }
    }

    /// Encodes into these buffers.
    pub(super) fn using(self, buffers: Buffers) -> Self {
        Self { buffers, ..self }
    }

    /// Waits until the first bytes of the next chunk are here. A call that is cancelled loses nothing.
    pub(super) async fn ready(&mut self) -> Result<(), RegistryError> {
        if self.rest.is_empty() && self.head.layout.len_of(self.next) > 0 && !self.is_kept() {
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
        let len = self.head.layout.len_of(index);
        let content = self.content(len).await?;
        let (head, buffers) = (self.head.clone(), self.buffers.clone());
        let into = formats.iter().map(|&format| (format, buffers.take(head.max_payload(format)))).collect();
        let is_at_hand = len < SMALL && matches!(content, Content::Pieces(_));
        let encode = move || Ok(EncodedChunk::new(&head, index, &content.pieces()?, into, &buffers));
        let encoded: io::Result<_> = if is_at_hand { encode() } else { beside(encode).await };
        // The copy in the cache, that is.
        let changed = |_| RegistryError::CacheChanged { reference: self.module.reference.clone() };
        let chunk = encoded.map_err(changed)?;
        self.check(&chunk).await?;
        Ok(chunk)
    }

    /// What the next chunk is made of.
    async fn content(&mut self, len: usize) -> Result<Content, RegistryError> {
        if let Reader::Part(reader) = &mut self.reader
            && let Some(slice) = reader.slice(len)
        {
            if slice.len < len {
                return Err(self.short(len - slice.len));
            }
            return Ok(Content::File { slice, into: self.reading.take(len), home: self.reading.clone() });
        }
        Ok(Content::Pieces(self.pieces(len).await?))
    }

    /// Whether chunks are read from a file as they are encoded, since nothing else is to be done with their bytes.
    fn is_kept(&self) -> bool {
        matches!(&self.reader, Reader::Part(reader) if reader.is_kept())
    }

    /// Reads so many bytes.
    async fn pieces(&mut self, len: usize) -> Result<Vec<Bytes>, RegistryError> {
        let (mut pieces, mut left) = (Vec::new(), len);
        while left > 0 {
            if self.rest.is_empty() {
                self.rest = self.read().await?.ok_or_else(|| self.short(left))?;
            }
            let piece = self.rest.split_to(self.rest.len().min(left));
            left -= piece.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }

    async fn check(&mut self, chunk: &EncodedChunk) -> Result<(), RegistryError> {
        let EncodedChunk { index, fingerprint, .. } = *chunk;
        if let Some(known) = &self.known {
            return match known.get(index as usize) {
                Some(&expected) if expected != fingerprint => {
                    Err(RegistryError::ChunkMismatch { reference: self.module.reference.clone(), chunk: index })
                }
                _ => Ok(()),
            };
        }
        self.seen.push(fingerprint);
        // The reader ends only after the digest of the whole was as it should be.
        if index + 1 == self.head.layout.total() && self.read().await?.is_some() {
            return Err(self.short(0));
        }
        Ok(())
    }

    /// Reads the chunk under way anew where a copy on disk may be to blame, and every chunk is checked: once.
    async fn read_anew(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        let is_copy = matches!(error, RegistryError::ChunkMismatch { .. } | RegistryError::CacheChanged { .. });
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
        let fingerprints = self.known.as_deref().unwrap_or(&self.seen).get(..chunks as usize)?;
        let mut hasher = Hasher::new();
        fingerprints.iter().for_each(|fingerprint| hasher.update(fingerprint.as_bytes()));
        (chunks > 0).then(|| Begun { chunks, digest: hasher.finish() })
    }

    /// Whether every chunk is checked as it comes, rather than the whole at its end.
    pub(super) fn is_checked(&self) -> bool {
        self.known.is_some()
    }

    /// What all chunks are, once the module was read to its end.
    pub(super) fn verified(self) -> Fingerprints {
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

/// Chunks of fewer bytes are encoded sooner than another thread would be found for it.
const SMALL: usize = 128 * 1024;

/// Works beside what sends chunks.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and everything with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
