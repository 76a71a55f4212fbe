//! Workers that a resource's owner runs.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::ServiceAccount,
    rbac::v1::{Role, RoleBinding},
};
use kube::{Client, api::PostParams};
use serde_json::{Value, json};
use wasmproxy::{
    api::conditions::{ConditionType, find},
    controller::WorkerMode,
};

use super::yard::{Yard, child, in_pods};
use crate::controller::floor::{Running, ready, says};

fn external() -> Value {
    json!({"worker": {"management": "External", "serviceAccountName": "gateway"}})
}

fn is_gateways(binding: &RoleBinding) -> bool {
    binding.subjects.as_ref().unwrap()[0].name == "gateway"
}

/// Starts a controller in either mode.
type Start = fn(Client, &str) -> Running;

async fn a_worker_of_ones_own_is_granted_its_resource_and_believed(start: Start) {
    let yard = Yard::start().await;
    let _controller = start(yard.client.clone(), &yard.namespace);
    yard.apply("line", external()).await;
    let status = yard.until_worker_is("line", "Unknown", "WorkerUnavailable").await;
    assert_eq!(ready(&status), Some(("Unknown", "Progressing")));
    let message = &find(&status.conditions, ConditionType::WorkerAvailable).unwrap().message;
    assert!(message.contains("wasmproxy worker --resource line"), "{message}");
    yard.until_child("line", is_gateways).await;
    yard.child::<Role>("line").await;
    assert!(yard.api::<Deployment>().get_opt(&child("line")).await.unwrap().is_none());
    assert!(yard.api::<ServiceAccount>().get_opt(&child("line")).await.unwrap().is_none());

    yard.report("line", 1).await;
    let status = yard.until("line", |status| ready(status) == Some(("True", "Succeeded"))).await;
    assert_eq!(says(&status, ConditionType::WorkerAvailable), Some(("True", "ExternalWorker")));

    yard.delete::<RoleBinding>("line").await;
    yard.until_child("line", is_gateways).await;
}

#[tokio::test]
async fn beside_workers_in_pods_it_is_granted_its_resource_and_believed() {
    let start: Start = |client, namespace| Running::start_in(client, namespace, in_pods("image", 1));
    a_worker_of_ones_own_is_granted_its_resource_and_believed(start).await;
}

#[tokio::test]
async fn beside_workers_in_the_process_it_is_granted_its_resource_and_believed() {
    let start: Start = |client, namespace| Running::start_in(client, namespace, WorkerMode::InProcess);
    a_worker_of_ones_own_is_granted_its_resource_and_believed(start).await;
}

#[tokio::test]
async fn what_was_managed_is_ended_before_somebody_else_is_believed() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.report("line", 1).await;
    yard.until("line", |status| ready(status) == Some(("True", "Succeeded"))).await;

    yard.apply("line", external()).await;
    yard.until_object(&child("line"), |found: Option<&Deployment>| found.is_none()).await;
    yard.until_object(&child("line"), |found: Option<&ServiceAccount>| found.is_none()).await;
    yard.until_child("line", is_gateways).await;
    let status = yard.until_worker_is("line", "Unknown", "WorkerUnavailable").await;
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
    yard.report("line", 2).await;
    yard.until_worker_is("line", "True", "ExternalWorker").await;

    yard.apply("line", json!({})).await;
    yard.pod_is_ready("line").await;
    let status = yard.until_worker_is("line", "True", "Succeeded").await;
    assert_eq!(says(&status, ConditionType::Ready), Some(("Unknown", "Progressing")), "this worker has not reported");
    yard.until_child("line", |binding: &RoleBinding| !is_gateways(binding)).await;
}

#[tokio::test]
async fn what_a_managed_worker_has_left_behind_is_no_report_of_somebody_elses() {
    let yard = Yard::start().await;
    let controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.report("line", 1).await;
    yard.until("line", |status| ready(status) == Some(("True", "Succeeded"))).await;
    controller.stop().await;
    // As where the worker was in the process of a controller.
    yard.delete::<ServiceAccount>("line").await;
    yard.delete::<Deployment>("line").await;
    yard.until_object(&child("line"), |found: Option<&Deployment>| found.is_none()).await;
    yard.apply("line", external()).await;

    let _controller = yard.controller();
    let status = yard.until_worker_is("line", "Unknown", "WorkerUnavailable").await;
    assert_eq!(says(&status, ConditionType::BrokerConnected), Some(("Unknown", "WorkerUnavailable")));
}

#[tokio::test]
async fn a_service_account_that_is_the_owners_stays() {
    let yard = Yard::start().await;
    let account = json!({"metadata": {"name": child("line")}});
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    yard.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
    let _controller = yard.controller();
    let worker = json!({"management": "External", "serviceAccountName": child("line")});
    yard.apply("line", json!({"worker": worker})).await;
    yard.until_worker_is("line", "Unknown", "WorkerUnavailable").await;
    yard.child::<ServiceAccount>("line").await;
}

#[tokio::test]
async fn another_service_account_takes_the_rights_of_the_one_before() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply("line", external()).await;
    yard.until_child("line", is_gateways).await;
    yard.apply("line", json!({"worker": {"management": "External", "serviceAccountName": "other"}})).await;
    let names = |binding: &RoleBinding| -> Vec<_> {
        binding.subjects.iter().flatten().map(|subject| subject.name.clone()).collect()
    };
    yard.until_child("line", |binding: &RoleBinding| names(binding) == ["other"]).await;
}
