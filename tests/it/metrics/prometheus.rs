//! A real Prometheus that scrapes a real run, and what the dashboard and the rules make of it.

use std::{fs, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::sleep,
};
use url::Url;

use super::controller;
use crate::{
    controller::floor::{CHUNK, Floor, Mode},
    lab::{free_port, repository},
    modules::module,
    standalone::Process,
    waiting::soon,
};

/// Ends when dropped.
struct Prometheus {
    port: u16,
    _process: Child,
    _dir: TempDir,
}

impl Prometheus {
    /// One that scrapes this port, and has our rules.
    fn start(target: u16) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
            "rule_files": [repository().join("charts/wasmproxy/alerts/wasmproxy.yaml")],
            "scrape_configs": [{
                "job_name": "wasmproxy",
                "honor_labels": true,
                "static_configs": [{"targets": [format!("127.0.0.1:{target}")], "labels": {"namespace": "system"}}],
            }],
        });
        fs::write(dir.path().join("prometheus.yml"), config.to_string()).unwrap();
        let mut command = Command::new(repository().join("tests/lab/tool.sh"));
        command.args(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"]);
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = command.current_dir(dir.path()).stdin(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        Self { port, _process: process, _dir: dir }
    }

    /// What it answers; nothing where it does not, or refuses.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = Url::parse_with_params(&format!("http://127.0.0.1:{}/api/v1/{path}", self.port), parameters).unwrap();
        let answer: Value = serde_json::from_str(&reqwest::get(url).await.ok()?.text().await.ok()?).ok()?;
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        Some(answer["data"].clone())
    }

    /// The answer once it is as it should be.
    async fn until(&self, path: &str, parameters: &[(&str, &str)], is: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                match self.ask(path, parameters).await {
                    Some(answer) if is(&answer) => return answer,
                    _ => sleep(Duration::from_millis(50)).await,
                }
            }
        };
        soon(&format!("{path} {parameters:?}"), wait).await
    }
}

/// Every query of the dashboard, with its title.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (title.to_owned(), target["expr"].as_str().unwrap().to_owned()))
    });
    targets.collect()
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer_and_every_rule_can_be_evaluated() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let port = free_port();
    let process = Process::run(&mut controller(&floor, port).await);
    process.line("controller is ready").await;
    let prometheus = Prometheus::start(port);
    let spec = json!({"artifacts": [{"reference": "wasm/add:1"}], "requests": {"allow": ["**"]}});
    floor.apply("line", spec).await;
    floor.apply("shed", json!({"broker": {"url": "mqtt://127.0.0.1:1"}})).await;
    floor.until_ready("line").await;
    // Something to fail.
    floor.listen("line").await.ask("wasm/none:1").await;
    floor.until("line", |status| status.transfers.is_some_and(|transfers| transfers.failed == 1)).await;

    let file = fs::read_to_string(repository().join("charts/wasmproxy/dashboards/wasmproxy.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&file).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 15, "{}", queries.len());
    for (title, mut query) in queries {
        for (variable, value) in [("$__rate_interval", "1m"), ("$namespace", &floor.namespace), ("$name", ".*")] {
            query = query.replace(variable, value);
        }
        // All but one have something to show here, and need not fall back on nothing.
        if title != "In progress" {
            query = query.replace(" or vector(0)", "");
        }
        prometheus.until("query", &[("query", &query)], |data| data["result"] != json!([])).await;
    }
    let chosen = [("match[]", "wasmproxy_broker_connected")];
    prometheus.until("label/namespace/values", &chosen, |data| *data == json!([floor.namespace])).await;
    prometheus.until("label/name/values", &chosen, |data| *data == json!(["line", "shed"])).await;

    let is_evaluated = |data: &Value| {
        let rules = data["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        rules.len() == 5 && rules.iter().all(|rule| rule["health"] == "ok")
    };
    prometheus.until("rules", &[], is_evaluated).await;
    let firing = prometheus.ask("alerts", &[]).await.unwrap();
    assert!(firing["alerts"].as_array().unwrap().iter().all(|alert| alert["state"] == "pending"), "{firing}");
    let targets = prometheus.ask("targets", &[]).await.unwrap();
    assert_eq!(
        (&targets["activeTargets"][0]["health"], &targets["activeTargets"][0]["lastError"]),
        (&json!("up"), &json!(""))
    );
}
