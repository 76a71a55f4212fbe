//! An API server takes what the chart renders, as it is.

use std::fs;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use super::{attempt, kinds_of_values, of_kind};
use crate::lab::{ControlPlane, tool};

/// A namespace into which only restricted Pods are let, with its default service account.
async fn restricted(control_plane: &ControlPlane) -> String {
    let client = control_plane.client().await;
    let namespace = control_plane.namespace("chart").await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, &namespace);
    await_condition(accounts, "default", |found: Option<&ServiceAccount>| found.is_some()).await.unwrap();
    namespace
}

/// A Pod as the Deployment makes it, but of a service account that is there.
fn pod(objects: &[Value], namespace: &str) -> Value {
    let mut pod = of_kind(objects, "Deployment")[0]["spec"]["template"].clone();
    pod["spec"]["serviceAccountName"] = "default".into();
    pod["metadata"]["name"] = "controller".into();
    pod["metadata"]["namespace"] = namespace.into();
    let mut whole = json!({"apiVersion": "v1", "kind": "Pod"});
    whole.as_object_mut().unwrap().extend(pod.as_object().unwrap().clone());
    whole
}

#[tokio::test]
async fn the_api_server_takes_every_object_and_knows_every_field_and_pods_are_restricted() {
    let control_plane = ControlPlane::shared().await;
    let namespace = restricted(control_plane).await;
    let kubeconfig = format!("--kubeconfig={}", control_plane.kubeconfig().display());
    for values in kinds_of_values() {
        let mut arguments = vec![format!("--namespace={namespace}")];
        if let Some(values) = values {
            arguments.push(format!("--values={}", values.display()));
            // Namespaces have to be there.
            if values.ends_with("namespaced-values.yaml") {
                arguments.push(format!("--set=namespaces={{{namespace}}}"));
            }
        }
        let mut objects = attempt(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
        objects.push(pod(&objects, &namespace));
        let dir = tempfile::tempdir().unwrap();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(dir.path().join("objects.json"), list.to_string()).unwrap();
        // The definition is there already, as somebody else has applied it.
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"];
        let taken =
            tool("kubectl", dir.path(), &[&[&kubeconfig[..]], &apply[..], &["-f", "objects.json"]].concat()).await;
        assert_eq!(taken.lines().count(), objects.len(), "{arguments:?}: {taken}");
    }
}
