//! The life of an installation: installed, tried, upgraded, rolled back, uninstalled, installed again.

use serde_json::Value;

use crate::{
    harness::{
        CHART, Cluster, Playground, RELEASE, SYSTEM,
        shell::{attempt, helm, kubectl},
    },
    leftovers,
    midway::Midway,
    modules::module,
    status::life,
};

/// The chart as the release before this one had it.
const PREVIOUS: &str = "tests/releases/0.1.0/chart";
/// What there is for whoever has no Helm.
const MANIFESTS: &str = "deploy/install.yaml";
/// What `helm uninstall` keeps.
const DEFINITION: &str = "CustomResourceDefinition /wasmproxies.wasmproxy.io";

fn upgrade(options: &[&str]) {
    let upgrade = ["upgrade", RELEASE, CHART, "-n", SYSTEM, "--reset-then-reuse-values", "--wait"];
    helm(&[&upgrade, options].concat());
}

/// Uninstalls it, and waits for the last of its Pods.
fn uninstall(release: &str) {
    helm(&["uninstall", release, "-n", SYSTEM, "--wait"]);
    kubectl(&["wait", "-n", SYSTEM, "--for=delete", "pods", "--all", "--timeout=2m"]);
}

/// The Deployment of the playground's worker.
fn deployment(playground: &Playground) -> String {
    format!("deployment/{}-wasmproxy", playground.namespace().name())
}

/// Waits until there is no Pod of the playground's worker.
fn without_worker(playground: &Playground) {
    let label = format!("wasmproxy.io/resource={}", playground.namespace().name());
    playground.namespace().kubectl(&["wait", "--for=delete", "pods", "-l", &label, "--timeout=2m"]);
}

/// What is left that is not in the namespace of this playground.
fn leftovers_beside(playground: &Playground) -> Vec<String> {
    let name = playground.namespace().name();
    leftovers::all().into_iter().filter(|title| !title.contains(name)).collect()
}

/// When the module of the quickstart was last begun to be sent.
fn begun(playground: &Playground) -> Value {
    playground.namespace().get(&playground.resource())["status"]["artifacts"][0]["startedAt"].clone()
}

/// A device outside gets a module that nobody has asked for before.
fn serves(playground: &Playground, reference: &str) {
    playground.push(reference, &module(10_000));
    let fetched = playground.fetch(playground.namespace().name(), reference).unwrap();
    assert!(fetched == module(10_000), "{reference} has other bytes");
}

/// Somebody leads: what belongs to a worker is there again when it was deleted.
fn is_led(playground: &Playground) {
    let role = format!("role/{}-wasmproxy", playground.namespace().name());
    playground.namespace().kubectl(&["delete", &role]);
    playground.namespace().wait("create", &role);
}

#[test]
fn workers_go_on_without_the_release_until_one_of_another_name_takes_them_over() {
    let cluster = Cluster::alone();
    cluster.install(&[]);
    helm(&["test", RELEASE, "-n", SYSTEM]);
    let playground = Playground::new(&cluster, "uninstalled");
    playground.quickstart();
    let (worker, sent) = (playground.worker(), begun(&playground));

    uninstall(RELEASE);
    assert_eq!(leftovers_beside(&playground), [DEFINITION]);
    serves(&playground, "wasm/without:1");

    helm(&["install", "other", CHART, "-n", SYSTEM, "--take-ownership", "--wait"]);
    is_led(&playground);
    serves(&playground, "wasm/with:1");
    assert_eq!(life(&playground.worker()), life(&worker), "nobody has touched the worker");
    assert_eq!(begun(&playground), sent, "nothing is sent twice");
}

#[test]
fn a_release_that_keeps_no_definition_leaves_nothing_at_all() {
    let cluster = Cluster::alone();
    cluster.install(&["--set", "crds.keep=false"]);
    let playground = Playground::new(&cluster, "nothing");
    playground.quickstart();
    let namespace = playground.namespace();
    // A definition is known for half a minute until the cluster collects what its resources leave behind.
    namespace.kubectl(&["delete", &playground.resource()]);
    namespace.wait("delete", &deployment(&playground));
    playground.quickstart();

    uninstall(RELEASE);
    without_worker(&playground);
    assert_eq!(leftovers_beside(&playground), [""; 0]);
    let left = namespace.kubectl(&["get", "deployments,serviceaccounts,roles,rolebindings", "-o", "name"]);
    assert!(!left.contains("wasmproxy"), "{left}");
}

#[test]
fn an_upgrade_and_a_rollback_in_the_middle_of_transfers_cost_devices_nothing() {
    let cluster = Cluster::alone();
    helm(&["install", RELEASE, PREVIOUS, "-n", SYSTEM, "--create-namespace", "--wait"]);
    let midway = Midway::new(&cluster, "upgraded");
    let before = midway.worker();
    let (image, id) =
        (image(&before), before["status"]["containerStatuses"][0]["imageID"].as_str().unwrap().to_owned());
    midway.begin();

    // Workers roll because the image has another name; there is one image only.
    upgrade(&["--set", &format!("workers.image={id}")]);
    until_rolled(&midway, &id);
    midway.let_go();
    midway.until_fetched();

    helm(&["rollback", RELEASE, "-n", SYSTEM, "--wait"]);
    until_rolled(&midway, &image);
    let playground = midway.playground();
    playground.namespace().wait("condition=Ready", &playground.resource());
    serves(playground, "wasm/back:1");
}

/// Waits until the worker's Pod runs this image.
fn until_rolled(midway: &Midway, image: &str) {
    let (namespace, deployment) = (midway.namespace(), deployment(midway.playground()));
    namespace.wait(&format!("jsonpath={{.spec.template.spec.containers[0].image}}={image}"), &deployment);
    namespace.kubectl(&["rollout", "status", &deployment, "--timeout=2m"]);
    assert_eq!(self::image(&midway.worker()), image);
}

/// The image that a Pod is to run.
fn image(pod: &Value) -> String {
    pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
}

#[test]
fn a_release_for_some_namespaces_serves_those_and_may_do_nothing_in_others() {
    let cluster = Cluster::alone();
    let served = Playground::new(&cluster, "served");
    let elsewhere = cluster.namespace("elsewhere");
    let namespaces = format!("namespaces={{{}}}", served.namespace().name());
    cluster.install(&["--set", &namespaces]);
    elsewhere.apply_example("quickstart.yaml", "quickstart");
    served.quickstart();
    serves(&served, "wasm/some:1");

    let untouched = elsewhere.get(&format!("wp/{}", elsewhere.name()));
    assert_eq!(untouched["status"]["observedGeneration"], -1, "{untouched:#}");
    let controller = format!("--as=system:serviceaccount:{SYSTEM}:{RELEASE}");
    for (verb, kind) in [("list", "wasmproxies"), ("list", "pods"), ("create", "deployments"), ("get", "secrets")] {
        let may = attempt("kubectl", &["auth", "can-i", verb, kind, "-n", elsewhere.name(), &controller], "");
        assert!(may.is_err_and(|said| said.contains("no\n")), "{verb} {kind}");
    }
    let said = kubectl(&["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/component=controller", "--tail=-1"]);
    assert!(said.contains(" INFO ") && !said.contains(" WARN ") && !said.contains(" ERROR "), "{said}");
}

#[test]
fn workers_move_into_the_controller_and_back_by_an_upgrade() {
    let cluster = Cluster::alone();
    cluster.install(&[]);
    let playground = Playground::new(&cluster, "moved");
    playground.quickstart();
    let (namespace, sent) = (playground.namespace(), begun(&playground));
    let deployment = deployment(&playground);

    upgrade(&["--set", "workers.mode=in-process"]);
    namespace.wait("delete", &deployment);
    without_worker(&playground);
    serves(&playground, "wasm/inside:1");

    upgrade(&["--set", "workers.mode=pods"]);
    namespace.wait("create", &deployment);
    namespace.kubectl(&["rollout", "status", &deployment, "--timeout=2m"]);
    serves(&playground, "wasm/outside:1");
    namespace.wait("condition=Ready", &playground.resource());
    assert_eq!(begun(&playground), sent, "nothing is sent twice");
}

#[test]
fn plain_manifests_install_what_the_chart_does_and_take_it_away_again() {
    let cluster = Cluster::alone();
    kubectl(&["apply", "-f", MANIFESTS]);
    kubectl(&["rollout", "status", "-n", SYSTEM, "deployment", RELEASE, "--timeout=2m"]);
    let playground = Playground::new(&cluster, "plain");
    playground.quickstart();
    serves(&playground, "wasm/plain:1");
    kubectl(&["delete", "-f", MANIFESTS]);
    assert_eq!(leftovers_beside(&playground), [""; 0]);
}
