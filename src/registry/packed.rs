//! A module that is a file in a container image's layer: fetched, unpacked, and kept under its own digest.
//!
//! ```text
//!   layer's blob ──► cache ──► find ──► write ──► cache: the module, under its digest
//!                                                 and a note: what is in this layer is that module
//! ```
//!
//! No registry has the module as a blob. What the note says is enough to resolve; where the cache has dropped the module by
//! the time that it is read, the layer is fetched and unpacked again.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    artifact::{Layer, PREAMBLE_LEN, Packed, Unsupported, may_be_wasm},
    blob::Blob,
    cache::{Cache, Kept, Note},
    client::Registry,
    error::RegistryError,
    layer::{self, Compression, Search, UnpackError, UnusableLayer},
    memory::is_mismatch,
    reference::Reference,
    retry::Retry,
};
use crate::digest::Digest;

/// The largest image configuration that is read, in bytes: as for manifests.
const MAX_CONFIG: usize = 4 * 1024 * 1024;

/// What may lie beside the module in a layer once it is unpacked, in bytes.
const MAX_BESIDE: u64 = 64 << 20;

impl Registry {
    /// Which module is in a layer: from the note, or by unpacking it.
    pub(super) async fn find_packed(&self, of: &Reference, packed: &Packed) -> Result<Note, RegistryError> {
        let cache = self.cache_for(of, packed)?;
        let known = || self.known_of(cache, of, packed);
        self.unpack_once(cache, of, packed, known, |(note, _)| Ok(note)).await
    }

    /// Unpacks a layer, unless `known` tells what is wanted of it. Whoever wants the same meanwhile waits for that.
    async fn unpack_once<T, F: Future<Output = Option<Result<T, RegistryError>>>>(
        &self,
        cache: &Cache,
        of: &Reference,
        packed: &Packed,
        known: impl Fn() -> F,
        wanted: impl FnOnce((Note, Kept)) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        // Before it is asked what is known: the layer stays for us.
        let place = cache.queue(name(packed));
        let found = async {
            if let Some(known) = known().await {
                return known;
            }
            let fetched = self.fetch_packed(of, packed).await?;
            let _turn = place.turn().await;
            match known().await {
                Some(known) => known,
                None => self.unpack(cache, of, packed, fetched).await.and_then(wanted),
            }
        }
        .await;
        // A layer has served its purpose and takes the room of modules, unless it has to be unpacked again or others are on
        // their way to it: whoever comes from now on finds what was found.
        if place.leave() && !found.as_ref().err().is_some_and(RegistryError::is_retryable) {
            self.forget(packed.layer.digest).await;
        }
        found
    }

    /// What unpacking needs. Whoever's registry is slow has no turn meanwhile: others may have the same layer sooner.
    async fn fetch_packed(&self, of: &Reference, packed: &Packed) -> Result<Fetched, RegistryError> {
        let fetching = async {
            let search = self.search(of, packed).await?;
            Ok(Fetched { search, layer: self.fetch(&blob(of, &packed.layer)).await? })
        };
        let fetched = fetching.await;
        if let Err(error) = &fetched
            && is_mismatch(error)
        {
            self.access().memory.refuse(of, name(packed), error.clone());
        }
        fetched
    }

    async fn known_of(&self, cache: &Cache, of: &Reference, packed: &Packed) -> Option<Result<Note, RegistryError>> {
        let name = name(packed);
        match self.access().memory.refused(of, name) {
            Some(error) => Some(Err(error)),
            None => cache.note(name).await.map(Ok),
        }
    }

    /// The file of a module that was found in a layer, which is unpacked again if the cache has dropped it.
    pub(super) async fn kept_packed(
        &self,
        of: &Reference,
        digest: Digest,
        packed: &Packed,
    ) -> Result<Kept, RegistryError> {
        let cache = self.cache_for(of, packed)?;
        let known = || async {
            match cache.get(digest).await {
                Some(kept) => Some(Ok(kept)),
                None => self.access().memory.refused(of, name(packed)).map(Err),
            }
        };
        let wanted = |(note, kept): (Note, Kept)| {
            let (expected, actual) = (digest, note.digest);
            let mismatch = || RegistryError::DigestMismatch { reference: of.clone(), expected, actual };
            (actual == expected).then_some(kept).ok_or_else(mismatch)
        };
        self.unpack_once(cache, of, packed, known, wanted).await
    }

    /// Whether a layer is no archive, whatever its media type says, but the module. Not verified.
    pub(super) async fn is_module(&self, of: &Reference, layer: &Layer) -> Result<bool, RegistryError> {
        if layer.size < PREAMBLE_LEN as u64 {
            return Ok(false);
        }
        let beginning = self.beginning(&blob(of, layer), PREAMBLE_LEN).await?;
        Ok(beginning.len() == PREAMBLE_LEN && may_be_wasm(&beginning))
    }

    /// Whether it is known which module is in a layer.
    pub(super) async fn is_noted(&self, packed: &Packed) -> bool {
        match self.cache() {
            Some(cache) => cache.note(name(packed)).await.is_some(),
            None => false,
        }
    }

    async fn unpack(
        &self,
        cache: &Cache,
        of: &Reference,
        packed: &Packed,
        Fetched { search, layer }: Fetched,
    ) -> Result<(Note, Kept), RegistryError> {
        let no_room =
            || RegistryError::NotUnpacked { reference: of.clone(), reason: "there is no room in the cache".to_owned() };
        let layer = layer.ok_or_else(no_room)?;

        let _processor = cache.processor().await;
        let (digest, layer) = (packed.layer.digest, Arc::new(layer));
        let (bytes, wanted) = (layer.clone(), search.clone());
        let found =
            run(move |stop| layer::checked(bytes.reader(), digest, stop, |bytes| layer::find(bytes, &wanted, stop)));
        let found = match found.await {
            Ok(found) => found,
            Err(error) => return Err(self.failed(of, packed, error).await),
        };
        let size = found.size;
        let partial = cache.partial(size).await.ok_or_else(no_room)?;
        let file = partial.file().clone();
        let written = run(move |stop| {
            layer::checked(layer.reader(), digest, stop, |bytes| {
                layer::write(bytes, &search, &found, &mut &*file, stop)
            })
        });
        let digest = match written.await {
            Ok(digest) => digest,
            Err(error) => {
                if let UnpackError::Write(error) = &error {
                    partial.trouble(error);
                }
                return Err(self.failed(of, packed, error).await);
            }
        };
        let note = Note { digest, size };
        let kept = partial.keep(digest, size).await;
        cache.put_note(name(packed), note).await;
        Ok((note, kept))
    }

    /// What to look for in a layer.
    async fn search(&self, of: &Reference, packed: &Packed) -> Result<Search, RegistryError> {
        if packed.layer.size == 0 {
            return Err(unusable(of, packed, UnusableLayer::Truncated));
        }
        let max_module_size = self.inner.max_module_size;
        let max_unpacked_size = max_module_size.saturating_add(MAX_BESIDE);
        if packed.layer.size > max_unpacked_size {
            return Err(unusable(of, packed, UnusableLayer::TooLong(max_unpacked_size)));
        }
        let entrypoint = match &packed.config {
            Some(config) => {
                let json = self.image_config(of, config).await?;
                layer::entrypoint(&json).map_err(|why| unsupported(of, why))?
            }
            None => None,
        };
        Ok(Search { compression: packed.compression, entrypoint, max_module_size, max_unpacked_size })
    }

    async fn image_config(&self, of: &Reference, config: &Layer) -> Result<Vec<u8>, RegistryError> {
        if config.size > MAX_CONFIG as u64 {
            return Err(unsupported(of, Unsupported::ImageConfig));
        }
        let mut retry = Retry::new();
        loop {
            match self.small_blob(&blob(of, config), MAX_CONFIG).await {
                Ok(json) => return Ok(json),
                Err(error) => retry.wait(of, error).await?,
            }
        }
    }

    fn cache_for(&self, of: &Reference, packed: &Packed) -> Result<&Cache, RegistryError> {
        self.cache().ok_or_else(|| unsupported(of, Unsupported::NoCache(packed.seen.clone())))
    }

    async fn failed(&self, of: &Reference, packed: &Packed, error: UnpackError) -> RegistryError {
        let reference = of.clone();
        let why = match error {
            UnpackError::Write(_) | UnpackError::Stopped => {
                return RegistryError::NotUnpacked { reference, reason: error.to_string() };
            }
            UnpackError::Changed | UnpackError::Read(_) => RegistryError::CacheChanged { reference },
            UnpackError::Unusable(why) => unusable(of, packed, why),
            UnpackError::TooLarge(size) => {
                RegistryError::TooLarge { reference, size, limit: self.inner.max_module_size }
            }
        };
        if why.is_retryable() {
            // Another copy may be better.
            self.forget(packed.layer.digest).await;
        } else {
            self.access().memory.refuse(of, name(packed), why.clone());
        }
        why
    }
}

/// A layer that can be unpacked.
struct Fetched {
    search: Search,
    /// None where it cannot be kept.
    layer: Option<Kept>,
}

/// Does something on a thread for what blocks; it stops soon when nobody waits for it any more.
async fn run<T: Send + 'static>(
    work: impl FnOnce(&CancellationToken) -> Result<T, UnpackError> + Send + 'static,
) -> Result<T, UnpackError> {
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    tokio::task::spawn_blocking(move || work(&stop)).await.unwrap_or(Err(UnpackError::Stopped))
}

/// What a note about a layer is kept under. The same layer may be part of images that run something else, or that say
/// otherwise how it is compressed.
fn name(packed: &Packed) -> Digest {
    let config = packed.config.as_ref().map(|config| config.digest.to_string());
    // Another number where other rules choose another module.
    let rules = match packed.compression {
        Compression::Gzip => "1",
        Compression::None => "1-plain",
    };
    Digest::of(format!("{rules} {} {}", packed.layer.digest, config.unwrap_or_default()).as_bytes())
}

fn blob(of: &Reference, layer: &Layer) -> Blob {
    Blob { reference: of.clone(), digest: layer.digest, size: layer.size }
}

fn unsupported(of: &Reference, why: Unsupported) -> RegistryError {
    RegistryError::UnsupportedArtifact { reference: of.clone(), why }
}

fn unusable(of: &Reference, packed: &Packed, why: UnusableLayer) -> RegistryError {
    unsupported(of, Unsupported::Layer { why, seen: packed.seen.clone() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_thread_ends_when_nobody_waits_for_it_any_more() {
        let (ended, end) = tokio::sync::oneshot::channel();
        let mut running = Box::pin(run::<()>(move |stop| {
            while !stop.is_cancelled() && !ended.is_closed() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = ended.send(stop.is_cancelled());
            Err(UnpackError::Stopped)
        }));
        assert!((&mut running).now_or_never().is_none());
        drop(running);
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), end).await, Ok(Ok(true)));
    }
}
