//! Values: each is known, described, and may be missing; what is not one is refused.

use std::fs;

use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::{attempt, kinds_of_values, values};
use crate::lab::{chart, helm};

/// What the chart says of values.
fn schema() -> Value {
    serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap()
}

/// Every value that can be set, as `path.to.it`, with its schema; groups of values as well.
fn walk(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        found.push((path.clone(), inner.clone()));
        walk(inner, &path, found);
    }
}

fn every_value() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    walk(&schema(), "", &mut found);
    // Helm's own.
    found.retain(|(path, _)| path != "global");
    assert!(found.len() > 80, "{}", found.len());
    found
}

/// Whether it only holds other values.
fn is_group(schema: &Value) -> bool {
    schema["properties"].is_object()
}

#[test]
fn every_value_is_described_in_the_schema_and_in_the_readme() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    for (path, schema) in every_value().iter().filter(|(_, schema)| !is_group(schema)) {
        let described = schema["description"].as_str().is_some_and(|text| !text.is_empty());
        assert!(described && readme.contains(&format!("| `{path}` |")), "describe {path} in values.yaml");
    }
}

#[tokio::test]
async fn a_typo_is_named_wherever_it_is() {
    let groups: Vec<_> = every_value().into_iter().filter(|(_, schema)| is_group(schema)).collect();
    let closed = ["livenessProbe", "readinessProbe", "resources"].map(str::to_owned);
    let levels = groups.into_iter().map(|(path, _)| path).chain(closed);
    let mut typos: Vec<_> = levels.map(|level| format!("{level}.typo")).collect();
    typos.push("typo".to_owned());
    let options: Vec<_> = typos.iter().map(|typo| format!("--set={typo}=1")).collect();
    let refused = attempt(&options.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap_err();
    for typo in typos {
        let level = typo.rsplit_once('.').map_or(String::new(), |(level, _)| format!("/{}", level.replace('.', "/")));
        let line = format!("at '{level}': additional properties 'typo' not allowed");
        assert!(refused.contains(&line), "{line}\n{refused}");
    }
}

#[tokio::test]
async fn what_a_value_cannot_be_is_refused_by_its_name() {
    for (value, name) in [
        ("replicas=two", "/replicas"),
        ("workers.mode=process", "/workers/mode"),
        ("workers.cache.size=1GB", "/workers/cache/size"),
        ("namespaces={Edge}", "/namespaces/0"),
        ("namespaces={edge,edge}", "/namespaces"),
        ("image.digest=sha256:beef", "/image/digest"),
        ("leaderElection.leaseDuration=15", "/leaderElection/leaseDuration"),
        ("service.port=70000", "/service/port"),
        ("imagePullSecrets={registry}", "/imagePullSecrets/0"),
        ("commonLabels.a=1", "/commonLabels/a"),
        ("logs.level=loud", "/logs/level"),
    ] {
        let refused = attempt(&["--set", value]).await.unwrap_err();
        assert!(refused.contains(&format!("at '{name}'")), "{value}: {refused}");
    }
}

#[tokio::test]
async fn what_cannot_work_together_is_refused_with_a_sentence() {
    for (values, sentence) in [
        (["replicas=2", "leaderElection.enabled=false"], "Set replicas to 1, or leaderElection.enabled to true."),
        (["leaderElection.renewDeadline=15s", "replicas=2"], "must be shorter than leaderElection.leaseDuration (15s)"),
        (["credentialsPolicy.enabled=true", "credentialsPolicy.validationActions={Deny,Warn}"], "takes one of them"),
        (["leaderElection.retryPeriod=6s", "replicas=2"], "must be at most half of leaderElection.renewDeadline (10s)"),
    ] {
        let refused = attempt(&["--set", values[0], "--set", values[1]]).await.unwrap_err();
        assert!(refused.contains(sentence), "{values:?}: {refused}");
    }
}

/// As with `--reuse-values`, where an older chart did not have it.
#[tokio::test]
async fn any_value_may_be_missing() {
    let everything = values("everything");
    let essential = ["image", "image.repository"];
    let paths = every_value().into_iter().map(|(path, _)| path).filter(|path| !essential.contains(&path.as_str()));
    let outcomes = stream::iter(paths).map(async |path| {
        // Without leader election there can only be one.
        let missing = format!("{path}=null,replicas=1");
        // There is a mode in which these matter, and everything else is in the other one.
        let values = if path.starts_with("workers") { "--set=workers.rollout=2" } else { &everything };
        let outcome = attempt(&[values, "--set", &missing]).await;
        (path, outcome.err())
    });
    let failed: Vec<_> =
        outcomes.buffer_unordered(4).filter(|(_, error)| std::future::ready(error.is_some())).collect().await;
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn helm_finds_nothing_wrong() {
    for values in kinds_of_values() {
        let values = values.map(|values| format!("--values={}", values.display()));
        let chart = chart();
        let arguments = ["lint", "--strict", chart.to_str().unwrap()];
        let linted = helm(&arguments.into_iter().chain(values.as_deref()).collect::<Vec<_>>()).await;
        assert!(linted.is_ok(), "{values:?}: {linted:?}");
    }
}

#[tokio::test]
async fn the_chart_may_be_a_part_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let dependency = format!(
        "apiVersion: v2\nname: whole\nversion: 1.0.0\ndependencies:\n- {{name: wasmproxy, version: {}, condition: wasmproxy.enabled}}\n",
        env!("CARGO_PKG_VERSION")
    );
    fs::write(dir.path().join("Chart.yaml"), dependency).unwrap();
    fs::write(dir.path().join("values.yaml"), "global: {registry: a}\nwasmproxy: {enabled: true}\n").unwrap();
    fs::create_dir(dir.path().join("charts")).unwrap();
    std::os::unix::fs::symlink(chart(), dir.path().join("charts/wasmproxy")).unwrap();
    let whole = dir.path().to_str().unwrap();
    let rendered = helm(&["template", "whole", whole]).await.unwrap();
    assert!(rendered.contains("kind: Deployment"), "{rendered}");
    let rendered = helm(&["template", "whole", whole, "--set=wasmproxy.enabled=false"]).await.unwrap();
    assert!(!rendered.contains("kind: Deployment"), "{rendered}");
}
