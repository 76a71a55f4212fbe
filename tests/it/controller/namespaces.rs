//! A controller of some namespaces.

use serde_json::json;
use wasmproxy::controller::{Options, WorkerMode, rights};

use super::{
    floor::{CHUNK, Floor, Mode, Running},
    program::{allow, allow_in, program, service_account},
    replicas::kubeconfig,
};
use crate::{lab::ControlPlane, modules::module, standalone::Process, waiting::soon};

/// Applies a resource of this name in another namespace than the floor's own.
async fn apply_in(floor: &mut Floor, namespace: &str, name: &str) {
    let own = std::mem::replace(&mut floor.namespace, namespace.to_owned());
    floor.apply(name, json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.namespace = own;
}

/// Waits until it is ready there.
async fn until_ready_in(floor: &mut Floor, namespace: &str, name: &str) {
    let own = std::mem::replace(&mut floor.namespace, namespace.to_owned());
    floor.until_ready(name).await;
    floor.namespace = own;
}

#[tokio::test]
async fn those_that_are_named_are_served_and_no_others() {
    let mut floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let control_plane = ControlPlane::shared().await;
    let (second, other) = (control_plane.namespace("second").await, control_plane.namespace("other").await);
    let own = floor.namespace.clone();
    apply_in(&mut floor, &other, "three").await;
    apply_in(&mut floor, &own, "one").await;

    let options = Options { namespaces: vec![own.clone(), second.clone()], ..floor.options() };
    let _controller = Running::start(floor.client.clone(), options);
    until_ready_in(&mut floor, &own, "one").await;
    apply_in(&mut floor, &second, "two").await;
    until_ready_in(&mut floor, &second, "two").await;
    floor.namespace = other;
    assert_eq!(floor.get("three").await.status.unwrap().observed_generation, Some(-1));
}

#[tokio::test]
async fn one_that_may_not_be_watched_is_named_with_what_is_missing_and_keeps_no_other_waiting() {
    let mut floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let rules = json!(rights::of_resources(&WorkerMode::InProcess));
    let (own, second) = (floor.namespace.clone(), ControlPlane::shared().await.namespace("second").await);
    allow(&floor, rules.clone()).await;
    let options = Options { namespaces: vec![own.clone(), second.clone()], ..floor.options() };
    let controller = Running::start(service_account(&own).await, options);
    apply_in(&mut floor, &own, "one").await;
    until_ready_in(&mut floor, &own, "one").await;
    let refusal = controller.health.ready().unwrap_err();
    let beginning = format!("resources in namespace {second} are not known: it is not allowed (");
    let end = format!(
        "): allow list, watch on wasmproxies.wasmproxy.io in namespace {second}, by a Role and a RoleBinding there"
    );
    assert!(refusal.starts_with(&beginning) && refusal.ends_with(&end), "{refusal}");
    assert!(!refusal.contains(&format!("namespace {own} ")), "{refusal}");

    allow_in(&floor, &second, rules).await;
    soon("all that is to be known", controller.health.until_ready()).await;
    apply_in(&mut floor, &second, "two").await;
    until_ready_in(&mut floor, &second, "two").await;
}

#[tokio::test]
async fn one_that_does_not_exist_is_named() {
    let (_dir, path) = kubeconfig(|_| {}).await;
    let mut command = program(&["--workers=in-process", "--namespace=never,default"]);
    let process = Process::run(command.env("KUBECONFIG", path));
    let said = process.line("namespace").await;
    assert_eq!(said["message"], "namespace never does not exist: what is in it is served once it does");
    process.line("controller is ready").await;
}
