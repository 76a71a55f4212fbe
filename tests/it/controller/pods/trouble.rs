//! Workers that do not come up, and what is said of it.

use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use wasmproxy::api::conditions::{ConditionType, find};

use super::yard::{Yard, container};
use crate::controller::floor::says;

/// What is said of a worker whose Pod is like this.
async fn said_of(status: Value, reason: &str) -> String {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply("line", json!({})).await;
    yard.pod_is("line", status).await;
    let status = yard.until_worker_is("line", "False", reason).await;
    assert_eq!(says(&status, ConditionType::Ready), Some(("False", reason)));
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
    let message = find(&status.conditions, ConditionType::WorkerAvailable).unwrap().message.clone();

    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
    message
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled() {
    let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"});
    let status = json!({"containerStatuses": [container(json!({"state": {"waiting": waiting}}))]});
    let said = said_of(status, "ImagePullFailed").await;
    assert!(said.starts_with("the worker's image registry.example/wasmproxy:1 cannot be pulled"), "{said}");
}

#[tokio::test]
async fn a_pod_that_no_node_takes() {
    let message = "0/1 nodes are available: 1 node(s) had untolerated taint {edge: }.";
    let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    let said = said_of(json!({"phase": "Pending", "conditions": [scheduled]}), "Unschedulable").await;
    assert_eq!(said, "no node takes the worker's Pod: node(s) had untolerated taint {edge: }");
}

#[tokio::test]
async fn a_worker_that_crashes() {
    let last = json!({"terminated": {"exitCode": 2, "reason": "Error", "message": "wasmproxy: no such option\n"}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}});
    let crashing = container(json!({"restartCount": 3, "state": waiting, "lastState": last}));
    let said = said_of(json!({"phase": "Running", "containerStatuses": [crashing]}), "WorkerCrashing").await;
    assert_eq!(said, "the worker ends with code 2: wasmproxy: no such option");
}

#[tokio::test]
async fn a_container_that_cannot_be_made() {
    let waiting = json!({"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"});
    let status = json!({"containerStatuses": [container(json!({"state": {"waiting": waiting}}))]});
    let said = said_of(status, "ContainerFailed").await;
    assert_eq!(said, "the worker cannot be started: container has runAsNonRoot and image will run as root");
}

#[tokio::test]
async fn a_quota_that_is_used_up() {
    let yard = Yard::start().await;
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    yard.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.unwrap();
    let is_known = |found: Option<&ResourceQuota>| {
        found.and_then(|quota| quota.status.as_ref()?.hard.as_ref()).is_some_and(|hard| hard.contains_key("pods"))
    };
    yard.until_object("none", is_known).await;

    let _controller = yard.controller();
    yard.apply("line", json!({})).await;
    let status = yard.until_worker_is("line", "False", "PodRefused").await;
    let message = &find(&status.conditions, ConditionType::WorkerAvailable).unwrap().message;
    assert!(message.starts_with("no Pod can be made for the worker: exceeded quota: none"), "{message}");

    yard.api::<ResourceQuota>().delete("none", &DeleteParams::default()).await.unwrap();
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
}
