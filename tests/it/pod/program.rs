//! `wasmproxy worker --resource` as it is deployed: a process.

use std::{path::Path, process::Stdio};

use serde_json::json;
use tokio::{process::Command, sync::mpsc};
use wasmproxy::api::conditions::ConditionType;

use super::floor::{NAME, Site};
use crate::{
    controller::floor::CHUNK,
    lab::{BrokerConfig, ControlPlane, Manner, OddBroker, free_port},
    metrics::Scrape,
    modules::module,
    standalone::Process,
    waiting::soon,
};

/// The program with an administrator's rights.
async fn program(site: &Site) -> Command {
    let mut command = bare();
    command.env("KUBECONFIG", ControlPlane::shared().await.kubeconfig());
    command.args(["--resource", NAME, "--namespace", &site.namespace]);
    command.args([Path::new("--secrets-dir"), site.secrets()]);
    command
}

fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmproxy"));
    command.args(["worker", "--log-format=json"]).env_clear().stderr(Stdio::piped()).kill_on_drop(true);
    command.env("WASMPROXY_HTTP_PORT", "0");
    command
}

#[tokio::test]
async fn it_ends_on_a_signal_and_what_devices_ask_meanwhile_is_answered_by_the_next() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let resource = site.declare(&[]).await;
    let uid = resource.metadata.uid.unwrap();
    let listener = site.listen(NAME).await;
    let program = Process::run(program(&site).await.env("WASMPROXY_RESOURCE_UID", &uid));
    let line = program.line("starting").await;
    assert_eq!(
        (line["resource"].as_str(), line["uid"].as_str()),
        (Some(&*format!("{}/{NAME}", site.namespace)), Some(&*uid))
    );
    assert_eq!(line["version"], env!("CARGO_PKG_VERSION"));
    program.line("BrokerConnected is True: the broker has accepted the worker").await;
    site.until_published().await;

    program.signal("TERM");
    program.line("ended").await;
    assert_eq!(program.end().await.code(), Some(0));
    listener.ask("wasm/add:1").await;
    let _worker = site.worker().await;
    site.until_out(1).await;
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let (came, mut coming) = mpsc::unbounded_channel();
    // The chunk is in flight for as long as the worker waits for it.
    let silent = OddBroker::before(site.broker.host(), move |_, _| {
        let _ = came.send(());
        Manner::Swallow
    });
    let silent = silent.await;
    site.broker_url = Some(silent.url.clone());
    site.declare(&["wasm/add:1"]).await;
    let program = Process::run(&mut program(&site).await);
    soon("a chunk", coming.recv()).await.unwrap();
    program.signal("TERM");
    program.line("ending").await;
    program.signal("INT");
    assert_eq!(program.end().await.code(), Some(130));
}

#[tokio::test]
async fn it_is_ready_once_it_has_read_its_resource_whether_or_not_the_broker_is_there() {
    let mut site = Site::start().await;
    site.broker.stop();
    let port = free_port().to_string();
    let mut command = program(&site).await;
    command.env("WASMPROXY_HTTP_PORT", &port).env("WASMPROXY_HTTP_HOST", "127.0.0.1");
    let program = Process::run(&mut command);
    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    program.line("starting").await;
    while get("/readyz").await != (503, "the resource is not there, or is another one than it was\n".to_owned()) {
        tokio::task::yield_now().await;
    }
    site.declare(&[]).await;
    program.line("worker starts").await;
    site.until_says(ConditionType::BrokerConnected, "False", "BrokerUnreachable").await;
    assert_eq!(get("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(get("/healthz").await, (200, "ok\n".to_owned()));
}

#[tokio::test]
async fn its_metrics_are_called_after_its_resource_whether_it_works_or_waits() {
    let site = Site::with(BrokerConfig::default().user("worker", "hunter2")).await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let port = free_port();
    let mut command = program(&site).await;
    command.env("WASMPROXY_HTTP_PORT", port.to_string()).env("WASMPROXY_HTTP_HOST", "127.0.0.1");
    let _program = Process::run(&mut command);
    site.mount("broker", json!({}));
    let broker = json!({"url": site.broker.url(), "secretRef": {"name": "broker"}});
    site.apply(NAME, json!({"broker": broker, "artifacts": [{"reference": "wasm/add:1"}]})).await;
    site.until_says(ConditionType::BrokerConnected, "False", "SecretNotFound").await;
    let whose = [("namespace", site.namespace.as_str()), ("name", NAME)];
    let waiting = Scrape::of(port).await;
    assert_eq!(waiting.get("wasmproxy_broker_connected", &whose), Some(0.0));
    assert!(waiting.get("wasmproxy_api_requests_total", &[("method", "GET"), ("code", "200")]).unwrap() >= 1.0);

    site.mount("broker", json!({"username": "worker", "password": "hunter2"}));
    site.until_published().await;
    let scrape = Scrape::of(port).await;
    assert_eq!(scrape.get("wasmproxy_broker_connected", &whose), Some(1.0));
    assert_eq!(scrape.get("wasmproxy_chunks_published_total", &whose), Some(3.0));
}

#[tokio::test]
async fn no_credential_is_in_its_log_or_its_status() {
    let site = Site::with(BrokerConfig::default().user("worker", "hunter2")).await;
    let program = Process::run(&mut program(&site).await);
    site.mount("broker", json!({"username": "worker", "password": "a-wrong-one"}));
    site.apply(NAME, json!({"broker": {"url": site.broker.url(), "secretRef": {"name": "broker"}}})).await;
    site.until_says(ConditionType::BrokerConnected, "False", "BrokerUnauthorized").await;
    site.mount("broker", json!({"username": "worker", "password": "hunter2"}));
    site.until_published().await;
    site.mount("broker", json!({"password": "hunter2"}));
    site.until_says(ConditionType::BrokerConnected, "False", "SecretInvalid").await;

    let says_so = |lines: &[serde_json::Value]| lines.iter().any(|line| line["reason"] == "SecretInvalid");
    let lines = program.lines_until(says_so).await;
    let said = format!("{lines:?}{:?}", site.get(NAME).await.status);
    for secret in ["hunter2", "a-wrong-one"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn what_is_wrong_at_the_start_is_one_line_and_the_exit_code() {
    for (arguments, beginning) in [
        (
            ["--resource", "line", "--secrets-dir", "/nonexistent"],
            "wasmproxy: no cluster is configured: set KUBECONFIG",
        ),
        (["--resource", "line", "--cache-dir", "/dev/null/cache"], "wasmproxy: --cache-dir: "),
    ] {
        let output = bare().env("KUBECONFIG", "/nonexistent").args(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.starts_with(beginning)), (Some(2), true), "{said}");
    }
}

#[tokio::test]
async fn without_a_resource_it_is_standalone_as_ever() {
    let output = bare().env("WASMPROXY_RESOURCE", "").output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), said.starts_with("wasmproxy: PROXY_REGISTRY_URL")), (Some(2), true), "{said}");
}
