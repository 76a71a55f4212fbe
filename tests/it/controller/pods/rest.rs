//! At rest nothing is written.

use kube::ResourceExt as _;
use serde_json::json;
use wasmproxy::api::WasmProxy;

use super::yard::Yard;

#[tokio::test]
async fn a_controller_that_starts_again_has_nothing_to_write() {
    let yard = Yard::start().await;
    let controller = yard.controller();
    // Written otherwise than the API server writes it.
    let resources = json!({"requests": {"cpu": "0.05", "memory": "0.25Gi"}, "limits": {"memory": "1e9"}});
    let worker = json!({
        "resources": resources,
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "nodeSelector": {},
        "podLabels": {"team": "floor"},
        "imagePullSecrets": [{"name": "images"}],
    });
    let secrets =
        json!({"url": "mqtts://broker.example", "secretRef": {"name": "broker"}, "certSecretRef": {"name": "tls"}});
    yard.apply_ready("line", json!({"worker": worker, "broker": secrets})).await;
    yard.report("line", 1).await;
    yard.until("line", |status| crate::controller::floor::ready(status) == Some(("True", "Succeeded"))).await;
    yard.apply("off", json!({"suspend": true})).await;
    yard.until_worker_is("off", "False", "Suspended").await;
    let external = json!({"management": "External", "serviceAccountName": "gateway"});
    yard.apply("external", json!({"worker": external})).await;
    yard.until_worker_is("external", "Unknown", "WorkerUnavailable").await;

    let before = state(&yard).await;
    controller.stop().await;
    let _controller = yard.controller();
    // Those that are there come before one that is new.
    yard.apply_ready("other", json!({})).await;
    assert_eq!(state(&yard).await, before);
}

/// The versions of everything that the controller writes.
async fn state(yard: &Yard) -> (Vec<Option<String>>, [Vec<Option<String>>; 2]) {
    let mut resources = Vec::new();
    for name in ["line", "off", "external"] {
        resources.push(yard.api::<WasmProxy>().get(name).await.unwrap().resource_version());
    }
    (resources, [yard.versions("line").await.to_vec(), yard.versions("off").await.to_vec()])
}
