//! Workers that their owners run, beside programs of their own.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ServiceAccount};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use wasmproxy::api::{ArtifactStatus, Phase, WasmProxyStatus, conditions::ConditionType};

use super::{Floor, artifacts, floor, says};

/// Names of the owner's Pods begin like that.
const PODS: &str = "gateway-";

/// A Deployment of a program of its owner's, with a worker beside it.
fn gateway(replicas: usize) -> Value {
    let field = json!({"fieldRef": {"fieldPath": "metadata.namespace"}});
    let worker = json!({
        "name": "wasmproxy", "image": "wasmproxy", "restartPolicy": "Always", "args": ["worker", "--resource", "line"],
        "env": [{"name": "POD_NAMESPACE", "valueFrom": field}],
        "ports": [{"name": "http", "containerPort": 9191}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
    });
    let waiting = "trap 'exit 0' TERM; while :; do sleep 0.2 & wait; done";
    let program = json!({"name": "gateway", "image": "gateway", "command": ["sh", "-c", waiting]});
    let labels = json!({"app": "gateway"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gateway"},
        "spec": {
            "replicas": replicas, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": "gateway", "initContainers": [worker], "containers": [program],
            }},
        },
    })
}

async fn apply(floor: &Floor, replicas: usize) {
    let deployments: Api<Deployment> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let patch = Patch::Apply(gateway(replicas));
    deployments.patch("gateway", &PatchParams::apply("user").force(), &patch).await.unwrap();
}

/// Makes the service account that sidecars run as.
async fn service_account(floor: &Floor) {
    let accounts: Api<ServiceAccount> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "gateway"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
}

/// Declares these for a worker that somebody else runs.
fn external(references: &[&str]) -> Value {
    let mut external = artifacts(references);
    external["worker"] = json!({"management": "External", "serviceAccountName": "gateway"});
    external
}

/// Waits until an artifact is out that a device has asked for.
async fn until_answered(floor: &Floor, reference: &str) {
    let is_out =
        |artifact: &ArtifactStatus| artifact.reference.ends_with(reference) && artifact.phase == Phase::Published;
    floor.until("line", |status| status.artifacts.iter().any(is_out)).await;
}

#[tokio::test]
async fn a_sidecar_and_a_worker_of_the_controllers_go_on_with_each_others_session() {
    let mut floor = floor().await;
    let listener = floor.listen("line").await;
    service_account(&floor).await;
    let _controller = floor.controller();
    floor.apply("line", artifacts(&[])).await;
    floor.until_ready("line").await;
    let managed = floor.kubelet().running("line-wasmproxy-").await;
    floor.apply("line", external(&[])).await;
    assert_eq!(managed.ended().await, 0);
    listener.ask("wasm/add:1").await;
    apply(&floor, 1).await;
    until_answered(&floor, "wasm/add:1").await;
    floor.until_ready("line").await;

    // The sidecar goes on running, and does not mind whoever runs the worker now.
    floor.apply("line", artifacts(&[])).await;
    floor.until_ready("line").await;
    let workers = floor.broker.server().log().matches(" as wp").count();
    listener.ask("wasm/sub:1").await;
    until_answered(&floor, "wasm/sub:1").await;
    apply(&floor, 0).await;
    for worker in floor.kubelet().containers(PODS).into_iter().filter(|container| container.name() == "wasmproxy") {
        assert_eq!(worker.ended().await, 0);
    }
    assert_eq!((workers, floor.broker.server().log().matches(" as wp").count()), (3, 3), "one connection each");
}

#[tokio::test]
async fn a_sidecar_whose_channel_an_older_resource_has_lets_go_of_it() {
    let floor = floor().await;
    service_account(&floor).await;
    let _controller = floor.controller();
    // Of two that are made in the same second the first by name is the older.
    floor.apply("a", artifacts(&[])).await;
    floor.until_ready("a").await;
    floor.apply("line", external(&["wasm/add:1"])).await;
    apply(&floor, 1).await;
    floor.until_ready("line").await;

    let mut moved = artifacts(&[]);
    moved["channel"] = json!({"id": "line"});
    floor.apply("a", moved.clone()).await;
    let conflict = |status: &WasmProxyStatus| {
        says(status, ConditionType::Ready) == Some(("False", "ChannelConflict"))
            && says(status, ConditionType::WorkerAvailable) == Some(("False", "ChannelConflict"))
            && says(status, ConditionType::BrokerConnected) == Some(("Unknown", "WorkerUnavailable"))
    };
    floor.until("line", conflict).await;
    floor.until_ready("a").await;

    moved["suspend"] = json!(true);
    floor.apply("a", moved).await;
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_sidecar_does_the_work_and_is_missed_when_it_is_gone() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    service_account(&floor).await;
    let _controller = floor.controller();
    floor.apply("line", external(&["wasm/add:1"])).await;
    let nobody = |status: &_| says(status, ConditionType::WorkerAvailable) == Some(("Unknown", "WorkerUnavailable"));
    floor.until("line", nobody).await;

    apply(&floor, 1).await;
    let status = floor.until_ready("line").await;
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("True", "ExternalWorker")));
    assert_eq!(listener.chunks().await, 3);
    apply(&floor, 0).await;
    floor.until("line", nobody).await;
    for worker in floor.kubelet().containers(PODS).into_iter().filter(|container| container.name() == "wasmproxy") {
        assert_eq!(worker.ended().await, 0);
    }
    apply(&floor, 1).await;
    floor.until_ready("line").await;
    assert_eq!(listener.chunks().await, 0, "it remembers by the status");
}

#[tokio::test]
async fn a_sidecar_of_another_service_account_says_which_it_should_have() {
    let mut floor = floor().await;
    service_account(&floor).await;
    let _controller = floor.controller();
    let mut other = external(&["wasm/add:1"]);
    other["worker"]["serviceAccountName"] = json!("other");
    floor.apply("line", other).await;
    apply(&floor, 1).await;
    floor.kubelet().running(PODS).await;
    let containers = floor.kubelet().containers(PODS);
    let sidecar = containers.iter().find(|container| container.name() == "wasmproxy").unwrap();
    let said = sidecar.line("the resource cannot be watched").await;
    assert!(said.contains(":gateway"), "{said}");
    assert!(said.contains("spec.worker.serviceAccountName"), "{said}");

    floor.apply("line", external(&["wasm/add:1"])).await;
    floor.until_ready("line").await;
    assert!(sidecar.is_running());
}
