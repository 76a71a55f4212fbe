//! What scrapes, alerts and shows: off by default, and what Prometheus and its operator understand.

use std::{collections::BTreeMap, fs};

use k8s_openapi::{
    api::apps::v1::Deployment, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use serde_json::{Value, json};

use super::{attempt, of_kind, render, text};
use crate::{
    controller::floor::{Floor, Mode},
    lab::{ControlPlane, tool},
    waiting::soon,
};

const ALL: [&str; 4] = ["serviceMonitor", "podMonitor", "prometheusRule", "dashboard"];

/// What the chart renders for monitoring with these arguments: three kinds of the operator, and the dashboard.
async fn monitoring(arguments: &[&str]) -> Vec<Value> {
    let on: Vec<String> = ALL.iter().map(|object| format!("--set=metrics.{object}.enabled=true")).collect();
    let arguments: Vec<&str> = on.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
    let objects = render(&arguments).await;
    let is_ours = |object: &Value| {
        text(object, "/apiVersion") == "monitoring.coreos.com/v1" || text(object, "/kind") == "ConfigMap"
    };
    objects.into_iter().filter(is_ours).collect()
}

/// What selects by labels: each pair of the selector.
fn selector(object: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(object["spec"]["selector"]["matchLabels"].clone()).unwrap()
}

#[tokio::test]
async fn nothing_scrapes_alerts_or_shows_unless_it_is_wanted() {
    let kinds: Vec<_> = render(&[]).await.iter().map(|object| text(object, "/kind").to_owned()).collect();
    for kind in ["ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"] {
        assert!(!kinds.contains(&kind.to_owned()), "{kind}");
    }
    assert_eq!(monitoring(&[]).await.len(), ALL.len());
}

#[tokio::test]
async fn an_api_server_with_the_operators_definitions_knows_every_field() {
    let control_plane = ControlPlane::shared().await;
    let kubeconfig = format!("--kubeconfig={}", control_plane.kubeconfig().display());
    let dir = tempfile::tempdir().unwrap();
    let apply = format!("kubectl {kubeconfig} apply --server-side -f \"$prometheus_operator\"");
    tool("sh", dir.path(), &["-c", &apply]).await;
    for kind in ["servicemonitors", "podmonitors", "prometheusrules"] {
        let definitions: Api<CustomResourceDefinition> = Api::all(control_plane.client().await);
        let name = format!("{kind}.monitoring.coreos.com");
        soon(kind, await_condition(definitions, &name, is_crd_established())).await.unwrap();
    }
    let namespace = control_plane.namespace("chart").await;
    let mut everything =
        vec![format!("--namespace={namespace}"), "--set=metrics.prometheusRule.extraRules[0].record=all".to_owned()];
    everything.push("--set=metrics.prometheusRule.extraRules[0].expr=sum(up)".to_owned());
    for monitor in ["serviceMonitor", "podMonitor"] {
        everything
            .extend(["interval=15s", "scrapeTimeout=10s"].map(|value| format!("--set=metrics.{monitor}.{value}")));
        for relabelings in ["relabelings", "metricRelabelings"] {
            everything.push(format!("--set=metrics.{monitor}.{relabelings}[0].action=labeldrop"));
            everything.push(format!("--set=metrics.{monitor}.{relabelings}[0].regex=instance"));
        }
    }
    let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
    for arguments in [&everything[..1], &everything[..]] {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": monitoring(arguments).await});
        fs::write(dir.path().join("objects.json"), list.to_string()).unwrap();
        let apply = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "objects.json"];
        let taken = tool("kubectl", dir.path(), &[&[&kubeconfig[..]], &apply[..]].concat()).await;
        assert_eq!(taken.lines().count(), ALL.len(), "{taken}");
    }
}

#[tokio::test]
async fn controllers_are_scraped_through_the_port_of_their_service() {
    let objects = render(&["--set=metrics.serviceMonitor.enabled=true,service.port=80"]).await;
    let (service, monitor) = (of_kind(&objects, "Service")[0], of_kind(&objects, "ServiceMonitor")[0]);
    let labels: BTreeMap<String, String> = serde_json::from_value(service["metadata"]["labels"].clone()).unwrap();
    assert!(selector(monitor).iter().all(|(key, value)| labels.get(key) == Some(value)), "{labels:?}");
    assert_eq!(monitor["spec"]["namespaceSelector"]["matchNames"], json!([service["metadata"]["namespace"]]));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
}

#[tokio::test]
async fn workers_in_pods_are_scraped_by_what_the_controller_calls_them() {
    let mut floor = Floor::start(Mode::Pods).await;
    let _controller = floor.controller();
    floor.apply("line", json!({})).await;
    let deployments: Api<Deployment> = Api::namespaced(floor.client.clone(), &floor.namespace);
    let is_there = |deployment: Option<&Deployment>| deployment.is_some();
    let found = soon("a worker", await_condition(deployments, "line-wasmproxy", is_there)).await.unwrap();
    let pod = serde_json::to_value(found.unwrap().spec.unwrap().template).unwrap();
    let labels: BTreeMap<String, String> = serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap();

    let objects = monitoring(&[]).await;
    let monitor = of_kind(&objects, "PodMonitor")[0];
    assert!(selector(monitor).iter().all(|(key, value)| labels.get(key) == Some(value)), "{labels:?}");
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], pod["spec"]["containers"][0]["ports"][0]["name"]);
    assert_eq!(monitor["spec"]["namespaceSelector"], json!({"any": true}));
    let namespaced = monitoring(&["--set=namespaces={edge,plant}"]).await;
    let monitor = of_kind(&namespaced, "PodMonitor")[0];
    assert_eq!(monitor["spec"]["namespaceSelector"], json!({"matchNames": ["edge", "plant"]}));
    floor.kubelet();
}

#[tokio::test]
async fn alerts_can_be_left_out_by_name_and_labelled_and_a_name_that_is_none_is_refused() {
    let objects = monitoring(&[
        "--set=metrics.prometheusRule.disabled={WasmProxyNotReady}",
        "--set=metrics.prometheusRule.ruleLabels.severity=page",
        "--set=metrics.prometheusRule.extraRules[0].alert=Ours,metrics.prometheusRule.extraRules[0].expr=vector(1)",
    ])
    .await;
    let rules = of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"][0]["rules"].as_array().unwrap();
    let names: Vec<_> = rules.iter().map(|rule| text(rule, "/alert")).collect();
    let expected =
        ["WasmProxyNoLeader", "WasmProxyNotSettled", "WasmProxyBrokerDisconnected", "WasmProxyReconcileErrors", "Ours"];
    assert_eq!(names, expected);
    assert!(rules.iter().take(4).all(|rule| text(rule, "/labels/severity") == "page"), "{rules:?}");

    let wrong = ["--set=metrics.prometheusRule.enabled=true", "--set=metrics.prometheusRule.disabled={NotReady}"];
    let refusal = attempt(&wrong).await.unwrap_err();
    assert!(refusal.contains("there is no alert NotReady. There are WasmProxyNoLeader, "), "{refusal}");
}

#[tokio::test]
async fn the_dashboard_is_in_the_config_map_to_the_letter() {
    let objects = monitoring(&["--set=metrics.dashboard.labels.grafana_dashboard=yes"]).await;
    let map = of_kind(&objects, "ConfigMap")[0];
    let file = fs::read_to_string(super::chart().join("dashboards/wasmproxy.json")).unwrap();
    assert_eq!(text(map, "/data/wasmproxy.json").trim_end(), file.trim_end());
    assert_eq!(text(map, "/metadata/labels/grafana_dashboard"), "yes");
}
