//! What is fetched once, and what is not lost when the disk is.

use std::{fs, os::unix::fs::FileExt as _, path::PathBuf};

use futures::future::join_all;
use tempfile::TempDir;
use wasmproxy::{
    digest::Digest,
    registry::{Cache, Registry, RegistryError, RegistryOptions},
};

use super::{module, options, pull, read, resolve};
use crate::lab::{self, FaultProxy};

const SIZE: usize = 4 << 20;

/// A real registry with a module, what stands before it, and a folder for the cache.
struct Place {
    server: lab::Registry,
    proxy: FaultProxy,
    dir: TempDir,
    bytes: Vec<u8>,
}

impl Place {
    async fn new(cuts: impl IntoIterator<Item = u64>) -> Self {
        let server = lab::Registry::start().await;
        let bytes = module(SIZE);
        server.push("add:1", bytes.clone()).await;
        let proxy = FaultProxy::start(&server.host(), cuts).await;
        Self { server, proxy, dir: tempfile::tempdir().unwrap(), bytes }
    }

    fn cache(&self) -> Cache {
        self.cache_of(1 << 30)
    }

    fn cache_of(&self, max_bytes: u64) -> Cache {
        Cache::open(self.dir.path(), max_bytes).unwrap()
    }

    fn registry(&self, cache: &Cache) -> Registry {
        Registry::new(RegistryOptions { cache: Some(cache.clone()), ..options(&self.proxy.host) }).unwrap()
    }

    /// Where the cache keeps the module.
    fn file(&self) -> PathBuf {
        self.dir.path().join("sha256").join(Digest::of(&self.bytes).hex())
    }

    /// How often a blob was asked for.
    fn blobs(&self) -> usize {
        self.proxy.lines("GET ").iter().filter(|line| line.contains("/blobs/")).count()
    }

    /// Changes a byte in the middle of what is kept.
    fn corrupt(&self) {
        let mut bytes = fs::read(self.file()).unwrap();
        bytes[SIZE / 2] ^= 1;
        fs::write(self.file(), bytes).unwrap();
    }
}

#[tokio::test]
async fn many_readers_of_many_channels_cost_the_registry_one_download() {
    let place = Place::new([]).await;
    let cache = place.cache();
    let channels = [place.registry(&cache), place.registry(&cache)];
    let pulls = join_all((0..16).map(|reader| pull(&channels[reader % 2], "add:1"))).await;
    assert!(pulls.into_iter().all(|came| came.unwrap() == place.bytes));
    assert_eq!(place.blobs(), 1);
    let one = resolve(&channels[0], "add:1").await.unwrap();
    let mut reader = channels[0].open_at(&one, 3_000_000).await.unwrap();
    let mut came = Vec::new();
    while let Some(read) = reader.next().await.unwrap() {
        came.extend_from_slice(&read);
    }
    assert!(came == place.bytes[3_000_000..]);
    assert_eq!(place.blobs(), 1);
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_for_all_its_readers() {
    let place = Place::new([1_000_000, 1_000_000]).await;
    let registry = place.registry(&place.cache());
    let one = resolve(&registry, "add:1").await.unwrap();
    let reads = (0..4).map(async |_| read(&mut registry.open(&one).await.unwrap()).await);
    for (came, result) in join_all(reads).await {
        result.unwrap();
        assert!(came == place.bytes);
    }
    let parts: Vec<usize> =
        place.proxy.lines("range: bytes=").iter().map(|part| part.trim_end_matches('-').parse().unwrap()).collect();
    assert!(parts.len() == 2 && parts.is_sorted() && parts[0] > 900_000, "{parts:?}");
}

#[tokio::test]
async fn what_was_fetched_is_not_fetched_after_a_restart() {
    let place = Place::new([]).await;
    for _ in 0..2 {
        assert!(pull(&place.registry(&place.cache()), "add:1").await.unwrap() == place.bytes);
    }
    assert_eq!(place.blobs(), 1);
}

#[tokio::test]
async fn a_copy_that_has_changed_while_nobody_ran_is_fetched_anew() {
    let place = Place::new([]).await;
    pull(&place.registry(&place.cache()), "add:1").await.unwrap();
    place.corrupt();
    assert!(pull(&place.registry(&place.cache()), "add:1").await.unwrap() == place.bytes);
    assert_eq!(place.blobs(), 2);
}

#[tokio::test]
async fn a_copy_that_changes_under_us_never_completes_and_is_fetched_anew() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    pull(&registry, "add:1").await.unwrap();
    place.corrupt();
    let one = resolve(&registry, "add:1").await.unwrap();
    let (came, result) = read(&mut registry.open(&one).await.unwrap()).await;
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::CacheChanged { .. }) && error.is_retryable(), "{error}");
    assert!(came.len() < SIZE);
    assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
    assert_eq!(place.blobs(), 2);
}

#[tokio::test]
async fn a_copy_that_is_cut_off_is_read_on_from_the_registry_and_fetched_anew() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    pull(&registry, "add:1").await.unwrap();
    let cut = || fs::OpenOptions::new().write(true).open(place.file()).unwrap().set_len(1_000_000).unwrap();
    cut();
    assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
    assert_eq!(place.blobs(), 2, "noticed when it was opened");

    let one = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&one).await.unwrap();
    let mut came = reader.next().await.unwrap().unwrap().to_vec();
    cut();
    let (rest, result) = read(&mut reader).await;
    result.unwrap();
    came.extend(rest);
    assert!(came == place.bytes && !place.file().exists());
    assert_eq!(place.proxy.lines("range: bytes=").len(), 1, "noticed when it was read");
}

#[tokio::test]
async fn a_manifest_that_says_another_size_than_the_module_has_is_refused() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    pull(&registry, "add:1").await.unwrap();
    let mut one = resolve(&registry, "add:1").await.unwrap();
    one.size -= 1;
    assert!(matches!(registry.open(&one).await.err(), Some(RegistryError::SizeMismatch { .. })));
}

#[tokio::test]
async fn what_is_not_trusted_any_more_is_fetched_anew() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    pull(&registry, "add:1").await.unwrap();
    registry.distrust(&resolve(&registry, "add:1").await.unwrap()).await;
    assert!(!place.file().exists());
    assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
    assert_eq!(place.blobs(), 2);
}

#[tokio::test]
async fn a_transfer_that_is_left_and_taken_up_again_is_one_download() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    let one = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&one).await.unwrap();
    reader.next().await.unwrap().unwrap();
    drop(reader);
    assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
    assert_eq!(place.blobs(), 1);
}

#[tokio::test]
async fn what_a_killed_process_left_half_written_is_never_served() {
    let place = Place::new([]).await;
    drop(place.cache());
    let left = place.dir.path().join("partial/blob-left");
    fs::write(&left, &place.bytes[..SIZE / 2]).unwrap();
    // As if it had got its name too early.
    fs::write(place.file(), &place.bytes[..SIZE / 2]).unwrap();
    assert!(pull(&place.registry(&place.cache()), "add:1").await.unwrap() == place.bytes);
    assert!(!left.exists());
    assert_eq!(fs::read(place.file()).unwrap().len(), SIZE);
}

#[tokio::test]
async fn within_a_small_bound_what_was_used_last_stays() {
    let place = Place::new([]).await;
    for (name, byte) in [("sub:1", 1), ("mul:1", 2)] {
        let mut bytes = place.bytes.clone();
        bytes[SIZE - 1] ^= byte;
        place.server.push(name, bytes).await;
    }
    let registry = place.registry(&place.cache_of(2 * SIZE as u64));
    for (name, blobs) in [("add:1", 1), ("sub:1", 2), ("add:1", 2), ("mul:1", 3), ("add:1", 3), ("sub:1", 4)] {
        pull(&registry, name).await.unwrap();
        assert_eq!(place.blobs(), blobs, "{name}");
    }
}

#[tokio::test]
async fn what_is_larger_than_the_cache_comes_from_the_registry() {
    let place = Place::new([1_000_000]).await;
    let registry = place.registry(&place.cache_of(SIZE as u64 - 1));
    for _ in 0..2 {
        assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
    }
    assert_eq!(place.blobs(), 3, "one of them resumed");
    assert!(!place.file().exists());
}

#[tokio::test]
async fn a_folder_that_vanishes_costs_no_delivery() {
    let place = Place::new([]).await;
    let cache = place.cache();
    pull(&place.registry(&cache), "add:1").await.unwrap();
    fs::remove_dir_all(place.dir.path()).unwrap();
    assert!(pull(&place.registry(&cache), "add:1").await.unwrap() == place.bytes);
}

#[tokio::test]
async fn what_the_registry_refuses_is_refused_to_all_readers() {
    let place = Place::new([]).await;
    fs::remove_file(place.server.blob(Digest::of(&place.bytes))).unwrap();
    let registry = place.registry(&place.cache());
    for refusal in join_all((0..4).map(|_| pull(&registry, "add:1"))).await {
        assert!(matches!(refusal, Err(RegistryError::NotFound { .. })), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_digest_says_is_not_kept() {
    let place = Place::new([]).await;
    place.server.corrupt(Digest::of(&place.bytes));
    let registry = place.registry(&place.cache());
    let error = pull(&registry, "add:1").await.unwrap_err();
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    assert!(!place.file().exists());
}

#[tokio::test]
async fn what_a_copy_spoilt_before_it_was_cut_off_is_not_blamed_on_the_registry() {
    let place = Place::new([]).await;
    let registry = place.registry(&place.cache());
    pull(&registry, "add:1").await.unwrap();
    let one = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&one).await.unwrap();
    let file = fs::OpenOptions::new().write(true).open(place.file()).unwrap();
    file.write_all_at(b"!", 100).unwrap();
    file.set_len(1_000_000).unwrap();
    let (_, result) = read(&mut reader).await;
    assert!(matches!(result, Err(RegistryError::CacheChanged { .. })), "{result:?}");
    assert!(pull(&registry, "add:1").await.unwrap() == place.bytes);
}
