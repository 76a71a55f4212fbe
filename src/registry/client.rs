//! One registry configuration, and what it is for.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{
    access::Access,
    artifact::Packed,
    blob::{Blob, BlobReader},
    cache::{Cache, FileReader, Kept, Reading, Wanted},
    error::RegistryError,
    options::RegistryOptions,
    reader::{ModuleReader, RangeReader},
    reference::{Reference, canonical_host},
};
use crate::digest::Digest;

/// A client of OCI registries, with credentials for one of them. Clones share connections, tokens, and what is known of
/// manifests.
///
/// What may succeed later is tried up to six times within some seconds, or as far apart as the registry asks for (up to
/// 30 s); what cannot ([`RegistryError::is_retryable`]) fails at once.
#[derive(Clone)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) host: String,
    pub(super) max_module_size: u64,
    pub(super) access: watch::Sender<Arc<Access>>,
    pub(super) refusal: watch::Sender<Option<RegistryError>>,
    cache: Option<Cache>,
    timeout: Duration,
}

/// A WebAssembly module that a registry has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What was resolved.
    pub reference: Reference,
    /// The digest of the document that the reference names: a manifest, or an index that leads to one. A tag has moved
    /// when this has changed.
    pub manifest_digest: Digest,
    /// The digest of the module's bytes.
    pub digest: Digest,
    /// The size of the module in bytes; never 0.
    pub size: u64,
    /// The media type of the layer that the module is; `application/wasm` where it is a file in one.
    pub media_type: String,
    /// Where its bytes are.
    pub origin: Origin,
}

/// Where a module's bytes are: in a blob of its own, unless it is a file in a container image's layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(pub(super) Option<Arc<Packed>>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("host", &self.inner.host).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client with these options; nothing is sent yet.
    ///
    /// # Errors
    /// Where the host, the credentials or the certificates cannot be used.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        let host = canonical_host(&options.host).map_err(RegistryError::InvalidHost)?;
        let RegistryOptions { max_module_size, timeout, cache, .. } = options.clone();
        let access = watch::Sender::new(Arc::new(Access::new(options, &host)?));
        let inner = Inner { host, max_module_size, access, refusal: watch::Sender::new(None), cache, timeout };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The configured host, in lower case: the default host of references.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// Begins to read a module from its first byte, verified.
    ///
    /// With a cache all who read the same at the same time share one download. It begins here and fails, if it does,
    /// with the first read.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open(&self, module: &Module) -> Result<ModuleReader, RegistryError> {
        Ok(ModuleReader::new(self.open_at(module, 0).await?, &module.media_type))
    }

    /// Begins to read a module from `offset` on. What comes is as long as it should be, but not verified: compare it
    /// with what was read from a [`ModuleReader`] before, and [`distrust`](Self::distrust) the cache where it is
    /// something else.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn open_at(&self, module: &Module, offset: u64) -> Result<RangeReader, RegistryError> {
        let blob = Blob::from(module);
        if let Some(packed) = &module.origin.0 {
            let kept = self.kept_packed(&module.reference, module.digest, packed).await?;
            let reader = FileReader::new(Reading::Kept(kept), offset, blob.size);
            return Ok(RangeReader::of_unpacked(self.clone(), reader, blob));
        }
        if let Some(cache) = &self.inner.cache {
            let reader = FileReader::new(self.cached(cache, &blob).await?, offset, blob.size);
            return Ok(RangeReader::of_file(self.clone(), reader, blob));
        }
        let mut reader = BlobReader::new(self.clone(), blob.clone(), offset);
        reader.open().await?;
        Ok(RangeReader::of_registry(self.clone(), reader, blob))
    }

    /// Drops a module from the cache, because what was read of it is not what a verified reading left: whoever opens it
    /// next gets it from the registry. Whoever reads it now reads on what is there.
    pub async fn distrust(&self, module: &Module) {
        if self.inner.cache.is_some() {
            tracing::warn!(reference = %module.reference, "the cache's copy has changed on disk, and is removed");
            self.forget(module.digest).await;
        }
    }

    /// Gets a blob of any kind into the cache. `None` where it cannot be kept: there is no cache, no room, or the disk gives trouble.
    pub(super) async fn fetch(&self, blob: &Blob) -> Result<Option<Kept>, RegistryError> {
        let Some(cache) = &self.inner.cache else { return Ok(None) };
        match self.cached(cache, blob).await? {
            Reading::Kept(kept) => Ok(Some(kept)),
            Reading::Growing(follower) => follower.whole().await,
        }
    }

    /// Where modules are kept, if anywhere.
    pub(super) fn cache(&self) -> Option<&Cache> {
        self.inner.cache.as_ref()
    }

    pub(super) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    pub(super) async fn forget(&self, digest: Digest) {
        if let Some(cache) = &self.inner.cache {
            cache.forget(digest).await;
        }
    }

    async fn cached(&self, cache: &Cache, blob: &Blob) -> Result<Reading, RegistryError> {
        let wanted = Wanted { blob: blob.clone(), access: self.access().options.clone() };
        let reading = cache.read(&wanted, || BlobReader::new(self.clone(), blob.clone(), 0)).await;
        match &reading {
            // The digest has been verified: whoever says another size is wrong.
            Reading::Kept(kept) if kept.size != blob.size => Err(blob.wrong_size(kept.size)),
            _ => Ok(reading),
        }
    }
}
