//! Workers that are to end.

use kube::runtime::wait::conditions::is_deleted;
use serde_json::json;

use super::{PODS, artifacts, floor};

#[tokio::test]
async fn a_worker_ends_in_time_though_its_broker_is_away() {
    let mut floor = floor().await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    let status = floor.until_ready("line").await;
    assert!(status.broker.is_some());
    let worker = floor.kubelet().running(PODS).await;
    floor.broker.stop();
    floor.until_ready_is("line", "False", "BrokerUnreachable").await;

    let uid = floor.get("line").await.metadata.uid.unwrap();
    floor.delete("line").await;
    floor.until_resource("line", is_deleted(&uid)).await;
    assert_eq!(worker.ended().await, 0, "it was not killed");
}

#[tokio::test]
async fn a_suspended_resource_has_no_pod_and_gets_another_one() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    let worker = floor.kubelet().running(PODS).await;

    let mut suspended = artifacts(&["wasm/add:1"]);
    suspended["suspend"] = json!(true);
    floor.apply("line", suspended).await;
    assert_eq!(worker.ended().await, 0);
    floor.until_ready_is("line", "False", "Suspended").await;

    floor.apply("line", artifacts(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    floor.kubelet().running_after(PODS, &[worker]).await;
    assert_eq!(listener.chunks().await, 3);
}
