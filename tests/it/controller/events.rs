//! What `kubectl describe` tells of a resource.

use std::path::Path;

use futures::StreamExt as _;
use k8s_openapi::api::events::v1::Event;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use wasmproxy::api::RECONCILE_ANNOTATION;

use super::{
    floor::{CHUNK, Floor, Mode, message, ready},
    program::program,
};
use crate::{
    lab::{BrokerConfig, ControlPlane, tool},
    modules::module,
    standalone::Process,
    waiting::soon,
};

in_both_modes!(
    the_way_of_a_resource_is_told_once_and_not_again_after_a_restart,
    what_goes_wrong_is_told_as_a_warning_with_the_message_of_its_condition,
    what_somebody_else_holds_is_told,
    a_tag_that_moves_and_a_request_are_told,
    no_credential_is_in_any_condition_event_or_log,
);

/// Waits until these were told, in this order, and returns all that was told of the resource.
pub async fn until_told(floor: &Floor, name: &str, reasons: &[&str]) -> Vec<Event> {
    let events: Api<Event> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let config = watcher::Config::default().fields(&format!("regarding.name={name}"));
    let mut told: Vec<Event> = Vec::new();
    let watching = async {
        let mut seen = watcher(events, config).applied_objects().boxed();
        while !is_among(reasons, &told) {
            let event = seen.next().await.unwrap().unwrap();
            told.retain(|known| known.metadata.name != event.metadata.name);
            told.push(event);
            told.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
        }
    };
    soon(&format!("the events {reasons:?}"), watching).await;
    told
}

/// Whether these are among what was told, in this order.
fn is_among(reasons: &[&str], told: &[Event]) -> bool {
    let mut told = told.iter().filter_map(|event| event.reason.as_deref());
    reasons.iter().all(|reason| told.any(|told| told == *reason))
}

fn is_for(event: &Event, reason: &str) -> bool {
    event.reason.as_deref() == Some(reason)
}

fn reasons(told: &[Event]) -> Vec<&str> {
    told.iter().map(|event| event.reason.as_deref().unwrap()).collect()
}

async fn the_way_of_a_resource_is_told_once_and_not_again_after_a_restart(mode: Mode) {
    let floor = Floor::start(mode).await;
    let digest = floor.registry.push("wasm/add:1", module(3 * CHUNK)).await.to_string();
    let _listener = floor.listen("line").await;
    let controller = floor.controller();
    let artifacts = json!({"artifacts": [{"reference": "wasm/add:1"}]});
    floor.apply("line", artifacts.clone()).await;
    let told = until_told(&floor, "line", &["Ready"]).await;
    // A worker in a Pod may have published all before the cluster knows that its Pod is ready.
    let mut first = reasons(&told);
    assert_eq!(first.pop(), Some("Ready"));
    first.sort_unstable();
    assert_eq!(first, ["Connected", "Published", "WorkerStarted"]);
    let published = told.iter().find(|event| is_for(event, "Published")).unwrap().clone();
    let expected = format!("{}/wasm/add:1 is out: {}, in 3 chunks", floor.registry.host(), &digest[..19]);
    assert_eq!((published.note, published.type_.as_deref()), (Some(expected), Some("Normal")));

    let kubeconfig = ControlPlane::shared().await.kubeconfig();
    let (kubeconfig, namespace) = (format!("--kubeconfig={}", kubeconfig.display()), &floor.namespace);
    let arguments = [&kubeconfig, "describe", "wp", "line", "-n", namespace];
    let described = tool("kubectl", Path::new(env!("CARGO_TARGET_TMPDIR")), &arguments).await;
    let (_, events) = described.split_once("Events:").unwrap();
    assert!(events.contains("is out") && events.contains("wasmproxy.io/controller"), "{described}");

    controller.stop().await;
    let _controller = floor.controller();
    floor.apply("line", json!({"suspend": true})).await;
    let told = until_told(&floor, "line", &["Ready", "Suspended"]).await;
    assert_eq!(reasons(&told)[4..], ["Suspended"], "and nothing that was told before");
}

async fn what_goes_wrong_is_told_as_a_warning_with_the_message_of_its_condition(mode: Mode) {
    let mut floor = Floor::start(mode).await;
    let _controller = floor.controller();
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    // A worker in a Pod may have said so before the cluster knows that its Pod is ready.
    until_told(&floor, "line", &["WorkerStarted"]).await;
    let told = until_told(&floor, "line", &["Connected", "ArtifactNotFound"]).await;
    let status = floor.until_ready_is("line", "False", "ArtifactNotFound").await;
    let warning = told.iter().find(|event| is_for(event, "ArtifactNotFound")).unwrap();
    assert_eq!((warning.type_.as_deref(), warning.note.as_deref()), (Some("Warning"), Some(message(&status))));

    floor.broker.stop();
    until_told(&floor, "line", &["ArtifactNotFound", "BrokerUnreachable"]).await;
    floor.apply("line", json!({"broker": {"url": floor.broker.url(), "secretRef": {"name": "none"}}})).await;
    until_told(&floor, "line", &["BrokerUnreachable", "SecretNotFound"]).await;
}

async fn what_somebody_else_holds_is_told(mode: Mode) {
    let floor = Floor::start(mode).await;
    let _controller = floor.controller();
    for name in ["a", "b"] {
        floor.apply(name, json!({"channel": {"id": "shared"}})).await;
    }
    until_told(&floor, "b", &["ChannelConflict"]).await;
    floor.delete("a").await;
    until_told(&floor, "b", &["ChannelConflict", "WorkerStarted", "Ready"]).await;
}

async fn a_tag_that_moves_and_a_request_are_told(mode: Mode) {
    let floor = Floor::start(mode).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let _controller = floor.controller();
    // Nobody looks for a day, but where it is asked for.
    let artifacts = json!({"artifacts": [{"reference": "wasm/add:1", "interval": "24h"}]});
    floor.apply("line", artifacts.clone()).await;
    until_told(&floor, "line", &["Ready"]).await;
    floor.registry.push("wasm/add:1", module(2 * CHUNK)).await;
    let mut requested = floor.resource("line", artifacts);
    requested["metadata"]["annotations"] = json!({RECONCILE_ANNOTATION: "now"});
    let parameters = PatchParams::apply("user").force();
    floor.resources().patch("line", &parameters, &Patch::Apply(requested)).await.unwrap();
    let told = until_told(&floor, "line", &["Ready", "Published", "Reconciled"]).await;
    assert_eq!(reasons(&told).iter().filter(|reason| **reason == "Published").count(), 2);
}

/// Passes words off as credentials, wherever there is room for them, and has everything refused.
async fn no_credential_is_in_any_condition_event_or_log(mode: Mode) {
    const MARK: &str = "hunter2";
    let floor = Floor::with(mode, BrokerConfig::default().user("worker", "another")).await;
    let password = |name: &str| format!("{MARK}-{name}");
    floor.secret("refused", json!({"username": "worker", "password": password("broker")})).await;
    floor.secret("half", json!({"password": password("half")})).await;
    let docker = json!({"auths": {"x": {"auth": password("docker")}}}).to_string();
    floor.secret("odd", json!({".dockerconfigjson": docker})).await;
    floor.secret("torn", json!({".dockerconfigjson": format!("{{\"auths\": \"{MARK}\"")})).await;
    floor.secret("token", json!({"token": password("token")})).await;
    floor.secret("key", json!({"tls.crt": password("certificate"), "tls.key": password("key"), "ca.crt": MARK})).await;
    let labels = json!({"wasmproxy.io/credentials": "no"});
    floor.apply_secret("unlabelled", json!({"username": "worker", "password": MARK}), labels).await;

    let mut program = program(&["--log-level=trace", "--workers=in-process", "--namespace", &floor.namespace]);
    let controller = Process::run(program.env("KUBECONFIG", ControlPlane::shared().await.kubeconfig()));
    let (url, host) = (floor.broker.url(), floor.registry.host());
    for secret in ["refused", "half", "key", "unlabelled", "odd"] {
        let broker = json!({"url": url, "secretRef": {"name": secret}});
        floor.apply(&format!("broker-{secret}"), json!({"broker": broker})).await;
        let broker = json!({"url": url.replace("mqtt:", "mqtts:"), "certSecretRef": {"name": secret}});
        floor.apply(&format!("tls-{secret}"), json!({"broker": broker})).await;
    }
    for secret in ["half", "odd", "torn", "token", "key"] {
        let registry = json!({"host": host, "insecure": true, "secretRef": {"name": secret}});
        floor.apply(&format!("registry-{secret}"), json!({"registry": registry})).await;
    }
    let resources = floor.resources().list(&ListParams::default()).await.unwrap();
    for resource in &resources.items {
        let name = resource.metadata.name.as_deref().unwrap();
        floor.until(name, |status| ready(status).is_some_and(|(is, _)| is == "False")).await;
        let kubernetes = serde_json::to_string(&floor.get(name).await).unwrap();
        assert!(!kubernetes.contains(MARK), "{kubernetes}");
    }
    until_told(&floor, "broker-refused", &["BrokerUnauthorized"]).await;
    until_told(&floor, "registry-torn", &["RegistryUnauthorized"]).await;
    until_told(&floor, "registry-half", &["SecretInvalid"]).await;
    controller.signal("TERM");
    let stopped = |line: &serde_json::Value| line["message"] == "controller has stopped";
    let log = controller.lines_until(|lines| lines.iter().any(stopped)).await;

    let events: Api<Event> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let events = serde_json::to_string(&events.list(&ListParams::default()).await.unwrap().items).unwrap();
    assert!(events.contains("SecretInvalid") && !events.contains(MARK), "{events}");
    // As it is, and in Base64.
    let said: Vec<_> =
        log.iter().map(ToString::to_string).filter(|line| line.contains(MARK) || line.contains("aHVudGVy")).collect();
    assert_eq!(said, [""; 0], "a credential is in the log");
    assert!(log.iter().any(|line| line["target"] == "kube_client::client::builder"), "libraries have their say, too");
}
