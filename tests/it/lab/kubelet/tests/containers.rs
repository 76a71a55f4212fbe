//! What containers are given, and how they are looked after.

use serde_json::json;

use super::{Site, first, is_ready, script, waits_for};
use crate::lab::kubelet::sandbox::is_root;

#[tokio::test]
async fn a_container_has_what_its_pod_says_and_no_more() {
    let site = Site::start().await;
    let mut container = script(
        "worker",
        "echo user $(id -u):$(id -g) groups $(id -G)\n\
         echo host $(hostname) at $ADDRESS on $NODE by $WASMPROXY_HTTP_HOST\n\
         touch /tmp/file 2> /dev/null || echo read-only root\n\
         touch /cache/file && echo writable cache\n\
         grep CapBnd /proc/self/status\n\
         grep NoNewPrivs /proc/self/status",
    );
    let field = |name, path| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    container["env"] = json!([field("ADDRESS", "status.podIP"), field("NODE", "spec.nodeName")]);
    container["volumeMounts"] = json!([{"name": "cache", "mountPath": "/cache"}]);
    container["securityContext"] = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
    });
    site.pod(
        "line",
        json!({
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65533},
            "volumes": [{"name": "cache", "emptyDir": {}}],
            "containers": [container],
        }),
    )
    .await;
    let worker = site.kubelet.running("line").await;
    worker.line("waiting").await;
    let address = site.until("line", is_ready).await.pod_ip.unwrap();
    if is_root() {
        worker.line("user 65532:65532 groups 65532 65533").await;
    }
    worker.line(&format!("host line at {address} on {} by {address}", site.kubelet.node())).await;
    worker.line("read-only root").await;
    worker.line("writable cache").await;
    worker.line("CapBnd:\t0000000000000000").await;
    worker.line("NoNewPrivs:\t1").await;
}

#[tokio::test]
async fn a_container_that_fails_is_started_again_more_and_more_slowly_and_its_last_words_are_kept() {
    let site = Site::start().await;
    let failing = json!({"name": "worker", "image": "wasmproxy", "args": ["worker"],
        "terminationMessagePolicy": "FallbackToLogsOnError"});
    site.pod("line", json!({"containers": [failing]})).await;
    let fails = |status: &_| waits_for(status) == Some("CrashLoopBackOff") && first(status).unwrap().restart_count >= 2;
    let status = site.until("line", fails).await;
    let last = first(&status).unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (2, Some("Error")));
    let message = last.message.unwrap();
    assert!(message.contains("PROXY_REGISTRY_URL"), "{message}");
    assert!(!is_ready(&status));

    site.delete("line").await;
    site.until_gone("line").await;
}

#[tokio::test]
async fn a_container_that_is_killed_is_another_one_afterwards() {
    let site = Site::start().await;
    site.pod("line", json!({"containers": [script("worker", "")]})).await;
    let before = site.kubelet.running("line").await;
    before.signal("KILL");
    assert_eq!(before.ended().await, 128 + 9);
    let after = site.kubelet.running_after("line", &[before]).await;
    after.line("waiting").await;
    let again = |status: &_| is_ready(status) && first(status).unwrap().restart_count == 1;
    let status = site.until("line", again).await;
    let last = first(&status).unwrap().last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (137, Some(9)));
    assert_eq!(site.kubelet.most_at_once("line"), 1);
}

#[tokio::test]
async fn a_container_that_does_not_answer_any_more_is_killed_and_started_again() {
    let site = Site::start().await;
    let env = [
        ("PROXY_MQTT_ADDRESS", "tcp://127.0.0.1:1"),
        ("PROXY_REGISTRY_URL", "127.0.0.1:1"),
        ("PROXY_CHANNEL_ID", "floor"),
    ];
    let env = env.map(|(name, value)| json!({"name": name, "value": value}));
    let probe = json!({"httpGet": {"path": "/healthz", "port": 9191}, "periodSeconds": 1, "failureThreshold": 2});
    let container =
        json!({"name": "worker", "image": "wasmproxy", "args": ["worker"], "env": env, "livenessProbe": probe});
    site.pod("line", json!({"terminationGracePeriodSeconds": 1, "containers": [container]})).await;
    let worker = site.kubelet.running("line").await;
    worker.line("starting").await;
    worker.signal("STOP");
    assert_eq!(worker.ended().await, 128 + 9);
    site.kubelet.running_after("line", &[worker]).await.line("starting").await;
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_said() {
    let site = Site::start().await;
    let mut container = script("worker", "");
    container["image"] = "missing/wasmproxy:1".into();
    site.pod("line", json!({"containers": [container]})).await;
    site.until("line", |status| waits_for(status) == Some("ErrImagePull")).await;
    let status = site.until("line", |status| waits_for(status) == Some("ImagePullBackOff")).await;
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert!(site.kubelet.containers("line").is_empty());
}

#[tokio::test]
async fn sidecars_run_beside_the_container_and_end_after_it() {
    let site = Site::start().await;
    let mut sidecar = script("sidecar", "");
    sidecar["restartPolicy"] = "Always".into();
    let (app, other) = (script("app", ""), script("other", ""));
    site.pod("line", json!({"initContainers": [sidecar], "containers": [app, other]})).await;
    let status = site.until("line", is_ready).await;
    assert_eq!((status.container_statuses.unwrap().len(), status.init_container_statuses.unwrap().len()), (2, 1));
    let containers = site.kubelet.containers("line");
    assert_eq!(containers[0].name(), "sidecar");
    assert_eq!(site.kubelet.most_at_once("line"), 3);
    for container in &containers {
        container.line("waiting").await;
    }

    site.delete("line").await;
    assert_eq!(containers[0].ended().await, 0);
    assert!(containers.iter().all(|container| !container.is_running()));
}
