//! How the worker is run.

use serde_json::{Value, json};

use super::{accepted, refused};

async fn accepted_worker(worker: Value) -> Value {
    accepted(json!({"spec": {"worker": worker}})).await["spec"]["worker"].clone()
}

async fn refused_worker(worker: Value, sentence: &str) {
    refused(json!({"spec": {"worker": worker}}), sentence).await;
}

#[tokio::test]
async fn the_controller_runs_it_unless_said() {
    assert_eq!(accepted_worker(json!({})).await, json!({"management": "Managed"}));
}

#[tokio::test]
async fn a_worker_of_ones_own_has_a_service_account() {
    let external = json!({"management": "External", "serviceAccountName": "gateway.floor"});
    assert_eq!(accepted_worker(external.clone()).await, external);
    refused_worker(
        json!({"management": "External"}),
        "worker.management External needs worker.serviceAccountName: the service account that your own worker runs as",
    )
    .await;
}

#[tokio::test]
async fn a_managed_worker_has_no_service_account_of_ones_own() {
    let sentence =
        "worker.serviceAccountName is for management External: a Managed worker has a service account of its own";
    refused_worker(json!({"serviceAccountName": "mine"}), sentence).await;
    refused_worker(json!({"management": "Managed", "serviceAccountName": "mine"}), sentence).await;
}

#[tokio::test]
async fn a_service_account_that_cannot_be_one() {
    for name in ["", "Mine", "mine_too", "-mine", "system:serviceaccount:edge:mine"] {
        refused_worker(
            json!({"management": "External", "serviceAccountName": name}),
            "worker.serviceAccountName must be that of a ServiceAccount: lower-case letters, digits, - and ., with a letter or digit at either end",
        )
        .await;
    }
}

#[tokio::test]
async fn a_pod_of_ones_own_is_not_shaped_here() {
    for field in [
        json!({"resources": {}}),
        json!({"nodeSelector": {}}),
        json!({"tolerations": []}),
        json!({"affinity": {}}),
        json!({"podLabels": {}}),
        json!({"podAnnotations": {}}),
        json!({"imagePullSecrets": []}),
    ] {
        let mut worker = json!({"management": "External", "serviceAccountName": "mine"});
        super::merge(&mut worker, field);
        refused_worker(
            worker,
            "worker.management External means a Pod of your own: set resources, nodeSelector and the like there, not here",
        )
        .await;
    }
}

#[tokio::test]
async fn resources_are_quantities() {
    accepted_worker(json!({"resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": 1}}})).await;
    let sentence = "worker.resources holds quantities, as in cpu: 100m and memory: 128Mi";
    refused_worker(json!({"resources": {"limits": {"memory": "lots"}}}), sentence).await;
    refused_worker(json!({"resources": {"requests": {"cpu": "one"}}}), sentence).await;
}

#[tokio::test]
async fn labels_of_pods_are_labels() {
    accepted_worker(json!({"podLabels": {"team": "", "example.com/team": "floor_1.a-B"}})).await;
    for key in ["", "a b", "/team", "Example.com/team", "a/b/c", &"k".repeat(64)] {
        refused_worker(
            json!({"podLabels": {key: "floor"}}),
            "worker.podLabels has a key that is none: as in example.com/team, at most 63 characters after the slash",
        )
        .await;
    }
    for value in ["floor 1", "-floor", "floor/1"] {
        refused_worker(
            json!({"podLabels": {"team": value}}),
            "worker.podLabels has a value that is none: letters, digits, -, _ and ., with a letter or digit at either end",
        )
        .await;
    }
}

#[tokio::test]
async fn labels_of_pods_that_are_ours() {
    for key in ["wasmproxy.io/resource", "wasmproxy.io/other", "app.kubernetes.io/name", "app.kubernetes.io/component"]
    {
        refused_worker(
            json!({"podLabels": {key: "mine"}}),
            "worker.podLabels must leave wasmproxy.io/… and app.kubernetes.io/name, instance, component and managed-by to the controller",
        )
        .await;
    }
    accepted_worker(json!({"podLabels": {"app.kubernetes.io/part-of": "factory"}})).await;
}

#[tokio::test]
async fn annotations_of_pods_are_annotations() {
    accepted_worker(json!({"podAnnotations": {"example.com/pager": "who is on call, and why"}})).await;
    refused_worker(
        json!({"podAnnotations": {"a b": ""}}),
        "worker.podAnnotations has a key that is none: as in example.com/team, at most 63 characters after the slash",
    )
    .await;
    refused_worker(
        json!({"podAnnotations": {"wasmproxy.io/template": "mine"}}),
        "worker.podAnnotations must leave wasmproxy.io/… to the controller",
    )
    .await;
}

#[tokio::test]
async fn a_cache_is_between_a_mebibyte_and_a_tebibyte() {
    let cache = |size: Value| json!({"spec": {"limits": {"cacheSize": size}}});
    for size in [json!("1Mi"), json!("1Ti"), json!("512M"), json!(1_048_576)] {
        accepted(cache(size)).await;
    }
    for size in [json!("1023Ki"), json!("1025Gi"), json!("-1"), json!("some"), json!("1.5Gi"), json!("")] {
        refused(
            cache(size),
            "limits.cacheSize must be a whole number of bytes between 1Mi and 1Ti, as in 512Mi or 1Gi",
        )
        .await;
    }
}
