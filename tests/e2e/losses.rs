//! What ends in the middle of a transfer, and what a device notices of it: nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    harness::{
        Cluster, RELEASE, SYSTEM, Watch,
        shell::{attempt, kubectl},
    },
    midway::Midway,
    status::{is_ready, life},
};

/// What the controller's Pods are found by.
const CONTROLLERS: &str = "app.kubernetes.io/component=controller";

fn losing_the_workers_pod(name: &str, how: &[&str]) {
    let cluster = Cluster::with_operator();
    let midway = Midway::new(&cluster, name);
    midway.begin();
    let before = midway.worker();
    let pod = format!("pod/{}", before["metadata"]["name"].as_str().unwrap());
    midway.namespace().kubectl(&[&["delete", &pod], how].concat());
    midway.let_go();
    midway.until_out();
    assert_ne!(life(&midway.worker()), life(&before));
}

#[test]
fn a_device_gets_its_module_though_the_workers_pod_is_deleted_midway() {
    losing_the_workers_pod("deleted", &[]);
}

#[test]
fn a_device_gets_its_module_though_the_workers_pod_is_deleted_by_force_midway() {
    losing_the_workers_pod("forced", &["--grace-period=0", "--force"]);
}

/// The controllers' Pods.
fn controllers() -> Vec<Value> {
    let pods = kubectl(&["get", "pods", "-n", SYSTEM, "-l", CONTROLLERS, "-o", "json"]);
    let pods: Value = serde_json::from_str(&pods).unwrap();
    pods["items"].as_array().unwrap().clone()
}

fn scale(replicas: usize) {
    let replicas = format!("--replicas={replicas}");
    kubectl(&["scale", "-n", SYSTEM, &format!("deployment/{RELEASE}"), &replicas]);
}

/// Waits until as many others are ready as these were, and returns them. What the Deployment says of itself may be from before.
fn until_replaced(before: &[Value]) -> Vec<Value> {
    let mut ready = BTreeMap::new();
    Watch::new(SYSTEM, "pods").until("others are ready in place of those that are gone", |pod| {
        let is_ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        if is_ready && before.iter().all(|gone| gone["metadata"]["uid"] != pod["metadata"]["uid"]) {
            ready.insert(pod["metadata"]["uid"].to_string(), pod.clone());
        }
        ready.len() == before.len()
    });
    ready.into_values().collect()
}

#[test]
fn a_device_gets_its_module_though_all_controllers_are_killed_and_then_away_midway() {
    let cluster = Cluster::alone();
    cluster.install(&[]);
    let midway = Midway::new(&cluster, "operator");
    let namespace = midway.namespace();
    midway.begin();
    let worker = midway.worker();

    let first = controllers();
    kubectl(&["delete", "pods", "-n", SYSTEM, "-l", CONTROLLERS, "--grace-period=0", "--force"]);
    kill(&until_replaced(&first));
    scale(0);
    kubectl(&["wait", "-n", SYSTEM, "--for=delete", "pod", "-l", CONTROLLERS, "--timeout=2m"]);

    // Nobody is there but the worker: it hears of the change itself, and goes on to say how far it is.
    midway.let_go();
    namespace.wait("condition=complete", "job/device");
    let resource = namespace
        .watch(&midway.resource())
        .until("the worker says that the module is out", |resource| resource["status"]["receipts"] == 1);
    assert!(!is_ready(&resource), "who says so is not there: {resource:#}");
    scale(2);
    midway.until_received();
    assert_eq!(life(&midway.worker()), life(&worker), "nobody has touched the worker");
}

/// Kills the processes of these Pods on their node, as far as we can get there: `E2E_NODE` is a command that runs what is
/// appended to it on the node of a cluster that has one, such as `docker exec kind-control-plane`.
fn kill(pods: &[Value]) {
    let Ok(enter) = std::env::var("E2E_NODE") else {
        println!("# E2E_NODE names no way to the node: no process is killed there, only Pods are deleted");
        return;
    };
    let enter: Vec<_> = enter.split_whitespace().collect();
    let (program, arguments) = enter.split_first().unwrap();
    let statuses = pods.iter().flat_map(|pod| pod["status"]["containerStatuses"].as_array().unwrap());
    for container in statuses {
        let id = container["containerID"].as_str().unwrap().trim_start_matches("containerd://");
        let kill = ["ctr", "-n", "k8s.io", "task", "kill", "--signal", "SIGKILL", id];
        attempt(program, &[arguments, &kill].concat(), "").unwrap();
    }
    for pod in pods {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let again = "--for=jsonpath={.status.containerStatuses[0].restartCount}=1";
        for state in [again, "--for=condition=Ready"] {
            kubectl(&["wait", "-n", SYSTEM, state, &format!("pod/{name}"), "--timeout=2m"]);
        }
    }
}
