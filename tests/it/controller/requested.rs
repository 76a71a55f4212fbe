//! Reconciliation on request, by annotation.

use futures::{StreamExt as _, TryStreamExt as _};
use kube::{
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use wasmproxy::api::{RECONCILE_ANNOTATION, WasmProxyStatus};

use super::floor::{CHUNK, Floor, Mode, ready};
use crate::modules::module;

in_both_modes!(
    a_request_streams_everything_again_once_and_the_resource_stays_ready,
    a_request_that_was_not_handled_is_by_the_next_controller,
    a_request_is_handled_where_nothing_is_declared,
);

async fn request(floor: &Floor, name: &str, value: &str) {
    let annotations = json!({"metadata": {"annotations": {RECONCILE_ANNOTATION: value}}});
    floor.resources().patch(name, &PatchParams::default(), &Patch::Merge(annotations)).await.unwrap();
}

fn is_handled(status: &WasmProxyStatus, value: &str) -> bool {
    status.last_handled_reconcile_at.as_deref() == Some(value)
}

async fn a_request_streams_everything_again_once_and_the_resource_stays_ready(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let controller = floor.controller();
    let artifacts = json!([{"reference": "wasm/add:1", "interval": "24h"}, {"reference": "wasm/sub:1"}]);
    floor.apply("line", json!({"artifacts": artifacts})).await;
    let before = floor.until_ready("line").await;
    assert_eq!((listener.chunks().await, before.last_handled_reconcile_at), (5, None));

    let config = watcher::Config::default().fields("metadata.name=line");
    let mut seen = watcher(floor.resources(), config).applied_objects().boxed();
    // The tag means something else by now, and nobody would look for a day.
    let moved = floor.registry.push("wasm/add:1", module(4 * CHUNK)).await.to_string();
    request(&floor, "line", "first").await;
    let after = loop {
        let status = seen.try_next().await.unwrap().unwrap().status.unwrap();
        assert_eq!(ready(&status).unwrap().0, "True", "{status:?}");
        if is_handled(&status, "first") {
            break status;
        }
    };
    assert_eq!(listener.chunks().await, 4 + 2);
    assert_eq!(after.artifacts[0].digest, Some(moved));
    assert_eq!(after.artifacts[1].completed_at, before.artifacts[1].completed_at);

    // Neither a restart nor another change repeats it.
    controller.stop().await;
    let _controller = floor.controller();
    floor.registry.push("wasm/mul:1", module(CHUNK)).await;
    let artifacts = json!([{"reference": "wasm/add:1"}, {"reference": "wasm/sub:1"}, {"reference": "wasm/mul:1"}]);
    floor.apply("line", json!({"artifacts": artifacts})).await;
    let status = floor.until_ready("line").await;
    assert_eq!((is_handled(&status, "first"), listener.chunks().await), (true, 1));
}

async fn a_request_that_was_not_handled_is_by_the_next_controller(mode: Mode) {
    let mut floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    floor.broker.stop();
    floor.until_ready_is("line", "False", "BrokerUnreachable").await;
    request(&floor, "line", "first").await;
    controller.stop().await;
    assert_eq!(floor.get("line").await.status.unwrap().last_handled_reconcile_at, None);
    floor.broker.start_again().await;
    let _controller = floor.controller();
    let status = floor.until("line", |status| is_handled(status, "first")).await;
    // A worker in a Pod is faster than anybody who would listen.
    assert_eq!(status.transfers.unwrap().chunks, 3 + 3);
}

async fn a_request_is_handled_where_nothing_is_declared(mode: Mode) {
    let floor = Floor::start(mode).await;
    let _controller = floor.controller();
    floor.apply("line", json!({})).await;
    floor.until_ready("line").await;
    request(&floor, "line", "first").await;
    floor.until("line", |status| is_handled(status, "first")).await;
}
