//! What is left on a cluster when something was to end without a trace.

use std::process::Command;

use serde_json::Value;

use crate::harness::{MARK, SYSTEM, shell::kubectl};

/// Where wasmproxy may be named for good reasons: events go by themselves, nodes keep images, and the API server describes
/// each definition for itself.
const NOT_LOOKED_AT: [&str; 4] = ["events", "events.events.k8s.io", "nodes", "apiservices.apiregistration.k8s.io"];

/// Each object of the cluster in which wasmproxy is named anywhere, as `Kind namespace/name`, sorted: whatever it is called,
/// whatever its labels, whoever owns it. What every namespace has in that of the operator does not count, nor what is in a
/// namespace that is being deleted.
pub fn all() -> Vec<String> {
    let kinds = kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<_> = kinds.lines().filter(|kind| !NOT_LOOKED_AT.contains(kind)).collect();
    let objects = get(&kinds.join(","));
    let ending = |object: &&Value| object["kind"] == "Namespace" && !object["metadata"]["deletionTimestamp"].is_null();
    let ending: Vec<_> = objects.iter().filter(ending).map(|namespace| text(&namespace["metadata"]["name"])).collect();
    let stays = |object: &&Value| {
        let metadata = &object["metadata"];
        let [namespace, name] = [text(&metadata["namespace"]), text(&metadata["name"])];
        !ending.contains(&if object["kind"] == "Namespace" { name } else { namespace })
    };
    let named = objects.iter().filter(|object| object.to_string().contains("wasmproxy")).filter(stays).map(title);
    let mut left: Vec<_> = named.filter(|title| !expected().contains(title)).collect();
    left.sort();
    left.dedup();
    left
}

/// All objects of these kinds; what `kubectl` says of them is too long to be printed.
fn get(kinds: &str) -> Vec<Value> {
    let output = Command::new("timeout").args(["120", "kubectl", "get", kinds, "-A", "-o", "json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["items"].as_array().unwrap().clone()
}

fn title(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Our own mark, what every namespace has, and the roles that Kubernetes gathers from others, and forgets again in its own time.
fn expected() -> Vec<String> {
    let mut expected = vec![
        format!("ConfigMap default/{MARK}"),
        format!("ConfigMap {SYSTEM}/kube-root-ca.crt"),
        format!("Namespace /{SYSTEM}"),
        format!("ServiceAccount {SYSTEM}/default"),
    ];
    expected.extend(["admin", "edit", "view"].map(|role| format!("ClusterRole /{role}")));
    expected
}
