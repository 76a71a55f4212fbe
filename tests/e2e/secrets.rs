//! Secrets that change, and Secrets that are missing.

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::{
    harness::{
        Cluster, Namespace, Playground,
        shell::{apply, read},
    },
    midway::Midway,
    status::{condition, is_ready, life},
};

/// Another user of the broker, and its password, as `mosquitto_passwd` writes it.
const NEXT: (&str, &str, &str) = (
    "next",
    "change-me-too",
    "$7$101$JadW2y3z6fImwqld$GMCK0zeqSmiQx+LLpNgNxgXrJBSiUQlFzrtf6eZscWDy6Zh1ThOwN/iWtwryRQ6rUzsb6+sknh1vz/kzbTNnFg==",
);

/// Tells the broker of the other user, beside those that it knows.
fn admit_next(namespace: &Namespace) {
    let secret = namespace.get("secret/broker-server");
    let users = BASE64.decode(secret["data"]["users"].as_str().unwrap().as_bytes()).unwrap();
    let users = String::from_utf8(users).unwrap() + NEXT.0 + ":" + NEXT.2 + "\n";
    patch(namespace, "secret/broker-server", &json!({"stringData": {"users": users}}));
    namespace.kubectl(&["rollout", "restart", "deployment/broker"]);
    namespace.kubectl(&["rollout", "status", "deployment/broker", "--timeout=2m"]);
}

fn patch(namespace: &Namespace, object: &str, patch: &Value) {
    namespace.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]);
}

#[test]
fn a_rotated_password_is_taken_up_midway_by_the_same_pod_and_no_chunk_is_lost() {
    let cluster = Cluster::with_operator();
    let midway = Midway::new(&cluster, "rotated");
    let namespace = midway.namespace();
    admit_next(namespace);
    midway.begin();
    let worker = midway.worker();

    let mut watch = namespace.watch(&midway.resource());
    let connected = |resource: &Value| resource["status"]["broker"]["connectedSince"].clone();
    let since = connected(&watch.until("the worker is connected", |resource| !connected(resource).is_null()));
    patch(namespace, "secret/broker", &json!({"stringData": {"username": NEXT.0, "password": NEXT.1}}));
    // As soon as the kubelet has looked at it, which may be a minute and a half.
    watch.until("it has connected anew", |resource| ![since.clone(), Value::Null].contains(&connected(resource)));
    let broker = namespace.kubectl(&["logs", "deployment/broker"]);
    assert!(broker.contains(&format!("u'{}'", NEXT.0)), "{broker}");

    midway.let_go();
    midway.until_received();
    assert_eq!(life(&midway.worker()), life(&worker), "there was nothing to restart");
}

#[test]
fn a_secret_that_is_missing_is_named_and_used_by_the_same_pod_once_it_is_there() {
    let cluster = Cluster::with_operator();
    let playground = Playground::new(&cluster, "missing");
    let namespace = playground.namespace();
    let quickstart = read("examples/quickstart.yaml").replace("quickstart", namespace.name());
    let (secrets, others): (Vec<_>, Vec<_>) =
        quickstart.split("\n---\n").partition(|object| object.contains("kind: Secret"));
    apply(&others.join("\n---\n"));

    let mut watch = namespace.watch(&playground.resource());
    let without = watch.until("it says that a Secret is missing", |resource| {
        condition(resource, "Ready") == Some(("False", "SecretNotFound"))
    });
    assert_eq!(condition(&without, "RegistryReady"), Some(("False", "SecretNotFound")));
    let shown = without["status"]["conditions"].to_string();
    assert!(
        shown.contains("Secret broker does not exist") && shown.contains("Secret registry does not exist"),
        "{shown}"
    );
    // It runs, and waits: no Pod hangs for want of a Secret.
    assert_eq!(condition(&without, "WorkerAvailable"), Some(("True", "Succeeded")));
    let worker = playground.worker();

    apply(&secrets.join("\n---\n"));
    watch.until("it is ready", is_ready);
    assert_eq!(life(&playground.worker()), life(&worker));
}
