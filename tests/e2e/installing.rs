//! The life of an installation: installed, tried, upgraded, rolled back, uninstalled, installed again.

use serde_json::Value;

use crate::{
    harness::{
        Cluster, MARK, Playground, RELEASE, SYSTEM,
        shell::{helm, kubectl},
    },
    leftovers,
    midway::{Midway, life},
};

const CHART: &str = "charts/wasmproxy";
/// What `helm uninstall` keeps.
const DEFINITION: &str = "CustomResourceDefinition /wasmproxies.wasmproxy.io";
/// The chart as the release before this one had it.
const PREVIOUS: &str = "tests/releases/0.1.0/chart";

/// Uninstalls it, and waits for the last of its Pods.
fn uninstall(release: &str) {
    helm(&["uninstall", release, "-n", SYSTEM, "--wait"]);
    kubectl(&["wait", "-n", SYSTEM, "--for=delete", "pods", "--all", "--timeout=2m"]);
}

/// What is left that is not in the namespace of this playground.
fn leftovers_beside(playground: &Playground) -> Vec<String> {
    let name = playground.namespace().name();
    leftovers::all().into_iter().filter(|title| !title.contains(name)).collect()
}

/// How many modules the resource of the playground has sent.
fn sent(playground: &Playground) -> Value {
    let resource = playground.namespace().get(&playground.resource());
    resource["status"]["transfers"]["completed"].clone()
}

#[test]
fn what_is_uninstalled_leaves_the_definition_and_workers_that_go_on_until_another_release_takes_them_over() {
    let cluster = Cluster::alone();
    cluster.install(&[]);
    helm(&["test", RELEASE, "-n", SYSTEM]);
    let playground = Playground::new(&cluster, "uninstalled");
    playground.quickstart();
    let worker = playground.worker();

    uninstall(RELEASE);
    assert_eq!(leftovers_beside(&playground), [DEFINITION]);
    playground.push("wasm/late:1", &crate::modules::module(10_000));
    let fetched = playground.fetch(playground.namespace().name(), "wasm/late:1").unwrap();
    assert_eq!(fetched, crate::modules::module(10_000));

    let sent_before = sent(&playground);
    helm(&["install", "other", CHART, "-n", SYSTEM, "--take-ownership", "--wait"]);
    playground.suspend_and_resume();
    assert_eq!((life(&playground.worker()) == life(&worker), sent(&playground)), (false, sent_before));
}
