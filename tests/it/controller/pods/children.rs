//! What a resource's worker is made of, and when it is there.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PropagationPolicy},
};
use serde_json::json;
use wasmproxy::api::{WasmProxy, conditions::ConditionType};

use super::yard::{Yard, child, replicas};
use crate::controller::floor::{ready, says};

#[tokio::test]
async fn a_worker_is_available_once_its_pod_is_ready_and_ready_once_it_says_so() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    let resource = yard.apply("line", json!({})).await;

    let status = yard.until_worker_is("line", "Unknown", "Starting").await;
    assert_eq!(ready(&status), Some(("Unknown", "Progressing")));
    assert_eq!(says(&status, ConditionType::Reconciling), Some(("True", "Progressing")));
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));

    yard.pod_is_ready("line").await;
    let status = yard.until_worker_is("line", "True", "Succeeded").await;
    assert_eq!((ready(&status), status.observed_generation), (Some(("Unknown", "Progressing")), Some(1)));
    yard.report("line", 1).await;
    yard.until("line", |status| ready(status) == Some(("True", "Succeeded"))).await;

    let uid = resource.metadata.uid.unwrap();
    for metadata in [
        yard.child::<ServiceAccount>("line").await.metadata,
        yard.child::<Role>("line").await.metadata,
        yard.child::<RoleBinding>("line").await.metadata,
        yard.child::<Deployment>("line").await.metadata,
    ] {
        let owner = &metadata.owner_references.unwrap()[0];
        assert_eq!((&owner.uid, owner.controller), (&uid, Some(true)));
        assert_eq!(metadata.labels.unwrap()["app.kubernetes.io/instance"], "line");
    }
}

#[tokio::test]
async fn a_worker_that_goes_away_is_said_to_and_so_is_what_it_knew() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.report("line", 1).await;
    yard.until("line", |status| ready(status) == Some(("True", "Succeeded"))).await;

    let pod = yard.pod("line", super::yard::IMAGE).await;
    yard.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
    let status = yard.until_worker_is("line", "Unknown", "Starting").await;
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
}

#[tokio::test]
async fn pods_are_let_into_namespaces_with_restricted_pod_security() {
    let yard = Yard::start().await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(yard.client.clone());
    namespaces.patch(&yard.namespace, &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    let _controller = yard.controller();
    let broker = json!({"url": "mqtts://broker.example", "secretRef": {"name": "broker"}});
    yard.apply_ready("line", json!({"broker": broker})).await;
}

#[tokio::test]
async fn the_longest_name_and_one_with_dots_will_do() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    for name in ["n".repeat(52), format!("{}.eu.example", "n".repeat(41))] {
        assert_eq!(name.len(), 52);
        yard.apply_ready(&name, json!({})).await;
    }
}

#[tokio::test]
async fn only_what_changes_the_pod_replaces_it() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    let before = yard.versions("line").await;

    let artifacts = json!([{"reference": "wasm/add:1"}]);
    yard.apply("line", json!({"artifacts": artifacts, "broker": {"url": "mqtt://other.example"}})).await;
    yard.until("line", |status| status.observed_generation == Some(2)).await;
    assert_eq!(yard.versions("line").await, before);

    yard.apply("line", json!({"artifacts": artifacts, "worker": {"nodeSelector": {"floor": "1"}}})).await;
    let selects = |deployment: &Deployment| {
        let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.node_selector.as_ref().is_some_and(|selector| selector["floor"] == "1")
    };
    yard.until_child("line", selects).await;
    yard.until_worker_is("line", "Unknown", "Starting").await;
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;

    yard.apply("line", json!({"artifacts": artifacts})).await;
    yard.until_child("line", |deployment: &Deployment| !selects(deployment)).await;
}

#[tokio::test]
async fn a_suspended_resource_keeps_everything_but_its_pod() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.apply("line", json!({"suspend": true})).await;
    let status = yard.until_worker_is("line", "False", "Suspended").await;
    assert_eq!(ready(&status), Some(("False", "Suspended")));
    assert_eq!(replicas(&yard.child("line").await), 0);
    yard.until_child("line", |d: &Deployment| d.status.as_ref().unwrap().replicas.unwrap_or_default() == 0).await;

    yard.apply("line", json!({})).await;
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
}

#[tokio::test]
async fn a_deleted_resource_takes_its_children_with_it() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.api::<WasmProxy>().delete("line", &DeleteParams::default()).await.unwrap();
    let name = child("line");
    yard.until_object(&name, |found: Option<&ServiceAccount>| found.is_none()).await;
    yard.until_object(&name, |found: Option<&Role>| found.is_none()).await;
    yard.until_object(&name, |found: Option<&RoleBinding>| found.is_none()).await;
    yard.until_object(&name, |found: Option<&Deployment>| found.is_none()).await;
    let pods = yard.api::<Pod>().list(&ListParams::default().labels("wasmproxy.io/resource=line")).await.unwrap();
    for pod in pods.items {
        yard.until_object(&pod.name_any(), |found: Option<&Pod>| found.is_none()).await;
    }
}

#[tokio::test]
async fn a_resource_that_is_made_anew_waits_for_the_end_of_the_former_ones_children() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    let former: Deployment = yard.child("line").await;
    // As if the garbage collection took its time.
    yard.meddle::<Deployment>("line", json!({"metadata": {"finalizers": ["example.com/slow"]}})).await;
    let parameters =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
    yard.api::<WasmProxy>().delete("line", &parameters).await.unwrap();
    yard.until_object("line", |found: Option<&WasmProxy>| found.is_none()).await;
    yard.apply("line", json!({})).await;
    let waits = |message: &str| message == "Deployment line-wasmproxy is being deleted, and made anew once it is gone";
    let status = yard.until("line", |s| s.conditions.iter().any(|c| waits(&c.message))).await;
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("Unknown", "Starting")));
    assert_eq!(says(&status, ConditionType::Stalled), None);

    yard.meddle::<Deployment>("line", json!({"metadata": {"finalizers": null}})).await;
    yard.until_child("line", |deployment: &Deployment| deployment.uid() != former.uid()).await;
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
}

#[tokio::test]
async fn a_spec_that_no_worker_can_be_given_is_stalled_and_its_worker_goes_on() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    let before = yard.versions("line").await;
    let twice = json!([{"reference": "add"}, {"reference": "add:latest"}]);
    yard.apply("line", json!({"artifacts": twice})).await;
    let status = yard.until("line", |status| ready(status) == Some(("False", "InvalidSpec"))).await;
    assert_eq!(says(&status, ConditionType::Stalled), Some(("True", "InvalidSpec")));
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("True", "Succeeded")));

    // What the API server's admission of resources does not know, and that of Deployments does.
    yard.apply("line", json!({"worker": {"tolerations": [{"operator": "Exits"}]}})).await;
    let status =
        yard.until("line", |s| ready(s) == Some(("False", "InvalidSpec")) && s.observed_generation == Some(3)).await;
    let message = crate::controller::floor::message(&status);
    assert!(message.contains("tolerations[0].operator") && message.ends_with("correct spec.worker"), "{message}");
    assert_eq!(yard.versions("line").await, before);
}
