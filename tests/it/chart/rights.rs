//! The roles of the chart are what the code declares, no less and no more.

use serde_json::{Value, json};
use wasmproxy::controller::{PodOptions, WorkerMode, rights};

use super::{of_kind, render, text, values};

/// The modes, as the chart calls them.
fn modes() -> [(&'static str, WorkerMode); 2] {
    let pods = PodOptions { image: "image".into(), rollout: PodOptions::ROLLOUT };
    [("pods", WorkerMode::Pods(pods)), ("in-process", WorkerMode::InProcess)]
}

/// The rules of the role to which the controller is bound by the binding of this kind, in this namespace and of this name.
fn granted<'a>(objects: &'a [Value], kind: &str, namespace: &str, name: &str) -> &'a Value {
    let is_it =
        |object: &&&Value| text(object, "/metadata/namespace") == namespace && text(object, "/metadata/name") == name;
    let bindings = of_kind(objects, &format!("{kind}Binding"));
    let binding = bindings.iter().find(is_it).unwrap_or_else(|| panic!("{kind}Binding {namespace}/{name}"));
    let account = json!([{"kind": "ServiceAccount", "name": "wasmproxy", "namespace": "wasmproxy-system"}]);
    assert_eq!(binding["subjects"], account);
    assert_eq!(binding["roleRef"], json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}));
    &of_kind(objects, kind).into_iter().find(|object| is_it(&object)).unwrap()["rules"]
}

#[tokio::test]
async fn the_controller_may_do_in_all_namespaces_what_the_code_declares() {
    for (mode, workers) in modes() {
        let objects = render(&[&format!("--set=workers.mode={mode}")]).await;
        let everywhere = granted(&objects, "ClusterRole", "", "wasmproxy-wasmproxy-system");
        assert_eq!(*everywhere, json!(rights::of_resources(&workers)), "{mode}");
        let itself = granted(&objects, "Role", "wasmproxy-system", "wasmproxy-self");
        assert_eq!(*itself, json!(rights::of_itself(&workers)), "{mode}");
        assert_eq!((of_kind(&objects, "ClusterRoleBinding").len(), of_kind(&objects, "Role").len()), (1, 1));
    }
}

#[tokio::test]
async fn the_controller_may_do_in_some_namespaces_the_same_and_nothing_elsewhere() {
    // Its own namespace may be among them.
    let namespaces = "--set=namespaces={edge,wasmproxy-system}";
    for (mode, workers) in modes() {
        let objects = render(&[namespaces, &format!("--set=workers.mode={mode}")]).await;
        for namespace in ["edge", "wasmproxy-system"] {
            let there = granted(&objects, "Role", namespace, "wasmproxy-controller");
            assert_eq!(*there, json!(rights::of_resources(&workers)), "{mode} {namespace}");
        }
        let itself = granted(&objects, "Role", "wasmproxy-system", "wasmproxy-self");
        assert_eq!(*itself, json!(rights::of_itself(&workers)), "{mode}");
        assert_eq!((of_kind(&objects, "ClusterRoleBinding").len(), of_kind(&objects, "RoleBinding").len()), (0, 3));
    }
}

#[tokio::test]
async fn without_leader_election_there_is_no_right_to_leases() {
    let alone = ["--set=leaderElection.enabled=false", "--set=replicas=1"];
    let objects = render(&alone).await;
    let of_pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    assert_eq!(*granted(&objects, "Role", "wasmproxy-system", "wasmproxy-self"), of_pods);
    let objects = render(&[&alone[..], &["--set=workers.mode=in-process"]].concat()).await;
    assert_eq!(of_kind(&objects, "Role"), [&Value::Null; 0]);
}

#[tokio::test]
async fn whoever_administers_some_namespaces_needs_nothing_outside_of_them() {
    let objects = render(&[&values("namespaced")]).await;
    for object in &objects {
        let namespace = text(object, "/metadata/namespace");
        assert!(["wasmproxy-system", "edge", "plant"].contains(&namespace), "{object:#}");
    }
}

#[tokio::test]
async fn people_who_may_edit_or_view_a_namespace_may_do_so_with_its_resources() {
    let objects = render(&[]).await;
    let roles = of_kind(&objects, "ClusterRole");
    let role = |to: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{to}");
        let found: Vec<_> = roles.iter().filter(|role| role["metadata"]["labels"][&label] == "true").collect();
        assert_eq!(found.len(), 1, "{to}");
        found[0]["rules"].clone()
    };
    let read = json!(["get", "list", "watch"]);
    assert_eq!(role("view"), json!([{"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies"], "verbs": read}]));
    assert_eq!(role("edit"), role("admin"));
    let verbs = role("edit")[0]["verbs"].clone();
    assert_eq!(verbs, json!(["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]));
}
