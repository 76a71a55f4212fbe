//! Connections that break and blobs that rot.

use std::{fs, io::Write, time::Duration};

use wasmproxy::{
    digest::Digest,
    registry::{Registry, RegistryError, RegistryOptions},
};

use super::{module, options, pull, read, registry, resolve, resolved};
use crate::lab::{self, Direction, FaultProxy, RegistryConfig, Transport};

const SIZE: usize = 4 << 20;

#[tokio::test]
async fn a_broken_transfer_goes_on_from_the_byte_reached() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    // Within the head of an answer, within the blob, and after a few of its bytes.
    let proxy = FaultProxy::start(&server.host(), [1_000_000, 100, 1_000_000, 700]).await;
    assert!(pull(&registry(&proxy.host), "add:1").await.unwrap() == bytes);

    let offsets: Vec<usize> =
        proxy.lines("range: bytes=").iter().map(|range| range.strip_suffix('-').unwrap().parse().unwrap()).collect();
    assert_eq!(offsets.len(), 4, "one attempt a cut");
    assert!(offsets[0] > 900_000 && offsets[0] == offsets[1], "{offsets:?}");
    assert!(offsets.is_sorted() && offsets[3] < SIZE, "{offsets:?}");
}

#[tokio::test]
async fn a_registry_that_stays_away_is_given_up_until_it_is_asked_again() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    let proxy = FaultProxy::start(&server.host(), [1_000_000, 0, 0, 0, 0, 0]).await;
    let registry = registry(&proxy.host);
    let resolved = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&resolved).await.unwrap();

    let (mut came, result) = read(&mut reader).await;
    let error = result.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable { .. }) && error.is_retryable(), "{error}");
    assert_eq!(proxy.connections(), 6);
    let (rest, result) = read(&mut reader).await;
    result.unwrap();
    came.extend(rest);
    assert!(came == bytes);
}

#[tokio::test]
async fn a_module_that_is_not_what_its_digest_says_is_never_complete() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    let mut rotten = bytes.clone();
    rotten[SIZE / 2] ^= 1;
    fs::write(server.blob(Digest::of(&bytes)), &rotten).unwrap();

    let registry = registry(&server.host());
    let resolved = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&resolved).await.unwrap();
    let (came, result) = read(&mut reader).await;
    assert!(came.len() < SIZE, "the last bytes are held back");
    let is_mismatch = |result: &Result<_, RegistryError>| match result {
        Err(RegistryError::DigestMismatch { expected, actual, .. }) => {
            (*expected, *actual) == (Digest::of(&bytes), Digest::of(&rotten))
        }
        _ => false,
    };
    assert!(is_mismatch(&result));
    assert!(is_mismatch(&reader.next().await.map(|_| ())), "and again");
}

#[tokio::test]
async fn a_byte_that_changed_on_its_way_is_found_out_before_the_last_bytes_go_out() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    let whole = FaultProxy::to(&server.host()).await;
    let open = async |proxy: &FaultProxy| registry(&proxy.host).open(&resolved(&proxy.host, &bytes)).await.unwrap();
    read(&mut open(&whole).await).await.1.unwrap();
    let end = whole.sent(Direction::ToClient);
    let first = end - SIZE as u64;
    for (at, resumes) in [(first + 8, None), (end - 1, None), (end / 2, None), (end / 2, Some(()))] {
        let proxy = FaultProxy::to(&server.host()).await;
        proxy.corrupt(Direction::ToClient, [at]);
        // Also where the rotten part came over another connection than the last.
        proxy.cut_after(Direction::ToClient, resumes.map(|_| at + 1));
        let (came, result) = read(&mut open(&proxy).await).await;
        assert!(matches!(result, Err(RegistryError::DigestMismatch { .. })), "{at}: {result:?}");
        assert!(came.len() < SIZE, "{at}");
    }
    // What does not even begin as a module does is not read any further.
    let proxy = FaultProxy::to(&server.host()).await;
    proxy.corrupt(Direction::ToClient, [first + 1]);
    let (came, result) = read(&mut open(&proxy).await).await;
    assert!(matches!(result, Err(RegistryError::UnsupportedArtifact { .. })) && came.is_empty(), "{result:?}");
}

#[tokio::test]
async fn a_blob_of_another_size_is_refused() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    let blob = server.blob(Digest::of(&bytes));
    let registry = registry(&server.host());
    let resolved = resolve(&registry, "add:1").await.unwrap();
    let size = async || match registry.open(&resolved).await.err() {
        Some(RegistryError::SizeMismatch { expected, actual, .. }) => (expected, actual),
        other => panic!("{other:?}"),
    };
    fs::OpenOptions::new().append(true).open(&blob).unwrap().write_all(b"more").unwrap();
    assert_eq!(size().await, (resolved.size, resolved.size + 4));
    fs::OpenOptions::new().write(true).open(&blob).unwrap().set_len(1000).unwrap();
    assert_eq!(size().await, (resolved.size, 1000));
}

#[tokio::test]
async fn a_byte_that_changed_within_tls_breaks_a_transfer_that_goes_on() {
    let mut server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    server.start_again_as(RegistryConfig::default().transport(Transport::Tls)).await;
    let proxy = FaultProxy::to(&server.host()).await;
    // So slow that we wait for it, and hear what TLS says.
    proxy.delay(Duration::from_millis(1));
    proxy.corrupt(Direction::ToClient, [SIZE as u64 / 2]);
    let options = RegistryOptions { tls: server.tls(), plain_http: false, ..options(&proxy.host) };
    assert!(pull(&Registry::new(options).unwrap(), "add:1").await.unwrap() == bytes);
    assert_eq!(proxy.connections(), 2, "resumed once");
}
