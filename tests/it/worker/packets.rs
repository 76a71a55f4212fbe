//! A broker that takes no packet as large as a chunk.

use serde_json::json;
use wasmproxy::protocol::ErrorCode;

use super::channel::{CHUNK, Channel, assembled, until, until_listening};
use crate::{lab::BrokerConfig, modules::module};

#[tokio::test]
async fn chunks_are_as_large_as_a_broker_of_version_5_takes() {
    let channel = Channel::start_with(BrokerConfig::default().line("max_packet_size 1500")).await;
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let bytes = module(20 * CHUNK);
    let digest = channel.registry.push("wasm/add:1", bytes.clone()).await;
    for format in ["json", "raw"] {
        listener.ask(&json!({"app_name": "wasm/add:1", "format": format}).to_string()).await;
        let (chunks, complete) = listener.hear_a_pass().await;
        assert_eq!(assembled(&chunks), bytes);
        assert!(complete.chunk_size < 1000 && complete.chunk_size > 700, "{}", complete.chunk_size);
    }
    // Who began with larger ones begins anew.
    let ask =
        json!({"app_name": "wasm/add:1", "device": "d", "digest": digest, "chunk_size": CHUNK, "chunks": [[0, 0]]});
    listener.ask(&ask.to_string()).await;
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::Changed);
}

#[tokio::test]
async fn a_broker_that_takes_nothing_is_said_to() {
    let mut channel = Channel::start_with(BrokerConfig::default().line("max_packet_size 600")).await;
    channel.declare("wasm/add:1");
    channel.registry.push("wasm/add:1", module(CHUNK)).await;
    let worker = channel.worker();
    let reference = channel.reference("wasm/add:1");
    let failed = until(&worker, &reference, |artifact| artifact.failure.is_some()).await;
    let message = failed.failure.unwrap().message;
    assert!(message.contains("packets of at most 600 bytes"), "{message}");
}
