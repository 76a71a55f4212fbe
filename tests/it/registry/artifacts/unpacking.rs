//! Images on their way through the cache.

use std::fs;

use futures::future::join_all;
use wasmproxy::{
    digest::Digest,
    registry::{Cache, Registry, RegistryError, RegistryOptions, Unsupported, UnusableLayer},
};

use super::super::{options, pull, read, refusal, resolve};
use super::layout::{TAR, tar};
use super::{Workshop, module};
use crate::lab::{Direction, FaultProxy};

const SIZE: usize = 1_000_000;

/// A registry with an image that holds a module, and what lies between it and its clients. Returns the digest of the layer.
async fn image() -> (Workshop, FaultProxy, Digest) {
    let workshop = Workshop::start().await;
    let layer = tar(&[("plugin.wasm", &module(SIZE))]);
    workshop.write("layer", &layer);
    workshop.push("image:1", None, &[&format!("layer:{TAR}")]).await;
    let proxy = FaultProxy::to(&workshop.server.host()).await;
    (workshop, proxy, Digest::of(&layer))
}

/// How often the whole layer was asked for: but for the look at its beginning.
fn downloads(proxy: &FaultProxy) -> usize {
    let looks = proxy.lines("range: bytes=0-7").len();
    proxy.lines("GET ").iter().filter(|line| line.contains("/blobs/")).count() - looks
}

#[tokio::test]
async fn whoever_asks_for_an_image_at_the_same_time_shares_the_work() {
    let (workshop, proxy, layer) = image().await;
    let registry = workshop.unpacking_from(&proxy.host);
    for pulled in join_all((0..20).map(|_| pull(&registry, "image:1"))).await {
        assert!(pulled.unwrap() == module(SIZE));
    }
    assert_eq!(downloads(&proxy), 1);
    assert!(!workshop.path("cache/sha256").join(layer.hex()).exists(), "nobody wants the layer any more");
}

#[tokio::test]
async fn after_a_restart_an_image_is_known_and_nothing_of_it_is_fetched() {
    let (workshop, proxy, layer) = image().await;
    let first = resolve(&workshop.unpacking_from(&proxy.host), "image:1").await.unwrap();
    assert!(!workshop.path("cache/sha256").join(layer.hex()).exists(), "the layer has served its purpose");
    let before = proxy.lines("GET ").len();

    let registry = workshop.unpacking_from(&proxy.host);
    let again = resolve(&registry, "image:1").await.unwrap();
    assert_eq!(again, first);
    let (came, result) = read(&mut registry.open(&again).await.unwrap()).await;
    result.unwrap();
    assert!(came == module(SIZE));
    assert_eq!(proxy.lines("GET ").len(), before + 1, "the manifest alone");
}

#[tokio::test]
async fn a_module_that_the_cache_has_dropped_is_unpacked_again() {
    let (workshop, proxy, _) = image().await;
    let registry = workshop.unpacking_from(&proxy.host);
    let resolved = resolve(&registry, "image:1").await.unwrap();
    let file = workshop.path("cache/sha256").join(resolved.digest.hex());
    for (times, spoil) in [
        (2, (|file| fs::remove_file(file).unwrap()) as fn(&std::path::PathBuf)),
        // Found out when a new process looks at it first.
        (3, |file| fs::write(file, b"rubbish").unwrap()),
    ] {
        spoil(&file);
        let registry = workshop.unpacking_from(&proxy.host);
        let (came, result) = read(&mut registry.open(&resolved).await.unwrap()).await;
        result.unwrap();
        assert!(came == module(SIZE));
        assert_eq!(downloads(&proxy), times);
    }
    let mut reader = registry.open_at(&resolved, SIZE as u64 - 5).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap(), module(SIZE)[SIZE - 5..]);
}

#[tokio::test]
async fn a_module_that_rots_while_it_is_read_is_found_out_and_unpacked_again() {
    let (workshop, proxy, _) = image().await;
    let registry = workshop.unpacking_from(&proxy.host);
    let resolved = resolve(&registry, "image:1").await.unwrap();
    let mut reader = registry.open(&resolved).await.unwrap();
    let file = workshop.path("cache/sha256").join(resolved.digest.hex());
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(SIZE as u64 / 2).unwrap();
    let (came, result) = read(&mut reader).await;
    assert!(matches!(result, Err(RegistryError::CacheChanged { .. })) && came.len() < SIZE, "{result:?}");
    assert!(pull(&registry, "image:1").await.unwrap() == module(SIZE));
    assert_eq!(downloads(&proxy), 2);
}

#[tokio::test]
async fn a_layer_that_breaks_off_is_fetched_on_and_one_that_is_another_is_refused() {
    let (workshop, proxy, layer) = image().await;
    let host = &proxy.host;
    proxy.cut_after(Direction::ToClient, [300_000, 500_000, 100]);
    assert!(pull(&workshop.unpacking_from(host), "image:1").await.unwrap() == module(SIZE));
    assert_eq!(proxy.connections(), 4);
    fs::remove_dir_all(workshop.path("cache")).unwrap();
    workshop.server.corrupt(layer);
    let error = refusal(&workshop.unpacking_from(host), "image:1").await;
    assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    assert_eq!(fs::read_dir(workshop.path("cache/layers")).unwrap().count(), 0, "nothing is noted of it");
}

#[tokio::test]
async fn an_image_that_is_of_no_use_is_fetched_once_and_takes_no_room() {
    let (workshop, proxy, _) = image().await;
    let layer = tar(&[("README", &[b'x'; SIZE])]);
    workshop.write("layer", &layer);
    workshop.push("image:1", None, &[&format!("layer:{TAR}")]).await;
    let registry = workshop.unpacking_from(&proxy.host);
    let refusals = join_all((0..5).map(|_| super::why(&registry, "image:1"))).await;
    assert!(refusals.iter().all(|why| matches!(why, Unsupported::Layer { why: UnusableLayer::NoModule, .. })));
    assert!(matches!(super::why(&registry, "image:1").await, Unsupported::Layer { .. }));
    assert_eq!(downloads(&proxy), 1);
    assert!(!workshop.path("cache/sha256").join(Digest::of(&layer).hex()).exists());
}

#[tokio::test]
async fn whoever_gives_up_does_not_keep_others_from_unpacking() {
    let (workshop, proxy, _) = image().await;
    let registry = workshop.unpacking_from(&proxy.host);
    proxy.throttle(100_000);
    {
        let resolving = std::pin::pin!(resolve(&registry, "image:1"));
        let underway = proxy.until_sent(Direction::ToClient, 50_000);
        futures::future::select(resolving, std::pin::pin!(underway)).await;
    }
    proxy.throttle(None);
    assert!(pull(&registry, "image:1").await.unwrap() == module(SIZE));
}

#[tokio::test]
async fn an_image_is_unpacked_within_limits() {
    let (workshop, proxy, _) = image().await;
    let client = |max_module_size, cache_size| {
        let cache = Some(Cache::open(workshop.path("other"), cache_size).unwrap());
        Registry::new(RegistryOptions { cache, max_module_size, ..options(&proxy.host) }).unwrap()
    };
    let error = refusal(&client(SIZE as u64 - 1, 1 << 30), "image:1").await;
    assert!(matches!(error, RegistryError::TooLarge { size: 1_000_000, limit: 999_999, .. }), "{error}");
    assert!(resolve(&client(SIZE as u64, 1 << 30), "image:1").await.is_ok());
    // What was found out under another limit is not forgotten, and refused.
    let error = refusal(&client(SIZE as u64 - 1, 1 << 30), "image:1").await;
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
    fs::remove_dir_all(workshop.path("other")).unwrap();
    let error = refusal(&client(SIZE as u64, 1000), "image:1").await;
    assert!(matches!(error, RegistryError::NotUnpacked { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_layer_that_unpacks_to_far_more_than_a_module_is_given_up() {
    let workshop = Workshop::start().await;
    let bomb = super::layout::gzip(&tar(&[("zeros", &vec![0; 70 << 20]), ("plugin.wasm", &module(9))]));
    assert!(bomb.len() < 1 << 20);
    workshop.write("layer", &bomb);
    workshop.push("bomb:1", None, &["layer:application/vnd.oci.image.layer.v1.tar+gzip"]).await;
    let cache = Some(Cache::open(workshop.path("cache"), 1 << 30).unwrap());
    let options = RegistryOptions { cache, max_module_size: 1 << 20, ..options(&workshop.server.host()) };
    match super::why(&Registry::new(options).unwrap(), "bomb:1").await {
        Unsupported::Layer { why, .. } => assert_eq!(why, UnusableLayer::TooLong((1 << 20) + (64 << 20))),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_layer_that_is_not_what_its_digest_says_is_not_fetched_again_at_once() {
    let (workshop, proxy, layer) = image().await;
    workshop.server.corrupt(layer);
    let registry = workshop.unpacking_from(&proxy.host);
    for _ in 0..3 {
        let error = refusal(&registry, "image:1").await;
        assert!(matches!(error, RegistryError::DigestMismatch { .. }), "{error}");
    }
    assert_eq!(downloads(&proxy), 1);
}

#[tokio::test]
async fn a_registry_that_trickles_keeps_nobody_from_the_same_layer_of_another() {
    let (workshop, slow, _) = image().await;
    let cache = Cache::open(workshop.path("cache"), 1 << 30).unwrap();
    let client = |host: &str| Registry::new(RegistryOptions { cache: Some(cache.clone()), ..options(host) }).unwrap();
    slow.throttle(50_000);
    let tenant = client(&slow.host);
    let resolving = std::pin::pin!(resolve(&tenant, "image:1"));
    let underway = slow.until_sent(Direction::ToClient, 30_000);
    let (resolving, ()) = match futures::future::select(resolving, std::pin::pin!(underway)).await {
        futures::future::Either::Right(((), resolving)) => (resolving, ()),
        futures::future::Either::Left(_) => panic!("it should be slow"),
    };
    let other = client(&workshop.server.host());
    let pulled = std::pin::pin!(pull(&other, "image:1"));
    match futures::future::select(resolving, pulled).await {
        futures::future::Either::Right((pulled, _)) => assert!(pulled.unwrap() == module(SIZE)),
        futures::future::Either::Left(_) => panic!("the other waited for it"),
    }
}

#[tokio::test]
async fn a_layer_under_a_media_type_that_is_put_right_is_looked_at_again() {
    let (workshop, proxy, _) = image().await;
    let registry = workshop.unpacking_from(&proxy.host);
    workshop.push("image:1", None, &[&format!("layer:{TAR}+gzip")]).await;
    assert!(matches!(super::why(&registry, "image:1").await, Unsupported::Layer { .. }));
    workshop.push("image:1", None, &[&format!("layer:{TAR}")]).await;
    assert!(pull(&registry, "image:1").await.unwrap() == module(SIZE));
}

#[tokio::test]
async fn an_empty_layer_is_refused_and_not_asked_for() {
    let (workshop, proxy, _) = image().await;
    workshop.write("layer", b"");
    workshop.push("image:1", None, &[&format!("layer:{TAR}")]).await;
    let why = super::why(&workshop.unpacking_from(&proxy.host), "image:1").await;
    assert!(matches!(why, Unsupported::Layer { why: UnusableLayer::Truncated, .. }), "{why}");
    assert!(!proxy.lines("GET ").iter().any(|line| line.contains("/blobs/")));
}
