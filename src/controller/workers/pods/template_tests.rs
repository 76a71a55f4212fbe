use serde_json::{Value, json};

use super::*;
use crate::resource::fixtures::resource;

fn pod(spec: Value) -> Value {
    let resource = resource(&spec);
    let template = template(&resource.spec, &Family::of(&resource), "registry.example/wasmproxy:1.2").unwrap();
    serde_json::to_value(template).unwrap()
}

fn container(spec: Value) -> Value {
    pod(spec)["spec"]["containers"][0].clone()
}

#[test]
fn a_worker_is_told_its_resource_and_which_of_that_name_it_is() {
    let container = container(json!({}));
    assert_eq!(container["image"], "registry.example/wasmproxy:1.2");
    assert_eq!(container["args"], json!(["worker", "--resource", "factory-floor"]));
    let env = json!([
        {"name": "WASMPROXY_RESOURCE_UID", "value": "11f0"},
        {"name": "WASMPROXY_MANAGED", "value": "true"},
        {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "WASMPROXY_CACHE_DIR", "value": "/var/cache/wasmproxy"},
        {"name": "WASMPROXY_CACHE_SIZE", "value": "1073741824"},
    ]);
    assert_eq!(container["env"], env);
}

#[test]
fn its_pod_is_found_by_its_labels_and_runs_as_its_own_service_account() {
    let pod = pod(json!({}));
    let labels = json!({
        "app.kubernetes.io/name": "wasmproxy",
        "app.kubernetes.io/instance": "factory-floor",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "wasmproxy",
        "wasmproxy.io/resource": "factory-floor",
    });
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!(pod["spec"]["serviceAccountName"], "factory-floor-wasmproxy");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 15);
    assert_eq!(pod["spec"]["enableServiceLinks"], false);
}

#[test]
fn it_has_no_rights_on_its_node() {
    let pod = pod(json!({}));
    let security = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    assert_eq!(pod["spec"]["securityContext"], security);
    let security = json!({
        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true,
    });
    assert_eq!(pod["spec"]["containers"][0]["securityContext"], security);
}

#[test]
fn every_secret_is_a_folder_of_its_name_that_may_be_missing() {
    let pod = pod(json!({
        "broker": {"url": "mqtts://b", "secretRef": {"name": "broker"}, "certSecretRef": {"name": "tls"}},
        "registry": {"host": "r", "secretRef": {"name": "pull.secret"}, "certSecretRef": {"name": "tls"}},
        "limits": {"cacheSize": "512Mi"},
    }));
    let secret = |name: &str| json!({"secretName": name, "optional": true, "defaultMode": 0o440});
    let volumes = json!([
        {"name": "cache", "emptyDir": {"sizeLimit": "640Mi"}},
        {"name": "secret-0", "secret": secret("broker")},
        {"name": "secret-1", "secret": secret("pull.secret")},
        {"name": "secret-2", "secret": secret("tls")},
    ]);
    assert_eq!(pod["spec"]["volumes"], volumes);
    let secret = |index: u8, name: &str| {
        let path = format!("/run/wasmproxy/secrets/{name}");
        json!({"name": format!("secret-{index}"), "mountPath": path, "readOnly": true})
    };
    let cache = json!({"name": "cache", "mountPath": "/var/cache/wasmproxy"});
    let mounts = json!([cache, secret(0, "broker"), secret(1, "pull.secret"), secret(2, "tls")]);
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"], mounts);
}

#[test]
fn the_kubelet_asks_whether_it_is_well() {
    let container = container(json!({}));
    assert_eq!(container["ports"], json!([{"containerPort": 9191, "name": "http", "protocol": "TCP"}]));
    assert_eq!(container["livenessProbe"]["httpGet"], json!({"path": "/healthz", "port": "http"}));
    assert_eq!(container["readinessProbe"]["httpGet"], json!({"path": "/readyz", "port": "http"}));
}

#[test]
fn it_asks_for_little_and_for_what_its_resource_says() {
    let resources = |said: Value| container(json!({"worker": {"resources": said}}))["resources"].clone();
    assert_eq!(
        resources(json!({})),
        json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}})
    );
    assert_eq!(
        resources(json!({"limits": {"memory": "32Mi"}})),
        json!({"requests": {"cpu": "10m"}, "limits": {"memory": "32Mi"}}),
        "a request beyond the limit is refused"
    );
    assert_eq!(
        resources(json!({"requests": {"memory": "1Gi", "cpu": 1}})),
        json!({"requests": {"cpu": "1", "memory": "1Gi"}}),
        "so is a limit below the request"
    );
}

#[test]
fn the_rest_is_as_the_resource_says() {
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}},
    ]}});
    let pod = pod(json!({"worker": {
        "nodeSelector": {"kubernetes.io/arch": "arm64"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "affinity": affinity,
        "podLabels": {"team": "floor", "wasmproxy.io/resource": "other"},
        "podAnnotations": {"example.com/pager": "on call"},
        "imagePullSecrets": [{"name": "images"}],
    }}));
    assert_eq!(pod["spec"]["nodeSelector"], json!({"kubernetes.io/arch": "arm64"}));
    assert_eq!(pod["spec"]["tolerations"], json!([{"key": "edge", "operator": "Exists"}]));
    assert_eq!(pod["spec"]["affinity"], affinity);
    assert_eq!(pod["metadata"]["labels"]["team"], "floor");
    assert_eq!(pod["metadata"]["labels"]["wasmproxy.io/resource"], "factory-floor", "ours stay ours");
    assert_eq!(pod["metadata"]["annotations"], json!({"example.com/pager": "on call"}));
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "images"}]));
}

#[test]
fn what_the_worker_sees_in_its_resource_is_not_in_its_pod() {
    let before = pod(json!({}));
    for spec in [
        json!({"artifacts": [{"reference": "wasm/add:1.2"}]}),
        json!({"channel": {"id": "floor-2"}}),
        json!({"broker": {"url": "mqtts://other.example"}}),
        json!({"pace": "1M"}),
    ] {
        assert_eq!(pod(spec), before);
    }
}
