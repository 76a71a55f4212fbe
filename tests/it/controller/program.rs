//! `wasmproxy controller` as it is deployed: a process of its own, with the rights that it needs and no more.

use std::process::Stdio;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::process::Command;

use wasmproxy::api::{ArtifactStatus, Phase, Source};

use super::{
    events::until_told,
    floor::{CHUNK, Floor, Mode, message},
};
use crate::{lab::ControlPlane, modules::module, standalone::Process};

/// The program without probes and, unless the arguments say otherwise, without other replicas.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmproxy"));
    let fixed = ["controller", "--log-format=json"];
    command.args(fixed).args(arguments).stderr(Stdio::piped()).kill_on_drop(true);
    command.env("WASMPROXY_HTTP_PORT", "0").env("WASMPROXY_LEADER_ELECTION", "false");
    command
}

#[tokio::test]
async fn it_ends_on_sigterm_and_what_devices_ask_meanwhile_is_answered_by_the_next() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut program = program(&["--workers=in-process", "--namespace", &floor.namespace]);
    let program = Process::run(program.env("KUBECONFIG", ControlPlane::shared().await.kubeconfig()));
    program.line("controller is ready").await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    program.signal("TERM");
    program.line("controller has stopped").await;
    assert_eq!(program.end().await.code(), Some(0));

    floor.listen("line").await.ask("wasm/sub:1").await;
    let _controller = floor.controller();
    let status = floor.until("line", |status| status.artifacts.iter().any(is_answered)).await;
    assert_eq!(status.transfers.unwrap().chunks, 1 + 2);
}

/// Whether somebody asked for it, and it is out.
fn is_answered(artifact: &ArtifactStatus) -> bool {
    artifact.source == Source::Requested && artifact.phase == Phase::Published
}

#[tokio::test]
async fn workers_in_pods_are_refused_and_the_reason_is_given() {
    let output = program(&["--workers=pods"]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("not supported yet")), (Some(2), true), "{said}");
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_one_line_that_names_its_option() {
    let output = program(&["--workers=in-process", "--cache-dir=/dev/null/cache"]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.starts_with("wasmproxy: --cache-dir: ")), (Some(2), true), "{said}");
}

#[tokio::test]
async fn without_a_cluster_it_says_how_to_name_one() {
    let mut program = program(&["--workers=in-process"]);
    program.env("KUBECONFIG", "/nonexistent").env_remove("KUBERNETES_SERVICE_HOST");
    let output = program.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.contains("set KUBECONFIG")), (Some(2), true), "{said}");
}

/// A client of the namespace's service account `controller`.
pub async fn service_account(namespace: &str) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(ControlPlane::shared().await.kubeconfig()).unwrap();
    for user in &mut kubeconfig.auth_infos {
        let account = format!("system:serviceaccount:{namespace}:controller");
        user.auth_info.as_mut().unwrap().impersonate = Some(account);
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Allows the service account `controller` this in its namespace.
pub async fn allow(floor: &Floor, rules: serde_json::Value) {
    allow_in(floor, &floor.namespace, rules).await;
}

/// Allows the service account `controller` of the floor's namespace this in another one.
pub async fn allow_in(floor: &Floor, namespace: &str, rules: serde_json::Value) {
    let parameters = PatchParams::apply("user");
    let metadata = json!({"name": "controller"});
    let role =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules});
    let roles: Api<Role> = Api::namespaced(floor.client.clone(), namespace);
    roles.patch("controller", &parameters, &Patch::Apply(role)).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "controller"},
        "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": floor.namespace}],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(floor.client.clone(), namespace);
    bindings.patch("controller", &parameters, &Patch::Apply(binding)).await.unwrap();
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough_and_without_secrets_it_says_what_is_missing() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    floor.secret("broker", json!({"username": "anybody", "password": "anything"})).await;
    let mut rules = json!([
        {"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies"], "verbs": ["list", "watch"]},
        {"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ]);
    allow(&floor, rules.clone()).await;
    let _controller = floor.controller_with(service_account(&floor.namespace).await);
    let broker = json!({"url": floor.broker.url(), "secretRef": {"name": "broker"}});
    floor.apply("line", json!({"broker": broker, "artifacts": [{"reference": "wasm/add:1"}]})).await;
    let status = floor.until_ready_is("line", "False", "SecretForbidden").await;
    assert!(message(&status).contains("Secret broker"), "{}", message(&status));

    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]});
    rules.as_array_mut().unwrap().push(secrets);
    allow(&floor, rules).await;
    floor.until_ready("line").await;
    until_told(&floor, "line", &["SecretForbidden", "Published", "Ready"]).await;
}

#[tokio::test]
async fn without_the_right_to_record_events_everything_else_goes_on() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let rules = json!([
        {"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies"], "verbs": ["list", "watch"]},
        {"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies/status"], "verbs": ["patch"]},
    ]);
    allow(&floor, rules).await;
    let _controller = floor.controller_with(service_account(&floor.namespace).await);
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;
}
