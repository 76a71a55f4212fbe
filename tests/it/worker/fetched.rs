//! Our own device at the other end of a worker.

use std::path::Path;

use wasmproxy::{
    device::{self, FetchError, FetchOptions, Fetched},
    mqtt::VersionPreference,
    protocol::{ErrorCode, request::Wanted},
};

use super::channel::{CHUNK, Channel, until, until_listening};
use crate::modules::module;

pub fn options(channel: &Channel) -> FetchOptions {
    FetchOptions::new(channel.config.broker.url.clone(), channel.config.prefix.clone(), "press-4".parse().unwrap())
}

pub async fn fetch(name: &str, file: &Path, options: &FetchOptions) -> Result<Fetched, FetchError> {
    device::fetch(&name.parse().unwrap(), file, options, |_| ()).await
}

#[tokio::test]
async fn a_device_fetches_a_module_in_either_format_and_version_and_is_counted() {
    let channel = Channel::start().await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.wasm");
    let cases = [
        (Wanted::Json, VersionPreference::V5),
        (Wanted::Raw, VersionPreference::V5),
        (Wanted::Json, VersionPreference::V311),
        (Wanted::Raw, VersionPreference::V311),
    ];
    for (number, (format, version)) in cases.into_iter().enumerate() {
        let (name, bytes) = (format!("wasm/add:{number}"), module(CHUNK * 70 + number));
        channel.registry.push(&name, bytes.clone()).await;
        let fetched = fetch(&name, &file, &FetchOptions { format, version, ..options(&channel) }).await.unwrap();
        assert_eq!(fetched.receipt, Ok(()));
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
        until(&worker, &channel.reference(&name), |artifact| artifact.receipts == 1).await;
    }
}

#[tokio::test]
async fn a_device_may_pin_the_manifest_in_the_reference_and_the_module_beside_it() {
    let channel = Channel::start().await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("module.wasm");
    let bytes = module(CHUNK * 3);
    let digest = channel.registry.push("wasm/add:1", bytes.clone()).await;
    let pinned = format!("wasm/add@{}", channel.registry.manifest_digest("wasm/add:1").await);
    let options = FetchOptions { digest: Some(digest), ..options(&channel) };
    assert_eq!(fetch(&pinned, &file, &options).await.unwrap().whole.digest, digest);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}

#[tokio::test]
async fn a_device_that_asks_for_what_there_is_not_is_told_so() {
    let channel = Channel::start().await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let folder = tempfile::tempdir().unwrap();
    let outcome = fetch("wasm/nothing:1", &folder.path().join("module.wasm"), &options(&channel)).await;
    assert!(matches!(&outcome, Err(FetchError::Refused(notice)) if notice.code == ErrorCode::NotFound), "{outcome:?}");
}
