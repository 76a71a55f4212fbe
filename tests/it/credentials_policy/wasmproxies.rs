//! What is said when a `WasmProxy` is written.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::fence::{Fence, labelled, names, said};
use crate::lab::{Administrator, ControlPlane};

fn line(spec: Value) -> Value {
    json!({"metadata": {"name": "line"}, "spec": spec})
}

#[tokio::test]
async fn a_secret_without_the_label_cannot_be_named_and_the_command_that_is_given_mends_it() {
    let fence = Fence::closed().await;
    fence.secret("broker", json!({})).await.unwrap();
    let sentence = fence.until_refused(line(names("broker"))).await;
    let command = format!("kubectl label secret broker --namespace {} wasmproxy.io/credentials=true", fence.namespace);
    let expected = format!("Secret broker (spec.broker.secretRef) lacks the label that allows its use here: {command}");
    assert_eq!(sentence, expected);
    assert!(fence.apply(line(names("broker"))).await.is_err(), "kept although it is refused");

    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    Administrator::of(ControlPlane::shared().await).kubectl(&arguments).await;
    fence.until_accepted(line(names("broker"))).await;
    fence.apply(line(names("broker"))).await.unwrap();
}

#[tokio::test]
async fn each_field_that_names_a_secret_is_looked_at_and_all_that_name_it_are_said() {
    let fence = Fence::closed().await;
    fence.secret("plain", json!({})).await.unwrap();
    let reference = json!({"name": "plain"});
    for (field, spec) in [
        ("spec.broker.secretRef", json!({"broker": {"secretRef": reference}})),
        ("spec.broker.certSecretRef", json!({"broker": {"url": "mqtts://broker.example", "certSecretRef": reference}})),
        ("spec.registry.secretRef", json!({"registry": {"secretRef": reference}})),
        ("spec.registry.certSecretRef", json!({"registry": {"certSecretRef": reference}})),
    ] {
        let sentence = fence.until_refused(line(spec)).await;
        assert!(sentence.starts_with(&format!("Secret plain ({field}) lacks")), "{sentence}");
    }
    let both = json!({"broker": {"secretRef": reference}, "registry": {"secretRef": reference}});
    let sentence = fence.until_refused(line(both)).await;
    assert!(sentence.starts_with("Secret plain (spec.broker.secretRef, spec.registry.secretRef) lacks"), "{sentence}");
    // These go to nobody but the registry that they are for.
    fence.try_apply(line(json!({"worker": {"imagePullSecrets": [reference]}}))).await.unwrap();
}

#[tokio::test]
async fn any_other_value_of_the_label_is_none() {
    let fence = Fence::closed().await;
    fence.secret("no", json!({"metadata": {"labels": {"wasmproxy.io/credentials": "false"}}})).await.unwrap();
    fence.until_refused(line(names("no"))).await;
}

#[tokio::test]
async fn a_sidecars_resource_is_held_to_it_too() {
    let fence = Fence::closed().await;
    fence.secret("broker", json!({})).await.unwrap();
    let mut spec = names("broker");
    spec["worker"] = json!({"management": "External", "serviceAccountName": "gateway"});
    fence.until_refused(line(spec)).await;
}

/// As it is where the policy comes into a cluster that has been in use.
#[tokio::test]
async fn what_has_named_such_a_secret_before_is_reported_of_suspended_and_deleted_and_else_not_changed() {
    let fence = Fence::open().await;
    fence.secret("broker", json!({})).await.unwrap();
    fence.apply(line(names("broker"))).await.unwrap();
    fence.close().await;
    let elsewhere = json!({"spec": {"broker": {"url": "mqtt://elsewhere.example"}}});
    fence.until_refused(json!({"metadata": {"name": "other"}, "spec": names("broker")})).await;

    let status = json!({"status": {"progress": "1/2"}});
    fence.wasmproxies().patch_status("line", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let metadata = json!({"metadata": {
        "annotations": {"reconcile.wasmproxy.io/requestedAt": "now"}, "labels": {"line": "1"},
        "finalizers": ["example.com/wait"],
    }});
    fence.change("line", metadata).await.unwrap();
    said(&fence.change("line", elsewhere.clone()).await.unwrap_err());
    said(&fence.change("line", json!({"spec": {"pace": "1M"}})).await.unwrap_err());

    fence.change("line", json!({"spec": {"suspend": true}})).await.unwrap();
    fence.change("line", elsewhere).await.unwrap();
    said(&fence.change("line", json!({"spec": {"suspend": false}})).await.unwrap_err());

    fence.wasmproxies().delete("line", &Default::default()).await.unwrap();
    fence.change("line", json!({"metadata": {"finalizers": null}})).await.unwrap();
    assert!(fence.wasmproxies().get_opt("line").await.unwrap().is_none());
}

#[tokio::test]
async fn namespaces_that_it_is_not_for_are_left_alone() {
    let fence = Fence::closed().await;
    fence.secret("broker", json!({})).await.unwrap();
    let elsewhere =
        Fence { namespace: ControlPlane::shared().await.namespace("open").await, client: fence.client.clone() };
    elsewhere.secret("broker", json!({})).await.unwrap();
    fence.until_refused(line(names("broker"))).await;
    elsewhere.apply(line(names("broker"))).await.unwrap();
    elsewhere.apply(json!({"metadata": {"name": "later"}, "spec": names("later")})).await.unwrap();
    elsewhere.secret("later", json!({})).await.unwrap();
}

#[tokio::test]
async fn a_secret_of_that_name_in_another_namespace_does_not_count() {
    let fence = Fence::closed().await;
    let elsewhere =
        Fence { namespace: ControlPlane::shared().await.namespace("open").await, client: fence.client.clone() };
    elsewhere.secret("broker", json!({})).await.unwrap();
    fence.secret("other", json!({})).await.unwrap();
    fence.until_refused(line(names("other"))).await;
    fence.secret("broker", labelled()).await.unwrap();
    fence.apply(line(names("broker"))).await.unwrap();
}
