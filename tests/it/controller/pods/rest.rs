//! At rest nothing is written.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use wasmproxy::api::WasmProxy;

use super::yard::{IMAGE, Yard};
use crate::{controller::program::program, lab::ControlPlane, standalone::Process};

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

#[tokio::test]
async fn a_worker_that_is_refused_is_not_asked_after_since_it_reads_its_secrets_itself() {
    let yard = Yard::start().await;
    let mut program = program(&["--log-level=debug", "--workers=pods", "--worker-image", IMAGE]);
    program.args(["--namespace", &yard.namespace]).env("KUBECONFIG", ControlPlane::shared().await.kubeconfig());
    let controller = Process::run(&mut program);
    let broker = json!({"url": "mqtt://broker.example", "secretRef": {"name": "broker"}});
    yard.apply_ready("line", json!({"broker": broker})).await;
    let refused = json!({
        "type": "BrokerConnected", "status": "False", "reason": "BrokerUnauthorized", "message": "no",
        "observedGeneration": 1, "lastTransitionTime": "2026-11-01T10:00:00Z",
    });
    let status = json!({
        "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "status": {"conditions": [refused]},
    });
    let parameters = PatchParams::apply("wasmproxy-worker").force();
    yard.api::<WasmProxy>().patch_status("line", &parameters, &Patch::Apply(status)).await.unwrap();

    let is_said = |line: &Value| line["reason"] == "BrokerUnauthorized";
    let is_done = |line: &Value| line["message"] == "reconciled";
    let after = |lines: &[Value]| lines.iter().skip_while(|line| !is_said(line)).find(|line| is_done(line)).cloned();
    let lines = controller.lines_until(|lines| after(lines).is_some()).await;
    let action = after(&lines).unwrap()["action"].to_string();
    assert!(action.contains("300s"), "{action}");
}

/// The versions of everything that the controller writes.
async fn state(yard: &Yard) -> (Vec<Option<String>>, [([Option<String>; 3], Deployment); 2]) {
    let mut resources = Vec::new();
    for name in ["line", "off", "external"] {
        resources.push(yard.api::<WasmProxy>().get(name).await.unwrap().resource_version());
    }
    (resources, [yard.versions("line").await, yard.versions("off").await])
}
