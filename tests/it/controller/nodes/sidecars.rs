//! Workers that their owners run, beside programs of their own.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ServiceAccount};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use wasmproxy::api::conditions::ConditionType;

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

#[tokio::test]
async fn a_sidecar_does_the_work_and_is_missed_when_it_is_gone() {
    let mut floor = floor().await;
    let mut listener = floor.listen("line").await;
    let accounts: Api<ServiceAccount> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let account = serde_json::from_value(json!({"metadata": {"name": "gateway"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let _controller = floor.controller();
    let mut external = artifacts(&["wasm/add:1"]);
    external["worker"] = json!({"management": "External", "serviceAccountName": "gateway"});
    floor.apply("line", external).await;
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
