//! Processes that are killed, and nodes without power.

use kube::api::{Patch, PatchParams};
use serde_json::json;
use wasmproxy::api::{Phase, RECONCILE_ANNOTATION};

use super::{PODS, artifacts, floor, ready};

#[tokio::test]
async fn a_worker_that_is_killed_comes_back_and_sends_nothing_again() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    let before = floor.until_ready("line").await;
    let killed = floor.kubelet().running(PODS).await;
    killed.signal("KILL");
    killed.ended().await;

    floor.kubelet().running_after(PODS, &[killed]).await;
    floor.apply("line", artifacts(&["wasm/add:1", "wasm/sub:1"])).await;
    let after = floor.until_ready("line").await;
    assert_eq!(after.artifacts[0], before.artifacts[0]);
    assert_eq!(after.transfers.unwrap().chunks, 3 + 2, "counters go on");
    assert_eq!(listener.chunks().await, 3 + 2);
}

#[tokio::test]
async fn a_worker_whose_node_had_no_power_does_what_was_wanted_meanwhile() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;

    floor.kubelet().cut_power().await;
    floor.apply("line", artifacts(&["wasm/sub:1", "wasm/add:1"])).await;
    assert_eq!(listener.chunks().await, 3);
    floor.kubelet().power_on();
    let status = floor.until_ready("line").await;
    assert_eq!(status.transfers.unwrap().chunks, 3 + 2);
    assert_eq!(listener.chunks().await, 2);
    assert_eq!(floor.kubelet().most_at_once(PODS), 1);
}

#[tokio::test]
async fn a_worker_is_started_only_once_the_one_before_has_ended() {
    let mut floor = floor().await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    let before = floor.kubelet().running(PODS).await;
    // It cannot end by itself any more, and the node gives it the whole of its grace period.
    before.signal("STOP");

    let mut resourceful = artifacts(&["wasm/add:1"]);
    resourceful["worker"] = serde_json::json!({"podLabels": {"team": "line"}});
    floor.apply("line", resourceful).await;
    let after = floor.kubelet().running_after(PODS, std::slice::from_ref(&before)).await;
    assert_eq!(before.ended().await, 128 + 9);
    after.line("starting").await;
    let status =
        floor.until("line", |status| status.observed_generation == Some(2) && ready(status).unwrap().0 == "True").await;
    assert_eq!(status.transfers.unwrap().chunks, 3);
    assert_eq!(floor.kubelet().most_at_once(PODS), 1);
}

#[tokio::test]
async fn a_request_that_a_killed_worker_has_half_done_is_done_by_the_next() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    let before = floor.until_ready("line").await;
    assert_eq!((listener.chunks().await, before.last_handled_reconcile_at), (3, None));

    // It begins, and the broker acknowledges nothing.
    let killed = floor.kubelet().running(PODS).await;
    floor.broker.server().signal("STOP");
    let request = json!({"metadata": {"annotations": {RECONCILE_ANNOTATION: "now"}}});
    floor.resources().patch("line", &PatchParams::default(), &Patch::Merge(request)).await.unwrap();
    floor.until("line", |status| status.artifacts[0].phase == Phase::Streaming).await;
    killed.signal("KILL");
    killed.ended().await;
    assert_eq!(floor.get("line").await.status.unwrap().last_handled_reconcile_at, None);
    floor.broker.server().signal("CONT");

    floor.kubelet().running_after(PODS, &[killed]).await;
    let status = floor.until("line", |status| status.last_handled_reconcile_at.as_deref() == Some("now")).await;
    assert_eq!(status.transfers.unwrap().chunks, 3 + 3, "only what was acknowledged counts");
    assert!(listener.chunks().await >= 3);
}
