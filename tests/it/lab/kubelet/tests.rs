//! Pods on the stand-in, under the real API server and kube-controller-manager.

mod containers;
mod contents;
mod lives;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod, PodStatus, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::{await_condition, conditions::is_deleted},
};
use serde_json::{Value, json};

use crate::{
    lab::{ControlPlane, Kubelet},
    waiting::soon,
};

/// A namespace with a node.
struct Site {
    kubelet: Kubelet,
    client: Client,
    namespace: String,
}

impl Site {
    async fn start() -> Self {
        let control_plane = ControlPlane::shared().await;
        let namespace = control_plane.namespace("kubelet").await;
        let kubelet = Kubelet::start(control_plane, &namespace).await;
        let client = control_plane.client().await;
        // A Pod needs it, and kube-controller-manager makes it a moment after the namespace.
        let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), &namespace);
        let is_there = |account: Option<&_>| account.is_some();
        soon("the service account", await_condition(accounts, "default", is_there)).await.unwrap();
        Self { kubelet, client, namespace }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a Pod with this specification.
    async fn pod(&self, name: &str, spec: Value) {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        self.pods().patch(name, &PatchParams::apply("user"), &Patch::Apply(pod)).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Applies a Secret with these keys.
    async fn secret(&self, name: &str, keys: Value) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys});
        secrets.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(secret)).await.unwrap();
    }

    async fn delete_secret(&self, name: &str) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        secrets.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the Pod's status is as it should be, and returns it.
    async fn until(&self, name: &str, is: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let condition = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.as_ref()).is_some_and(&is);
        let pod = soon("a Pod", await_condition(self.pods(), name, condition)).await.unwrap();
        pod.unwrap().status.unwrap()
    }

    async fn until_gone(&self, name: &str) {
        let uid = self.pods().get(name).await.ok().and_then(|pod| pod.metadata.uid).unwrap_or_default();
        soon("the end of a Pod", await_condition(self.pods(), name, is_deleted(&uid))).await.unwrap();
    }
}

fn is_ready(status: &PodStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The first container's status.
fn first(status: &PodStatus) -> Option<&ContainerStatus> {
    status.container_statuses.as_ref()?.first()
}

/// Why the first container is not running.
fn waits_for(status: &PodStatus) -> Option<&str> {
    first(status)?.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

/// A container that runs this script, and then waits to be told to end.
fn script(name: &str, script: &str) -> Value {
    let wait = format!("{script}\ntrap 'echo told; exit 0' TERM; echo waiting; while :; do sleep 0.2 & wait; done");
    json!({"name": name, "image": "wasmproxy", "command": ["sh", "-c", wait]})
}
