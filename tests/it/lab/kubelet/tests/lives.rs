//! How Pods begin and end.

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use super::{Site, first, is_ready, script, waits_for};
use crate::{
    lab::{Broker, Registry},
    waiting::soon,
};

/// A worker without a resource between these two, with restricted rights.
fn worker(broker: &Broker, registry: &Registry) -> Value {
    let env = [
        ("PROXY_MQTT_ADDRESS", broker.url()),
        ("PROXY_REGISTRY_URL", format!("http://{}", registry.host())),
        ("PROXY_CHANNEL_ID", "floor".to_owned()),
    ];
    let env: Vec<_> = env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let get = |path| json!({"httpGet": {"path": path, "port": "http"}});
    let restricted = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
    });
    json!({
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
        "terminationGracePeriodSeconds": 15,
        "containers": [{
            "name": "worker", "image": "wasmproxy", "args": ["worker"], "env": env, "securityContext": restricted,
            "ports": [{"name": "http", "containerPort": 9191}],
            "livenessProbe": get("/healthz"), "readinessProbe": get("/readyz"),
        }],
    })
}

#[tokio::test]
async fn a_worker_runs_in_a_pod_and_ends_with_it() {
    let (site, broker, registry) = tokio::join!(Site::start(), Broker::start(), Registry::start());
    site.pod("line", worker(&broker, &registry)).await;
    let status = site.until("line", is_ready).await;
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(first(&status).unwrap().ready);
    let worker = site.kubelet.running("line").await;
    worker.line("starting").await;

    site.delete("line").await;
    assert_eq!(worker.ended().await, 0);
    worker.line("ended").await;
    site.until_gone("line").await;
}

#[tokio::test]
async fn a_pod_is_ready_while_its_probe_says_so() {
    let (site, mut broker, registry) = tokio::join!(Site::start(), Broker::start(), Registry::start());
    site.pod("line", worker(&broker, &registry)).await;
    site.until("line", is_ready).await;
    broker.stop();
    site.until("line", |status| !is_ready(status)).await;
    broker.start_again().await;
    let status = site.until("line", is_ready).await;
    assert_eq!(first(&status).unwrap().restart_count, 0);
}

#[tokio::test]
async fn a_deployment_that_recreates_never_runs_two_pods_at_once() {
    let (site, broker, registry) = tokio::join!(Site::start(), Broker::start(), Registry::start());
    let mut spec = worker(&broker, &registry);
    let labels = json!({"app": "line"});
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "line"},
        "spec": {
            "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    let parameters = PatchParams::apply("user");
    let mut known = Vec::new();
    for channel in ["one", "two", "three"] {
        spec["containers"][0]["env"][2]["value"] = channel.into();
        deployment["spec"]["template"]["spec"] = spec.clone();
        let applied = site.deployments().patch("line", &parameters, &Patch::Apply(&deployment)).await.unwrap();
        let generation = applied.metadata.generation;
        let is_available = |deployment: Option<&k8s_openapi::api::apps::v1::Deployment>| {
            deployment.and_then(|deployment| deployment.status.as_ref()).is_some_and(|status| {
                status.observed_generation == generation
                    && (status.updated_replicas, status.available_replicas) == (Some(1), Some(1))
            })
        };
        soon("the Deployment", await_condition(site.deployments(), "line", is_available)).await.unwrap();
        let worker = site.kubelet.running_after("line-", &known).await;
        worker.line(&format!("channels/{channel}/")).await;
        known.push(worker);
    }
    assert_eq!((site.kubelet.containers("line-").len(), site.kubelet.most_at_once("line-")), (3, 1));
}

#[tokio::test]
async fn a_pod_that_does_not_end_in_time_is_killed() {
    let site = Site::start().await;
    let stubborn = "trap '' TERM; echo waiting; while :; do sleep 0.2; done";
    let container = json!({"name": "worker", "image": "wasmproxy", "command": ["sh", "-c", stubborn]});
    site.pod("line", json!({"terminationGracePeriodSeconds": 1, "containers": [container]})).await;
    let worker = site.kubelet.running("line").await;
    worker.line("waiting").await;
    site.delete("line").await;
    assert_eq!(worker.ended().await, 128 + 9);
    site.until_gone("line").await;
}

#[tokio::test]
async fn a_pod_that_is_deleted_by_force_ends_as_well() {
    let site = Site::start().await;
    site.pod("line", json!({"containers": [script("worker", "")]})).await;
    let worker = site.kubelet.running("line").await;
    worker.line("waiting").await;
    site.pods().delete("line", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(worker.ended().await, 0);
}

#[tokio::test]
async fn after_a_power_cut_pods_are_there_and_are_started_again() {
    let mut site = Site::start().await;
    site.pod("line", json!({"containers": [script("worker", "")]})).await;
    let worker = site.kubelet.running("line").await;
    site.until("line", is_ready).await;
    site.kubelet.cut_power().await;
    assert_eq!(worker.ended().await, 128 + 9);
    assert!(is_ready(&site.pods().get("line").await.unwrap().status.unwrap()), "nobody has said anything else");

    site.kubelet.power_on();
    site.kubelet.running_after("line", &[worker]).await;
    site.until("line", |status| first(status).is_some_and(|worker| worker.restart_count == 1) && is_ready(status))
        .await;
}

#[tokio::test]
async fn a_node_is_ready_and_alive_until_it_is_stopped() {
    let site = Site::start().await;
    site.pod("line", json!({"containers": [script("worker", "")]})).await;
    let worker = site.kubelet.running("line").await;
    let nodes: Api<Node> = Api::all(site.client.clone());
    let name = site.kubelet.node().to_owned();
    assert_eq!(site.pods().get("line").await.unwrap().spec.unwrap().node_name.as_ref(), Some(&name));
    let is_untainted =
        |node: Option<&Node>| node.is_some_and(|node| node.spec.as_ref().is_none_or(|spec| spec.taints.is_none()));
    soon("a node that is found ready", await_condition(nodes.clone(), &name, is_untainted)).await.unwrap();

    site.kubelet.stop().await;
    assert!(!worker.is_running());
    assert!(nodes.get_opt(&name).await.unwrap().is_none());
}

#[tokio::test]
async fn what_it_does_not_know_is_refused() {
    let site = Site::start().await;
    let mut container = script("worker", "");
    container["lifecycle"] = json!({"preStop": {"sleep": {"seconds": 1}}});
    let pod = json!({"metadata": {"name": "line"}, "spec": {"containers": [container]}});
    site.pods().create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let status = site.until("line", |status| waits_for(status) == Some("CreateContainerConfigError")).await;
    let message = first(&status).unwrap().state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(message.contains("lifecycle"), "{message}");
    site.delete("line").await;
    site.until_gone("line").await;
}
