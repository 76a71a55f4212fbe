//! The roles of the chart are what the code declares, no less and no more.

use k8s_openapi::api::rbac::v1::{ClusterRole, RoleBinding};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, from_value, json};
use wasmproxy::controller::{PodOptions, WorkerMode, rights};

use super::{of_kind, render, text, values};
use crate::{
    lab::{Administrator, ControlPlane, chart},
    waiting::soon,
};

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
    let rules = |to: &str| {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{to}");
        let found = roles.iter().filter(|role| role["metadata"]["labels"][&label] == "true");
        found.flat_map(|role| role["rules"].as_array().unwrap().clone()).collect::<Vec<_>>()
    };
    let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["wasmproxy.io"], "resources": [resource], "verbs": verbs});
    let write = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    assert_eq!(rules("view"), [rule("wasmproxies", &["get", "list", "watch"])]);
    assert_eq!(rules("edit"), [rule("wasmproxies", &write)]);
    assert!(rules("admin").contains(&rules("edit")[0]));
}

#[tokio::test]
async fn whoever_administers_some_namespaces_can_install_a_release_for_them() {
    let control_plane = ControlPlane::shared().await;
    let (client, administrator) = (control_plane.client().await, Administrator::of(control_plane));
    let (home, served) = (control_plane.namespace("home").await, control_plane.namespace("served").await);
    let admin = json!({
        "metadata": {"name": "admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": home}],
    });
    for namespace in [&home, &served] {
        let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        bindings.create(&PostParams::default(), &from_value(admin.clone()).unwrap()).await.unwrap();
    }
    // What somebody else has installed for the whole cluster.
    let roles: Api<ClusterRole> = Api::all(client);
    let everybodys = ["--show-only=templates/aggregated-roles.yaml", &format!("--set=fullnameOverride={home}")];
    for role in of_kind(&render(&everybodys).await, "ClusterRole") {
        let apply = PatchParams::apply("test").force();
        roles.patch(text(role, "/metadata/name"), &apply, &Patch::Apply(role)).await.unwrap();
    }
    let gathered = |role: Option<&ClusterRole>| {
        let rules = role.and_then(|role| role.rules.as_ref()).into_iter().flatten();
        let resources: Vec<_> = rules.flat_map(|rule| rule.resources.iter().flatten()).collect();
        ["wasmproxies", "wasmproxies/status", "wasmproxies/finalizers"]
            .iter()
            .all(|name| resources.contains(&&(*name).to_owned()))
    };
    soon("the roles to be gathered", await_condition(roles, "admin", gathered)).await.unwrap();

    for (mode, _) in modes() {
        let chart = chart();
        let (namespaces, mode) = (format!("--set=namespaces={{{served}}}"), format!("--set=workers.mode={mode}"));
        let install = ["install", "mine", chart.to_str().unwrap(), "--namespace", &home, "--kube-as-user", &home];
        let options = [&values("namespaced"), &namespaces, &mode];
        administrator.helm(&[&install[..], &options.map(String::as_str)].concat()).await;
        let uninstall = ["uninstall", "mine", "--namespace", &home, "--kube-as-user", &home];
        administrator.helm(&uninstall).await;
    }
}
