//! Changes that replace Pods, and changes that do not.

use serde_json::json;
use wasmproxy::api::WasmProxyStatus;

use super::{CHUNK, PODS, artifacts, floor, message};
use crate::modules::module;

/// Chunks of what is under way that the broker has acknowledged.
fn chunks_out(status: &WasmProxyStatus) -> u64 {
    status.artifacts.first().and_then(|artifact| artifact.chunks).map_or(0, |chunks| chunks.published)
}

#[tokio::test]
async fn what_the_worker_reads_in_its_resource_needs_no_other_process() {
    let mut floor = floor().await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    floor.apply("line", artifacts(&["wasm/add:1", "wasm/sub:1"])).await;
    floor.until_ready("line").await;
    let mut larger = artifacts(&["wasm/add:1"]);
    larger["chunkSize"] = json!(2 * CHUNK);
    larger["channel"] = json!({"id": "other"});
    floor.apply("line", larger).await;
    floor.until_ready("line").await;
    assert_eq!(floor.kubelet().containers(PODS).len(), 1);
}

#[tokio::test]
async fn an_upgrade_while_a_worker_streams_loses_no_chunk() {
    let mut floor = floor().await;
    floor.registry.push("wasm/large:1", module(600 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let old = floor.controller_of("wasmproxy:1");
    // A chunk a second after the first five hundred: it streams until the upgrade is over.
    let mut slow = artifacts(&["wasm/large:1"]);
    slow["pace"] = json!("1k");
    floor.apply("line", slow).await;
    floor.until("line", |status| chunks_out(status) > 0).await;
    let before = floor.kubelet().running(PODS).await;

    old.stop().await;
    let _new = floor.controller_of("wasmproxy:2");
    assert_eq!(before.ended().await, 0);
    floor.apply("line", artifacts(&["wasm/large:1"])).await;
    let status = floor.until_ready("line").await;
    assert_eq!((status.progress.as_deref(), status.transfers.unwrap().failed), (Some("600/600"), 0));
    assert!(listener.chunks().await > 600, "the pass was broken off, and made anew");
    assert_eq!((floor.kubelet().containers(PODS).len(), floor.kubelet().most_at_once(PODS)), (2, 1));
}

#[tokio::test]
async fn an_image_that_is_not_there_is_said() {
    let mut floor = floor().await;
    let broken = floor.controller_of("missing/wasmproxy:1");
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    let says_so = |status: &WasmProxyStatus| {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        ready.is_some_and(|ready| ready.status == "False" && ready.message.contains("missing/wasmproxy:1"))
    };
    let status = floor.until("line", says_so).await;
    assert!(message(&status).contains("cannot be pulled"), "{}", message(&status));
    broken.stop().await;
    assert!(floor.kubelet().containers(PODS).is_empty());

    let _controller = floor.controller();
    floor.until_ready("line").await;
}
