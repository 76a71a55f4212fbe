//! What the controller and its workers may do, tried with just these rights.

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Secret, ServiceAccount},
    rbac::v1::{PolicyRule, Role, RoleBinding},
};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use wasmproxy::{
    api::WasmProxy,
    controller::{WorkerMode, rights},
};

use super::yard::{IMAGE, Yard, child, in_pods};
use crate::{controller::floor::Running, lab::ControlPlane};

/// A client of a service account of the namespace.
async fn client_of(yard: &Yard, account: &str) -> Client {
    let mut kubeconfig = Kubeconfig::read_from(ControlPlane::shared().await.kubeconfig()).unwrap();
    for user in &mut kubeconfig.auth_infos {
        let account = format!("system:serviceaccount:{}:{account}", yard.namespace);
        user.auth_info.as_mut().unwrap().impersonate = Some(account);
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Allows a service account this in its namespace.
async fn allow(yard: &Yard, account: &str, rules: Vec<PolicyRule>) {
    let account = json!({"metadata": {"name": account}});
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    yard.api::<ServiceAccount>().create(&PostParams::default(), &account).await.unwrap();
    let role = Role { metadata: account.metadata.clone(), rules: Some(rules) };
    yard.api::<Role>().create(&PostParams::default(), &role).await.unwrap();
    let name = account.metadata.name.as_deref().unwrap();
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": yard.namespace}],
    });
    let binding: RoleBinding = serde_json::from_value(binding).unwrap();
    yard.api::<RoleBinding>().create(&PostParams::default(), &binding).await.unwrap();
}

/// A client with just these rights, once they are known to the API server.
async fn controller_client(yard: &Yard, mode: &WorkerMode) -> Client {
    let rules = rights::of_resources(mode);
    allow(yard, "controller", rules).await;
    client_of(yard, "controller").await
}

/// Whether the API server would let this client do so.
async fn may(client: &Client, yard: &Yard, verb: &str, group: &str, resource: &str, name: Option<&str>) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some(yard.namespace.clone()),
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: Some(subresource.to_owned()),
        name: name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

fn is_forbidden<T>(answer: Result<T, kube::Error>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test]
async fn with_workers_in_pods_the_rights_that_are_documented_are_enough_and_give_no_secret() {
    let yard = Yard::start().await;
    let mode = in_pods(IMAGE, 1);
    let client = controller_client(&yard, &mode).await;
    let _controller = Running::start(client.clone(), &yard.namespace, mode);
    yard.apply_ready("line", json!({})).await;
    // Everything that it ever does.
    yard.delete::<RoleBinding>("line").await;
    yard.until_child("line", |_: &RoleBinding| true).await;
    yard.meddle::<Role>("line", json!({"rules": []})).await;
    yard.until_child("line", |role: &Role| role.rules.is_some()).await;
    let external = json!({"management": "External", "serviceAccountName": "gateway"});
    yard.apply("line", json!({"worker": external})).await;
    yard.until_object(&child("line"), |found: Option<&ServiceAccount>| found.is_none()).await;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &yard.namespace);
    assert!(is_forbidden(secrets.get("broker").await) && is_forbidden(secrets.list(&Default::default()).await));
    for verb in ["get", "list", "watch", "create", "patch", "update", "delete"] {
        assert!(!may(&client, &yard, verb, "", "secrets", None).await, "{verb}");
    }
    assert!(!may(&client, &yard, "update", "wasmproxy.io", "wasmproxies", None).await);
}

#[tokio::test]
async fn a_worker_may_read_its_own_resource_and_write_the_status_of_that_and_nothing_else() {
    let yard = Yard::start().await;
    let _controller = yard.controller();
    yard.apply_ready("line", json!({})).await;
    yard.apply_ready("other", json!({})).await;
    let client = client_of(&yard, &child("line")).await;
    let resources: Api<WasmProxy> = Api::namespaced(client.clone(), &yard.namespace);
    resources.get("line").await.unwrap();
    let own = kube::api::ListParams::default().fields("metadata.name=line");
    assert_eq!(resources.list(&own).await.unwrap().items.len(), 1);
    let status = json!({"apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "status": {"progress": "1/2"}});
    let patch = Patch::Apply(&status);
    let parameters = PatchParams::apply("wasmproxy-worker").force();
    resources.patch_status("line", &parameters, &patch).await.unwrap();

    assert!(is_forbidden(resources.get("other").await));
    assert!(is_forbidden(resources.list(&Default::default()).await));
    assert!(is_forbidden(resources.patch_status("other", &parameters, &patch).await));
    assert!(is_forbidden(resources.patch("line", &parameters, &patch).await));
    for (group, resource, verbs) in [
        ("", "secrets", ["get", "list", "watch", "create", "patch", "delete"]),
        ("", "pods", ["get", "list", "watch", "create", "patch", "delete"]),
        ("", "events", ["get", "list", "watch", "create", "patch", "delete"]),
        ("events.k8s.io", "events", ["get", "list", "watch", "create", "patch", "delete"]),
        ("rbac.authorization.k8s.io", "roles", ["get", "list", "bind", "create", "patch", "escalate"]),
        ("wasmproxy.io", "wasmproxies", ["create", "update", "patch", "delete", "deletecollection", "*"]),
    ] {
        for verb in verbs {
            assert!(!may(&client, &yard, verb, group, resource, Some("line")).await, "{verb} {resource}.{group}");
        }
    }
}
