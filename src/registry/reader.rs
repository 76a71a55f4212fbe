//! A module as a stream of bytes, from the cache or the registry, verified as it passes.

use bytes::Bytes;

use super::{
    artifact::{PREAMBLE_LEN, Unsupported, may_be_wasm},
    blob::{Blob, BlobReader},
    cache::{FileRead, FileReader, Slice},
    client::Registry,
    error::RegistryError,
};
use crate::digest::{Digest, Hasher};

/// The bytes of a module in order, each under the running digest.
///
/// Holds no more than one read from the network or a file. After an error that is retryable it can be asked again, and
/// goes on from the byte reached; after another it is spent.
pub struct ModuleReader {
    bytes: RangeReader,
    media_type: Box<str>,
    hasher: Hasher,
    preamble: Vec<u8>,
    /// The digest of the whole, once all of it has come.
    actual: Option<Digest>,
}

impl ModuleReader {
    pub(super) fn new(bytes: RangeReader, media_type: &str) -> Self {
        let (hasher, preamble) = (Hasher::new(), Vec::with_capacity(PREAMBLE_LEN));
        Self { bytes, media_type: media_type.into(), hasher, preamble, actual: None }
    }

    /// The bytes that come next; `None` after exactly [`Module::size`](super::Module::size) bytes whose digest is
    /// [`Module::digest`](super::Module::digest).
    ///
    /// The last bytes are handed out only when the whole has been verified: whoever gathers all that comes never holds
    /// a complete module that is not what its digest says. A call that is cancelled loses nothing.
    ///
    /// # Errors
    /// `UnsupportedArtifact` where the bytes begin unlike a module; `DigestMismatch` or `SizeMismatch` where they are
    /// others than promised; `CacheChanged` where the cache's file has rotted since it was checked (open the module
    /// anew); and whatever a request can fail with, once resuming has not helped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        if self.actual.is_some() {
            return self.verify().await.map(|()| None);
        }
        let bytes = self.bytes.read(Some(&mut self.hasher)).await?.unwrap_or_default();
        self.check_preamble(&bytes)?;
        if self.bytes.remaining() == 0 {
            self.actual = Some(std::mem::take(&mut self.hasher).finish());
            self.verify().await?;
        }
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn check_preamble(&mut self, bytes: &Bytes) -> Result<(), RegistryError> {
        let missing = PREAMBLE_LEN - self.preamble.len();
        self.preamble.extend(bytes.iter().take(missing));
        if may_be_wasm(&self.preamble) {
            return Ok(());
        }
        let reference = self.bytes.blob.reference.clone();
        let why = Unsupported::NotWasm((&*self.media_type).into());
        Err(RegistryError::UnsupportedArtifact { reference, why })
    }

    async fn verify(&self) -> Result<(), RegistryError> {
        let Blob { digest, reference, .. } = &self.bytes.blob;
        let (expected, reference) = (*digest, reference.clone());
        let Some(actual) = self.actual.filter(|actual| *actual != expected) else { return Ok(()) };
        if self.bytes.is_all_from_registry() {
            return Err(RegistryError::DigestMismatch { reference, expected, actual });
        }
        // A file was verified before its last bytes could be read; where it could not be read to its end, who knows.
        self.bytes.registry.forget(expected).await;
        Err(RegistryError::CacheChanged { reference })
    }
}

/// The bytes of a module from an offset on, in order and in the right number, but not verified.
///
/// A connection that breaks is resumed from the byte reached. So is a file of the cache that cannot be read on, or a
/// download that others have left: then by a request of this reader's own.
pub struct RangeReader {
    registry: Registry,
    blob: Blob,
    source: Source,
    /// The registry took over from a file.
    began_in_cache: bool,
}

enum Source {
    Registry(Box<BlobReader>),
    File(FileReader),
    /// No registry has these bytes as a blob.
    Unpacked(FileReader),
}

impl RangeReader {
    pub(super) fn of_registry(registry: Registry, reader: BlobReader, blob: Blob) -> Self {
        Self { registry, blob, source: Source::Registry(Box::new(reader)), began_in_cache: false }
    }

    pub(super) fn of_unpacked(registry: Registry, reader: FileReader, blob: Blob) -> Self {
        Self { registry, blob, source: Source::Unpacked(reader), began_in_cache: false }
    }

    pub(super) fn of_file(registry: Registry, reader: FileReader, blob: Blob) -> Self {
        Self { registry, blob, source: Source::File(reader), began_in_cache: false }
    }

    /// The bytes that come next; `None` once the byte before was the module's last. A call that is cancelled loses
    /// nothing.
    ///
    /// # Errors
    /// `SizeMismatch` where the blob has another size than promised; `CacheChanged` where the file of a module that was
    /// unpacked cannot be read on (open the module anew); and whatever a request can fail with, once
    /// resuming has not helped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        self.read(None).await
    }

    /// The same; `hasher` takes the bytes in, too.
    async fn read(&mut self, mut hasher: Option<&mut Hasher>) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match &mut self.source {
                Source::Registry(reader) => {
                    let bytes = reader.next().await?;
                    if let (Some(hasher), Some(bytes)) = (hasher, &bytes) {
                        hasher.update(bytes);
                    }
                    return Ok(bytes);
                }
                Source::Unpacked(reader) => match reader.next(hasher.as_deref_mut()).await? {
                    FileRead::Bytes(bytes) => return Ok(Some(bytes)),
                    FileRead::End => return Ok(None),
                    FileRead::Lost | FileRead::Broken => {
                        self.registry.forget(self.blob.digest).await;
                        return Err(RegistryError::CacheChanged { reference: self.blob.reference.clone() });
                    }
                },
                Source::File(reader) => match reader.next(hasher.as_deref_mut()).await? {
                    FileRead::Bytes(bytes) => return Ok(Some(bytes)),
                    FileRead::End => return Ok(None),
                    lost => {
                        if matches!(lost, FileRead::Broken) {
                            self.registry.forget(self.blob.digest).await;
                        }
                        self.began_in_cache = reader.position() > 0;
                        let reader = BlobReader::new(self.registry.clone(), self.blob.clone(), reader.position());
                        self.source = Source::Registry(Box::new(reader));
                    }
                },
            }
        }
    }

    /// Whether all that comes is in a file, as [`Self::slice`] wants it.
    pub(crate) fn is_kept(&self) -> bool {
        match &self.source {
            Source::File(reader) | Source::Unpacked(reader) => reader.is_kept(),
            Source::Registry(_) => false,
        }
    }

    /// The bytes that come next, at most `len` of them, for who reads them where it blocks, if they are in a file; they count
    /// as read. Where they cannot be read, the cache has changed: open the module anew.
    pub(crate) fn slice(&mut self, len: usize) -> Option<Slice> {
        match &mut self.source {
            Source::File(reader) | Source::Unpacked(reader) => reader.slice(len),
            Source::Registry(_) => None,
        }
    }

    /// Whether another reader from another offset costs no more than the bytes it reads: false once the registry has
    /// answered a request for a part with the whole, which then has to be read up to that part each time.
    pub fn knows_ranges(&self) -> bool {
        match &self.source {
            Source::Registry(reader) => reader.knows_ranges(),
            Source::File(_) | Source::Unpacked(_) => true,
        }
    }

    fn is_all_from_registry(&self) -> bool {
        matches!(self.source, Source::Registry(_)) && !self.began_in_cache
    }

    fn remaining(&self) -> u64 {
        match &self.source {
            Source::Registry(reader) => reader.remaining(),
            Source::File(reader) | Source::Unpacked(reader) => self.blob.size.saturating_sub(reader.position()),
        }
    }
}
