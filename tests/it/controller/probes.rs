//! What the controller says of itself, and how it finds out that nobody talks to it any more.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde_json::json;
use wasmproxy::{
    api::crd,
    controller::{Health, Options},
    resource::api_server::with_timeouts,
};

use super::{
    floor::{CHUNK, Floor, Mode, Running},
    program::program,
    replicas::{client_through, config_through, kubeconfig_through, obstacle},
};
use crate::{
    lab::{ControlPlane, Direction, FaultProxy, free_port},
    modules::module,
    standalone::Process,
    waiting::soon,
};

/// A client that has to go that way, and has as much patience as with a watch that lasts a second.
async fn impatient(obstacle: &FaultProxy) -> Client {
    let patience = Some(Duration::from_secs(3));
    let mut config = with_timeouts(config_through(obstacle).await);
    (config.connect_timeout, config.read_timeout) = (patience, patience);
    Client::try_from(config).unwrap()
}

/// What a probe is answered: the code and the line.
async fn probe(port: u16, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn it_is_ready_once_it_knows_every_resource_and_alive_all_the_time() {
    let floor = Floor::start(Mode::InProcess).await;
    let obstacle = obstacle().await;
    obstacle.stall_all();
    let (_dir, path) = kubeconfig_through(&obstacle).await;
    let port = free_port();
    let mut command = program(&["--workers=in-process", "--http-host=127.0.0.1", "--namespace", &floor.namespace]);
    command.env("KUBECONFIG", path).env("WASMPROXY_HTTP_PORT", port.to_string());
    let process = Process::run(&mut command);
    process.line("controller starts").await;
    let unknown = format!("resources in namespace {} are not known yet\n", floor.namespace);
    assert_eq!(probe(port, "/readyz").await, (503, unknown));
    assert_eq!(probe(port, "/healthz").await.0, 200);

    obstacle.resume();
    process.line("controller is ready").await;
    assert_eq!(probe(port, "/readyz").await.0, 200);

    // What is known stays known.
    obstacle.refuse(true);
    obstacle.cut();
    process.line("resources in namespace").await;
    assert_eq!(probe(port, "/readyz").await.0, 200);
    assert_eq!(probe(port, "/healthz").await.0, 200);
}

#[tokio::test]
async fn an_outage_of_the_api_server_stops_no_loop() {
    let floor = Floor::start(Mode::InProcess).await;
    let obstacle = obstacle().await;
    let health = Health::with_limit(Duration::from_secs(4));
    let options = Options { watch: Duration::from_secs(1), ..floor.options() };
    let controller = Running::start_with(client_through(&obstacle).await, options, health.clone());
    soon("what is to be known", health.until_ready()).await;
    obstacle.refuse(true);
    obstacle.cut();
    let connections = obstacle.connections();
    // Each of them is an attempt that fails, and there is a longer time between each two.
    let attempts = async {
        for attempt in 0..4 {
            obstacle.more_than(connections + attempt).await;
            assert_eq!(health.alive(), Ok(()));
        }
    };
    soon("some attempts", attempts).await;
    controller.stop().await;
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_found_out() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let obstacle = obstacle().await;
    let options = Options { watch: Duration::from_secs(1), ..floor.options() };
    let controller = Running::start(impatient(&obstacle).await, options);
    soon("what is to be known", controller.health.until_ready()).await;
    obstacle.stall();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_list_that_is_never_answered_is_asked_for_anew() {
    let floor = Floor::start(Mode::InProcess).await;
    let obstacle = obstacle().await;
    let options = Options { watch: Duration::from_secs(1), ..floor.options() };
    let controller = Running::start(impatient(&obstacle).await, options);
    obstacle.until_sent(Direction::ToClient, 1).await;
    obstacle.stall();
    soon("what is to be known", controller.health.until_ready()).await;
}

#[tokio::test]
async fn without_the_definition_of_the_resource_it_says_how_to_apply_it_and_goes_on_once_it_is_there() {
    let control_plane = ControlPlane::start().await;
    let client = control_plane.client().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = "wasmproxies.wasmproxy.io";
    let uid = definitions.get(name).await.unwrap().metadata.uid.unwrap();
    definitions.delete(name, &DeleteParams::default()).await.unwrap();
    soon("the end of the definition", await_condition(definitions.clone(), name, is_deleted(&uid))).await.unwrap();

    let floor = Floor::start(Mode::InProcess).await;
    let controller = Running::start(client, Options { namespaces: vec![], ..floor.options() });
    let said = async {
        while !controller.health.ready().is_err_and(|why| why.contains("apply the output of `wasmproxy crd`")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("what to do", said).await;
    definitions.create(&PostParams::default(), &crd()).await.unwrap();
    soon("what is to be known", controller.health.until_ready()).await;
}
