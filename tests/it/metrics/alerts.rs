//! The rules of the chart, as Prometheus' own tool sees them.

use std::fs;

use serde_json::Value;

use crate::lab::{repository, tool};

#[tokio::test]
async fn alerts_fire_when_they_should_and_at_no_other_time() {
    let rules = fs::read_to_string(repository().join("charts/wasmproxy/alerts/wasmproxy.yaml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wasmproxy.yaml");
    fs::write(&file, &rules).unwrap();
    let said = tool("promtool", dir.path(), &["check", "rules", "wasmproxy.yaml"]).await;
    assert!(said.contains("SUCCESS"), "{said}");

    // What people are told is compared with nothing.
    let mut rules: Value = serde_saphyr::from_str(&rules).unwrap();
    for rule in rules["groups"][0]["rules"].as_array_mut().unwrap() {
        rule.as_object_mut().unwrap().remove("annotations").unwrap();
    }
    fs::write(&file, rules.to_string()).unwrap();
    fs::copy(repository().join("tests/it/metrics/alerts.yaml"), dir.path().join("alerts.yaml")).unwrap();
    tool("promtool", dir.path(), &["test", "rules", "alerts.yaml"]).await;
}
