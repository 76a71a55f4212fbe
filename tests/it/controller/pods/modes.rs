//! Controllers that run their workers elsewhere than the one before.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ServiceAccount, rbac::v1::Role};
use kube::Api;
use serde_json::json;

use super::yard::{Yard, child, in_pods};
use crate::{
    controller::floor::{CHUNK, Floor, Running},
    modules::module,
};

#[tokio::test]
async fn a_worker_in_a_pod_has_ended_before_one_in_the_process_starts_and_the_other_way_round() {
    let floor = Floor::start().await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let yard = Yard { client: floor.client.clone(), namespace: floor.namespace.clone() };
    let controller = Running::start(floor.client.clone(), &floor.namespace, in_pods(super::yard::IMAGE, 1));
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
    controller.stop().await;

    let controller = floor.controller();
    floor.until_ready("line").await;
    let deployments: Api<Deployment> = yard.api();
    assert!(deployments.get_opt(&child("line")).await.unwrap().is_none());
    assert!(yard.api::<ServiceAccount>().get_opt(&child("line")).await.unwrap().is_none());
    assert!(yard.api::<Role>().get_opt(&child("line")).await.unwrap().is_none());
    controller.stop().await;

    let _controller = Running::start(floor.client.clone(), &floor.namespace, in_pods(super::yard::IMAGE, 1));
    yard.pod_is_ready("line").await;
    yard.until_worker_is("line", "True", "Succeeded").await;
}
