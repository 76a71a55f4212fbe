//! What somebody changes who should not is put right at once.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use super::yard::{IMAGE, Yard, child, image, replicas};

async fn at_rest() -> (Yard, crate::controller::floor::Running) {
    let yard = Yard::start().await;
    let controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    (yard, controller)
}

#[tokio::test]
async fn what_is_deleted_is_made_anew() {
    let (yard, _controller) = at_rest().await;
    let account: ServiceAccount = yard.child("line").await;
    yard.delete::<ServiceAccount>("line").await;
    yard.until_child("line", |found: &ServiceAccount| found.uid() != account.uid()).await;
    let role: Role = yard.child("line").await;
    yard.delete::<Role>("line").await;
    yard.until_child("line", |found: &Role| found.uid() != role.uid()).await;
    let binding: RoleBinding = yard.child("line").await;
    yard.delete::<RoleBinding>("line").await;
    yard.until_child("line", |found: &RoleBinding| found.uid() != binding.uid()).await;
    let deployment: Deployment = yard.child("line").await;
    yard.delete::<Deployment>("line").await;
    yard.until_child("line", |found: &Deployment| found.uid() != deployment.uid()).await;
}

#[tokio::test]
async fn a_deployment_that_is_edited_is_put_right() {
    let (yard, _controller) = at_rest().await;
    let edited = json!({"spec": {"template": {"spec": {"containers": [{"name": "worker", "image": "other"}]}}}});
    yard.meddle::<Deployment>("line", edited).await;
    yard.until_child("line", |deployment: &Deployment| image(deployment) == IMAGE).await;
    yard.meddle::<Deployment>("line", json!({"spec": {"replicas": 3}})).await;
    yard.until_child("line", |deployment: &Deployment| replicas(deployment) == 1).await;
    yard.meddle::<Deployment>("line", json!({"spec": {"paused": true}})).await;
    let is_paused = |deployment: &Deployment| deployment.spec.as_ref().unwrap().paused == Some(true);
    yard.until_child("line", |deployment: &Deployment| !is_paused(deployment)).await;
    yard.meddle::<Deployment>("line", json!({"metadata": {"annotations": null}})).await;
    yard.until_child("line", |deployment: &Deployment| deployment.annotations().contains_key("wasmproxy.io/template"))
        .await;
}

#[tokio::test]
async fn what_no_change_can_mend_is_made_anew() {
    let (yard, _controller) = at_rest().await;
    let deployment: Deployment = yard.child("line").await;
    let rolling = json!({"spec": {"strategy": {"type": "RollingUpdate"}}});
    yard.meddle::<Deployment>("line", rolling).await;
    yard.until_child("line", |found: &Deployment| found.uid() != deployment.uid()).await;

    let mut binding: RoleBinding = yard.child("line").await;
    yard.api::<RoleBinding>().delete(&child("line"), &DeleteParams::default()).await.unwrap();
    yard.until_child("line", |found: &RoleBinding| found.uid() != binding.uid()).await;
    yard.delete::<RoleBinding>("line").await;
    binding.role_ref.name = "other".to_owned();
    binding.metadata = kube::api::ObjectMeta {
        name: binding.metadata.name,
        labels: binding.metadata.labels,
        owner_references: binding.metadata.owner_references,
        ..Default::default()
    };
    // The controller may have been faster; then there is nothing to mend.
    let _ = yard.api::<RoleBinding>().create(&PostParams::default(), &binding).await;
    yard.until_child("line", |found: &RoleBinding| found.role_ref.name == child("line")).await;
}

#[tokio::test]
async fn a_worker_gets_no_right_that_it_should_not_have() {
    let (yard, _controller) = at_rest().await;
    let everything = json!({"rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    yard.meddle::<Role>("line", everything).await;
    let is_right = |role: &Role| {
        let rules = role.rules.as_deref().unwrap_or_default();
        rules.len() == 2 && rules.iter().all(|rule| rule.resource_names == Some(vec!["line".to_owned()]))
    };
    yard.until_child("line", is_right).await;
    let somebody = json!({"subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": yard.namespace}]});
    yard.meddle::<RoleBinding>("line", somebody).await;
    let is_right = |binding: &RoleBinding| binding.subjects.as_ref().unwrap()[0].name == child("line");
    yard.until_child("line", is_right).await;
}

#[tokio::test]
async fn a_child_that_lost_its_labels_gets_them_back() {
    let (yard, _controller) = at_rest().await;
    yard.meddle::<Role>("line", json!({"metadata": {"labels": null}})).await;
    yard.until_child("line", |role: &Role| role.labels().contains_key("app.kubernetes.io/managed-by")).await;
}
