//! A namespace without a broker or a registry, in which Pods come up when a test says so.

use std::fmt::Debug;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Pod, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{
        WatchStreamExt as _,
        wait::{Condition, await_condition},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;
use wasmproxy::{
    api::{WasmProxy, WasmProxyStatus, conditions::ConditionType},
    controller::{PodOptions, WorkerMode},
};

use crate::{
    controller::floor::{Running, says},
    lab::ControlPlane,
    waiting::{PATIENCE, soon},
};

/// The image of workers, which nobody pulls.
pub const IMAGE: &str = "registry.example/wasmproxy:1";

/// A kind of objects in namespaces.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

/// A namespace whose workers are in Pods.
pub struct Yard {
    pub client: Client,
    pub namespace: String,
}

impl Yard {
    pub async fn start() -> Self {
        let control_plane = ControlPlane::shared().await;
        Self { client: control_plane.client().await, namespace: control_plane.namespace("yard").await }
    }

    /// A controller of this namespace.
    pub fn controller(&self) -> Running {
        self.controller_of(IMAGE, PodOptions::ROLLOUT.get())
    }

    /// A controller whose workers have this image, and are rolled so many at a time.
    pub fn controller_of(&self, image: &str, rollout: usize) -> Running {
        Running::start_in(self.client.clone(), &self.namespace, in_pods(image, rollout))
    }

    /// Applies a resource of that name with these fields beside the least as a user does.
    pub async fn apply(&self, name: &str, spec: Value) -> WasmProxy {
        let mut whole = json!({
            "channel": {"id": name},
            "broker": {"url": "mqtt://broker.example"},
            "registry": {"host": "registry.example"},
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let resource = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "metadata": {"name": name}, "spec": whole,
        });
        let parameters = PatchParams::apply("user").force();
        self.api::<WasmProxy>().patch(name, &parameters, &Patch::Apply(resource)).await.unwrap()
    }

    pub fn api<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the status is as it should be, and returns it.
    pub async fn until(&self, name: &str, is: impl Fn(&WasmProxyStatus) -> bool) -> WasmProxyStatus {
        let condition = |resource: Option<&WasmProxy>| resource.and_then(|r| r.status.as_ref()).is_some_and(&is);
        self.until_object(name, condition).await.unwrap().status.unwrap()
    }

    /// Waits until `WorkerAvailable` says this, and returns the status.
    pub async fn until_worker_is(&self, name: &str, status: &str, reason: &str) -> WasmProxyStatus {
        self.until(name, |s| says(s, ConditionType::WorkerAvailable) == Some((status, reason))).await
    }

    /// Waits until the child of the resource is as it should be.
    pub async fn until_child<K: Kind>(&self, resource: &str, is: impl Fn(&K) -> bool) -> K {
        self.until_object(&child(resource), |found: Option<&K>| found.is_some_and(&is)).await.unwrap()
    }

    /// Waits until an object is as it should be.
    pub async fn until_object<K: Kind>(&self, name: &str, condition: impl Condition<K>) -> Option<K> {
        match timeout(PATIENCE, await_condition(self.api::<K>(), name, condition)).await {
            Ok(object) => object.unwrap(),
            Err(_) => panic!("in vain: {:#?}", self.api::<K>().get_opt(name).await.unwrap()),
        }
    }

    pub async fn child<K: Kind>(&self, resource: &str) -> K {
        self.api::<K>().get(&child(resource)).await.unwrap()
    }

    /// Changes a child as somebody does who should not.
    pub async fn meddle<K: Kind>(&self, resource: &str, patch: Value) {
        self.api::<K>().patch(&child(resource), &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Deletes a child as somebody does who should not.
    pub async fn delete<K: Kind>(&self, resource: &str) {
        self.api::<K>().delete(&child(resource), &DeleteParams::default()).await.unwrap();
    }

    /// The Pod of the resource's worker, once it is there and has this image. One that is about to go does not count.
    pub async fn pod(&self, resource: &str, image: &str) -> Pod {
        let config = watcher::Config::default().labels(&format!("wasmproxy.io/resource={resource}"));
        let has_image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
        let mut pods = watcher(self.api::<Pod>(), config).applied_objects().boxed();
        let found = async {
            loop {
                let pod = pods.try_next().await.unwrap().unwrap();
                if has_image(&pod) && pod.metadata.deletion_timestamp.is_none() && self.is_to_stay(&pod, resource).await
                {
                    return pod;
                }
            }
        };
        soon(&format!("the Pod of {resource}"), found).await
    }

    /// Whether a Pod is what the resource's Deployment says by now.
    async fn is_to_stay(&self, pod: &Pod, resource: &str) -> bool {
        let Some(set) = self.api::<ReplicaSet>().get_opt(&pod.owner_references()[0].name).await.unwrap() else {
            return false;
        };
        let Some(deployment) = self.api::<Deployment>().get_opt(&child(resource)).await.unwrap() else { return false };
        let mut template = set.spec.as_ref().unwrap().template.clone().unwrap();
        template.metadata.as_mut().unwrap().labels.as_mut().unwrap().remove("pod-template-hash");
        set.owner_references()[0].uid == deployment.uid().unwrap() && template == deployment.spec.unwrap().template
    }

    /// Says of the worker's Pod what a kubelet would.
    pub async fn pod_is(&self, resource: &str, status: Value) {
        self.pod_of_image_is(resource, IMAGE, status).await;
    }

    pub async fn pod_of_image_is(&self, resource: &str, image: &str, status: Value) {
        let pod = self.pod(resource, image).await;
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<Pod>().patch_status(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }

    /// Lets the worker's Pod become ready.
    pub async fn pod_is_ready(&self, resource: &str) {
        self.pod_is(resource, is_ready()).await;
    }

    /// Applies a resource, and lets its worker's Pod become ready.
    pub async fn apply_ready(&self, name: &str, spec: Value) {
        self.apply(name, spec).await;
        self.pod_is_ready(name).await;
        self.until_worker_is(name, "True", "Succeeded").await;
    }

    /// Says in the status what a worker would, as it does.
    pub async fn report(&self, name: &str, generation: i64) {
        let condition = |about: &str, reason: &str| {
            json!({
                "type": about, "status": "True", "reason": reason, "message": "all is well",
                "observedGeneration": generation, "lastTransitionTime": "2026-11-01T10:00:00Z",
            })
        };
        let conditions = [
            condition("BrokerConnected", "Connected"),
            condition("RegistryReady", "Succeeded"),
            condition("ArtifactsPublished", "Succeeded"),
        ];
        let status = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "status": {"conditions": conditions},
        });
        let parameters = PatchParams::apply("wasmproxy-worker").force();
        self.api::<WasmProxy>().patch_status(name, &parameters, &Patch::Apply(status)).await.unwrap();
    }

    /// A resource's children, by their versions: others after any write. Of a Deployment's status the cluster writes when it
    /// likes, and so that is left out.
    pub async fn versions(&self, resource: &str) -> ([Option<String>; 3], Deployment) {
        let mut deployment = self.child::<Deployment>(resource).await;
        (deployment.status, deployment.metadata.resource_version) = (None, None);
        if let Some(fields) = &mut deployment.metadata.managed_fields {
            fields.retain(|fields| fields.subresource.is_none());
        }
        let versions = [
            self.child::<ServiceAccount>(resource).await.resource_version(),
            self.child::<Role>(resource).await.resource_version(),
            self.child::<RoleBinding>(resource).await.resource_version(),
        ];
        (versions, deployment)
    }
}

/// What every child of a resource is called.
pub fn child(resource: &str) -> String {
    format!("{resource}-wasmproxy")
}

/// Workers in Pods of this image, rolled so many at a time.
pub fn in_pods(image: &str, rollout: usize) -> WorkerMode {
    WorkerMode::Pods(PodOptions { image: image.to_owned(), rollout: rollout.try_into().unwrap() })
}

/// The image of a Deployment's worker.
pub fn image(deployment: &Deployment) -> &str {
    let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
    pod.containers[0].image.as_deref().unwrap()
}

/// How many Pods it is to have.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().unwrap().replicas.unwrap()
}

/// What a kubelet says of a Pod that is ready.
pub fn is_ready() -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [container(json!({"ready": true, "state": {"running": {}}}))],
    })
}

/// What a kubelet says of the worker's container, with these fields.
pub fn container(fields: Value) -> Value {
    let mut status = json!({"name": "worker", "ready": false, "image": IMAGE, "imageID": "", "restartCount": 0});
    status.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    status
}
