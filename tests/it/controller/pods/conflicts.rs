//! Objects that have the name of a child and are somebody else's.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{ResourceExt as _, api::PostParams};
use serde::Serialize;
use serde_json::{Value, json};
use wasmproxy::api::conditions::ConditionType;

use super::yard::{Kind, Yard, child};
use crate::controller::floor::{message, ready, says};

/// Makes an object of a child's name, and sees that it stays as it is until it is deleted.
async fn a_stranger_is_left_alone<K: Kind + Serialize>(content: Value) {
    let yard = Yard::start().await;
    let mut stranger = json!({"metadata": {"name": child("line")}});
    stranger.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
    let stranger: K = serde_json::from_value(stranger).unwrap();
    let stranger = yard.api::<K>().create(&PostParams::default(), &stranger).await.unwrap();

    let _controller = yard.controller();
    yard.apply("line", json!({})).await;
    let status = yard.until("line", |status| ready(status) == Some(("False", "ChildConflict"))).await;
    assert_eq!(says(&status, ConditionType::Stalled), Some(("True", "ChildConflict")));
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("False", "ChildConflict")));
    let named = format!("{} line-wasmproxy in namespace {} is not this resource's", K::kind(&()), yard.namespace);
    assert!(message(&status).starts_with(&named), "{}", message(&status));
    let found: K = yard.child("line").await;
    assert_eq!((found.uid(), found.labels().len()), (stranger.uid(), 0));
    assert!(
        found.owner_references().is_empty() && found.managed_fields().iter().all(|f| !is_ours(f.manager.as_deref()))
    );

    yard.delete::<K>("line").await;
    yard.pod_is_ready("line").await;
    let status = yard.until_worker_is("line", "True", "Succeeded").await;
    assert_eq!(says(&status, ConditionType::Stalled), None);
}

fn is_ours(manager: Option<&str>) -> bool {
    manager.is_some_and(|manager| manager.starts_with("wasmproxy"))
}

#[tokio::test]
async fn a_service_account_of_somebody_elses() {
    a_stranger_is_left_alone::<ServiceAccount>(json!({})).await;
}

#[tokio::test]
async fn a_role_of_somebody_elses() {
    a_stranger_is_left_alone::<Role>(json!({"rules": []})).await;
}

#[tokio::test]
async fn a_role_binding_of_somebody_elses() {
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "line-wasmproxy"});
    a_stranger_is_left_alone::<RoleBinding>(json!({"roleRef": role})).await;
}

#[tokio::test]
async fn a_deployment_of_somebody_elses() {
    let labels = json!({"app": "pause"});
    let template =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "pause", "image": "pause"}]}});
    let spec = json!({"replicas": 0, "selector": {"matchLabels": labels}, "template": template});
    a_stranger_is_left_alone::<Deployment>(json!({"spec": spec})).await;
}
