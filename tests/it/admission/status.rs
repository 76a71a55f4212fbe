//! `status`.

use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use wasmproxy::api::{Phase, ProtocolVersion, WasmProxy};

use super::client;
use super::{least, merge};

/// A status that says everything.
fn full() -> Value {
    let condition = |about: &str| {
        json!({
            "type": about, "status": "False", "reason": "BrokerUnreachable", "message": "it does not answer",
            "observedGeneration": 1, "lastTransitionTime": "2026-01-02T03:04:05Z",
        })
    };
    json!({
        "observedGeneration": 1,
        "conditions": [condition("Ready"), condition("BrokerConnected")],
        "progress": "6/13",
        "published": "0/1",
        "receipts": 2,
        "artifacts": [{
            "reference": "registry.example/wasm/add:1.2",
            "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "size": 6_400_000,
            "phase": "Streaming",
            "chunks": {"total": 13, "published": 6},
            "receipts": 2,
            "target": "5d41402abc4b2a76",
            "source": "Declared",
            "startedAt": "2026-01-02T03:04:05Z",
            "completedAt": "2026-01-02T03:04:06Z",
            "message": "the broker does not answer",
        }],
        "transfers": {"completed": 41, "failed": 0, "chunks": 533, "bytes": 272_891_904},
        "broker": {"protocol": "MQTT5", "connectedSince": "2026-01-02T03:04:05Z"},
        "lastHandledReconcileAt": "now",
    })
}

/// A resource of this test's own.
async fn created(api: &Api<WasmProxy>) -> String {
    let mut resource = least();
    merge(&mut resource, json!({"metadata": {"name": null, "generateName": "status-"}}));
    api.create(&PostParams::default(), &serde_json::from_value(resource).unwrap()).await.unwrap().name_any()
}

#[tokio::test]
async fn a_resource_that_nobody_has_looked_at_is_at_generation_minus_one() {
    let api: Api<WasmProxy> = Api::default_namespaced(client().await);
    let name = created(&api).await;
    let read = api.get_status(&name).await.unwrap();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(read.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn an_observed_generation_that_is_taken_back_is_minus_one_again() {
    let api: Api<WasmProxy> = Api::default_namespaced(client().await);
    let name = created(&api).await;
    for generation in [json!(1), json!(null)] {
        let patch = Patch::Merge(json!({"status": {"observedGeneration": generation, "progress": "0/0"}}));
        api.patch_status(&name, &PatchParams::default(), &patch).await.unwrap();
    }
    let read = api.get_status(&name).await.unwrap();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(read.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn a_full_status_is_kept_to_the_letter() {
    let api: Api<WasmProxy> = Api::default_namespaced(client().await);
    let name = created(&api).await;
    let read =
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": full()}))).await.unwrap();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    let status = read.status.unwrap();
    assert_eq!(serde_json::to_value(&status).unwrap(), full());
    assert_eq!(status.artifacts[0].phase, Phase::Streaming);
    assert_eq!(status.broker.unwrap().protocol, ProtocolVersion::Mqtt5);
}
