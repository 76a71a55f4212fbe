//! A module that is a file in a container image.

use std::fs;

use wasmproxy::{digest::Digest, registry::Cache, worker::FailureReason};

use super::channel::{CHUNK, Channel, assembled, until, until_published};
use crate::modules::module;

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

fn image(module: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(module.len() as u64);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "plugin.wasm", module).unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn an_image_is_streamed_as_the_module_in_it_and_again_after_the_cache_has_dropped_it() {
    let mut channel = Channel::start().await;
    let dir = tempfile::tempdir().unwrap();
    channel.config.registry.cache = Some(Cache::open(dir.path(), 1 << 30).unwrap());
    let bytes = module(CHUNK * 5 + 1);
    channel.registry.push_layer("wasm/add:1", TAR, image(&bytes)).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    let (chunks, complete) = listener.hear_a_pass().await;
    assert_eq!((assembled(&chunks), complete.digest), (bytes.clone(), Digest::of(&bytes)));
    until_published(&worker, &channel.reference("wasm/add:1")).await;

    fs::remove_file(dir.path().join("sha256").join(complete.digest.hex())).unwrap();
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "late"}"#).await;
    let (chunks, complete) = listener.hear_a_pass().await;
    assert_eq!((assembled(&chunks), complete.digest), (bytes.clone(), Digest::of(&bytes)));
}

#[tokio::test]
async fn an_image_that_cannot_be_unpacked_is_unsupported_and_the_message_says_what_to_set() {
    let mut channel = Channel::start().await;
    channel.registry.push_layer("wasm/add:1", TAR, image(&module(CHUNK))).await;
    channel.declare("wasm/add:1");
    let worker = channel.worker();
    let artifact = until(&worker, &channel.reference("wasm/add:1"), |artifact| artifact.failure.is_some()).await;
    let failure = artifact.failure.unwrap();
    assert_eq!(failure.reason, FailureReason::UnsupportedArtifact);
    assert!(failure.message.contains("PROXY_CACHE_DIR"), "{}", failure.message);
}
