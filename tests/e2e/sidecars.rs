//! `examples/sidecar.yaml` and `examples/sidecar-reporting.yaml`: the worker in the Pod of somebody's application.

use serde_json::Value;

use crate::{
    harness::{Cluster, Namespace, Playground},
    status::{condition, is_ready},
};

/// The example's namespace.
const EXAMPLE: &str = "quickstart";

/// The name of the only Pod of an application.
fn pod(namespace: &Namespace, app: &str) -> String {
    let name = namespace.kubectl(&["get", "pods", "-l", &format!("app={app}"), "-o", "name"]);
    assert_eq!(name.lines().count(), 1, "{name}");
    name.trim().to_owned()
}

/// How it stands with the worker and the application.
fn states(pod: &Value) -> (&Value, &Value) {
    let status = &pod["status"];
    (&status["initContainerStatuses"][0]["state"], &status["containerStatuses"][0]["state"])
}

/// Deletes a Pod, and looks on while it ends.
fn end(namespace: &Namespace, pod: &str) -> Value {
    let mut watch = namespace.watch(pod);
    watch.until("it runs", |pod| states(pod).1["running"].is_object());
    namespace.kubectl(&["delete", pod, "--wait=false"]);
    watch.until("both have ended", |pod| {
        let (worker, application) = states(pod);
        worker["terminated"].is_object() && application["terminated"].is_object()
    })
}

#[test]
fn an_application_starts_after_the_sidecar_is_connected_and_ends_before_it() {
    let cluster = Cluster::with_operator();
    let playground = Playground::new(&cluster, "sidecar");
    let namespace = playground.namespace();
    namespace.kubectl(&["scale", "deployment/broker", "--replicas=0"]);
    namespace.kubectl(&["wait", "--for=delete", "pod", "-l", "app=broker", "--timeout=2m"]);
    namespace.apply_example("sidecar.yaml", EXAMPLE);
    namespace.kubectl(&["wait", "--for=create", "pod", "-l", "app=gateway", "--timeout=2m"]);
    let gateway = pod(namespace, "gateway");
    namespace.watch("events").until("the worker says that it is not ready", |event| {
        let [of, said] =
            [&event["involvedObject"]["name"], &event["message"]].map(|text| text.as_str().unwrap_or_default());
        gateway.ends_with(of) && said.ends_with("probe failed with statuscode: 503")
    });
    let mut watch = namespace.watch(&gateway);
    let waiting = watch.until("the worker runs", |pod| states(pod).0["running"].is_object());
    assert_eq!(states(&waiting).1["waiting"]["reason"], "PodInitializing", "{waiting:#}");

    namespace.kubectl(&["scale", "deployment/broker", "--replicas=1"]);
    watch.until("the application runs", |pod| states(pod).1["running"].is_object());
    assert!(playground.fetch("gateway", "wasm/demo:1").unwrap().starts_with(b"\0asm"));

    let ended = end(namespace, &gateway);
    let (worker, application) = states(&ended);
    // 137 is what the kubelet does to those that do not end in time.
    assert_eq!((&worker["terminated"]["exitCode"], &application["terminated"]["exitCode"]), (&0.into(), &0.into()));
    let finished = |state: &Value| state["terminated"]["finishedAt"].as_str().unwrap().to_owned();
    assert!(finished(application) <= finished(worker), "{ended:#}");
    assert_eq!(ended["status"]["initContainerStatuses"][0]["restartCount"], 0, "{ended:#}");
}

#[test]
fn a_sidecar_reports_into_its_resource_and_is_missed_while_it_is_gone() {
    let cluster = Cluster::with_operator();
    let playground = Playground::new(&cluster, "reporting");
    let namespace = playground.namespace();
    namespace.apply_example("sidecar-reporting.yaml", EXAMPLE);
    namespace.wait("condition=Ready", "wp/monitor");
    namespace.kubectl(&["rollout", "status", "deployment/monitor", "--timeout=2m"]);
    assert!(playground.fetch("monitor", "wasm/demo:1").unwrap().starts_with(b"\0asm"));

    let mut watch = namespace.watch("wp/monitor");
    let told = watch.until("a device has the module", |resource| resource["status"]["receipts"] == 1);
    let status = &told["status"];
    assert_eq!((&status["published"], &status["progress"]), (&"1/1".into(), &"1/1".into()), "{status:#}");
    assert_eq!(condition(&told, "WorkerAvailable"), Some(("True", "ExternalWorker")));
    let columns = namespace.kubectl(&["get", "wp", "monitor", "--no-headers"]);
    assert_eq!(
        columns.split_whitespace().take(6).collect::<Vec<_>>(),
        ["monitor", "monitor", "True", "1/1", "1/1", "1"]
    );

    namespace.kubectl(&["delete", &pod(namespace, "monitor")]);
    watch.until("it is missed", |resource| {
        condition(resource, "WorkerAvailable") == Some(("Unknown", "WorkerUnavailable"))
    });
    let back = watch.until("it is back", is_ready);
    // It remembers by the status.
    assert_eq!(
        (&back["status"]["receipts"], &back["status"]["transfers"]["completed"]),
        (&1.into(), &told["status"]["transfers"]["completed"])
    );
}
