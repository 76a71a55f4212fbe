//! Upgrades of the controller, which replace every worker's Pod.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::ServiceAccount};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use wasmproxy::api::WasmProxy;

use super::yard::{IMAGE, Yard, image, is_ready};
use crate::{controller::floor::ready, waiting::soon};

const NEXT: &str = "registry.example/wasmproxy:2";

/// Resources whose workers are ready.
async fn yard_of(names: &[&str]) -> Yard {
    let yard = Yard::start().await;
    let controller = yard.controller();
    for name in names {
        yard.apply(name, json!({})).await;
    }
    for name in names {
        yard.pod_is_ready(name).await;
        yard.until_worker_is(name, "True", "Succeeded").await;
    }
    controller.stop().await;
    yard
}

/// The resources whose workers are to have this image.
async fn with_image(yard: &Yard, wanted: &str) -> BTreeSet<String> {
    let deployments = yard.api::<Deployment>().list(&ListParams::default()).await.unwrap();
    let with_image = deployments.items.iter().filter(|deployment| image(deployment) == wanted);
    with_image.map(|deployment| deployment.labels()["app.kubernetes.io/instance"].clone()).collect()
}

/// Waits until so many workers are to have the next image, and says whose these are.
async fn rolled(yard: &Yard, count: usize) -> BTreeSet<String> {
    let rolled = async {
        loop {
            let rolled = with_image(yard, NEXT).await;
            if rolled.len() >= count {
                return rolled;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("workers to be rolled", rolled).await
}

/// Says that the worker has something to send.
async fn is_streaming(yard: &Yard, name: &str) {
    let artifact = json!({"reference": "registry.example/a:1", "phase": "Streaming", "source": "Declared"});
    let status =
        json!({"apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "status": {"artifacts": [artifact]}});
    let parameters = PatchParams::apply("wasmproxy-worker").force();
    yard.api::<WasmProxy>().patch_status(name, &parameters, &Patch::Apply(status)).await.unwrap();
}

#[tokio::test]
async fn workers_are_rolled_a_few_at_a_time_and_the_idle_ones_first() {
    let yard = yard_of(&["a", "b", "c", "d"]).await;
    is_streaming(&yard, "a").await;
    is_streaming(&yard, "b").await;
    let _controller = yard.controller_of(NEXT, 2);
    let mut done = BTreeSet::new();
    for expected in [["c", "d"], ["a", "b"]] {
        let rolled = rolled(&yard, done.len() + 2).await;
        let new: Vec<_> = rolled.difference(&done).cloned().collect();
        assert_eq!(new, expected);
        for name in new {
            yard.pod_of_image_is(&name, NEXT, is_ready()).await;
        }
        done = rolled;
    }
}

#[tokio::test]
async fn an_image_that_does_not_work_stops_at_a_few_workers_however_often_the_controller_restarts() {
    let yard = yard_of(&["a", "b", "c"]).await;
    let controller = yard.controller_of(NEXT, 1);
    let broken = rolled(&yard, 1).await;
    controller.stop().await;

    // Of its two slots the first is taken by the worker that is broken already.
    let _controller = yard.controller_of(NEXT, 2);
    let broken: BTreeSet<_> = rolled(&yard, 2).await.union(&broken).cloned().collect();
    // Whoever has got a slot at the same time has used it by the time that a new resource has its Deployment.
    yard.apply("new", json!({})).await;
    yard.until_child("new", |deployment: &Deployment| image(deployment) == NEXT).await;
    assert_eq!(with_image(&yard, IMAGE).await.len(), 1, "the third has kept its image");

    // One that is suspended holds nobody up.
    yard.apply(broken.first().unwrap(), json!({"suspend": true})).await;
    rolled(&yard, 4).await;
}

#[tokio::test]
async fn what_its_owner_asks_for_does_not_wait_for_its_turn() {
    let yard = yard_of(&["a", "b"]).await;
    let _controller = yard.controller_of(NEXT, 1);
    let broken = rolled(&yard, 1).await;
    let other = if broken.contains("a") { "b" } else { "a" };
    yard.apply(other, json!({"worker": {"podLabels": {"team": "floor"}}})).await;
    yard.until_child(other, |deployment: &Deployment| image(deployment) == NEXT).await;
}

#[tokio::test]
async fn one_that_cannot_take_its_turn_keeps_nobody_waiting() {
    let yard = yard_of(&["a", "b", "c"]).await;
    is_streaming(&yard, "c").await;
    let _controller = yard.controller_of(NEXT, 1);
    let first = rolled(&yard, 1).await;
    let (first, second) = if first.contains("a") { ("a", "b") } else { ("b", "a") };
    // Admission takes it, and no worker can be given it.
    let twice = json!([{"reference": "add"}, {"reference": "add:latest"}]);
    yard.apply(second, json!({"artifacts": twice})).await;
    yard.until(second, |status| ready(status) == Some(("False", "InvalidSpec"))).await;
    yard.pod_of_image_is(first, NEXT, is_ready()).await;
    assert_eq!(rolled(&yard, 2).await, BTreeSet::from([first.to_owned(), "c".to_owned()]));

    yard.pod_of_image_is("c", NEXT, is_ready()).await;
    yard.apply(second, json!({})).await;
    rolled(&yard, 3).await;
}

#[tokio::test]
async fn a_slot_is_free_again_when_its_holder_works_though_another_child_is_somebody_elses() {
    let yard = yard_of(&["a", "b"]).await;
    is_streaming(&yard, "b").await;
    let _controller = yard.controller_of(NEXT, 1);
    assert_eq!(rolled(&yard, 1).await, BTreeSet::from(["a".to_owned()]));
    yard.meddle::<ServiceAccount>("a", json!({"metadata": {"ownerReferences": null}})).await;
    yard.until("a", |status| ready(status) == Some(("False", "ChildConflict"))).await;
    yard.pod_of_image_is("a", NEXT, is_ready()).await;
    rolled(&yard, 2).await;
}
