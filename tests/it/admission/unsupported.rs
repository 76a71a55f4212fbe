//! What the schema holds and no worker does: refused, never ignored.

use serde_json::{Value, json};

use super::refused;

async fn worker(worker: Value, sentence: &str) {
    refused(json!({"spec": {"worker": worker}}), sentence).await;
}

#[tokio::test]
async fn signatures() {
    let sentence = "verify: signatures are not checked, because that is not supported yet";
    let identity = json!({"issuer": "^https://issuer$", "subject": "^someone$"});
    for verify in [
        json!({}),
        json!({"provider": "cosign", "secretRef": {"name": "keys"}}),
        json!({"matchOIDCIdentity": [identity], "trustedRootSecretRef": {"name": "root"}}),
    ] {
        refused(json!({"spec": {"verify": verify}}), sentence).await;
    }
}

#[tokio::test]
async fn a_cache() {
    let sentence = "limits.cacheSize: a cache of its own for each resource is not supported yet, use --cache-dir of the controller";
    refused(json!({"spec": {"limits": {"cacheSize": "1Gi"}}}), sentence).await;
}

#[tokio::test]
async fn a_limit_on_the_rate_of_requests() {
    let sentence = "limits.requestsPerSecond: a limit on the rate of requests is not supported yet";
    refused(json!({"spec": {"limits": {"requestsPerSecond": 50}}}), sentence).await;
}

#[tokio::test]
async fn external_workers() {
    let sentence = "worker.management: Managed is the only choice, External is not supported yet";
    worker(json!({"management": "External"}), sentence).await;
}

#[tokio::test]
async fn service_accounts() {
    let sentence = "worker.serviceAccountName: a service account of one's own is not supported yet";
    worker(json!({"serviceAccountName": "mine"}), sentence).await;
}

#[tokio::test]
async fn resources() {
    let sentence = "worker.resources: a Pod for each worker is not supported yet";
    worker(json!({"resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": 1}}}), sentence).await;
}

#[tokio::test]
async fn node_selectors() {
    let sentence = "worker.nodeSelector: a Pod for each worker is not supported yet";
    worker(json!({"nodeSelector": {"kubernetes.io/arch": "arm64"}}), sentence).await;
}

#[tokio::test]
async fn tolerations() {
    let sentence = "worker.tolerations: a Pod for each worker is not supported yet";
    worker(json!({"tolerations": [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}]}), sentence).await;
}

#[tokio::test]
async fn affinity() {
    let sentence = "worker.affinity: a Pod for each worker is not supported yet";
    worker(json!({"affinity": {"podAntiAffinity": {}}}), sentence).await;
}

#[tokio::test]
async fn labels_of_pods() {
    worker(json!({"podLabels": {"a": "b"}}), "worker.podLabels: a Pod for each worker is not supported yet").await;
}

#[tokio::test]
async fn annotations_of_pods() {
    worker(json!({"podAnnotations": {"a": "b"}}), "worker.podAnnotations: a Pod for each worker is not supported yet")
        .await;
}

#[tokio::test]
async fn image_pull_secrets() {
    let sentence = "worker.imagePullSecrets: a Pod for each worker is not supported yet";
    worker(json!({"imagePullSecrets": [{"name": "pull"}]}), sentence).await;
}
