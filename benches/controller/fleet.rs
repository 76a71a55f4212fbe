//! Thousands of resources.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::json;
use wasmproxy::api::{
    WasmProxy,
    conditions::{ConditionType, find},
};

/// The namespaces that they are in.
pub const NAMESPACES: usize = 10;
/// The controller's own.
pub const HOME: &str = "home";
/// Requests of ours at once.
const AT_ONCE: usize = 64;

pub struct Fleet {
    client: Client,
    resources: usize,
}

impl Fleet {
    pub async fn create(client: Client, resources: usize) -> Self {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let names = (0..NAMESPACES).map(|index| format!("bench-{index}")).chain([HOME.to_owned()]);
        for name in names {
            let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
            let namespace = Namespace { metadata, ..Namespace::default() };
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
        let fleet = Self { client, resources };
        let parameters = PostParams::default();
        let create = async |index| {
            let (api, resource) = (fleet.api(index), resource(index));
            api.create(&parameters, &resource).await.unwrap();
        };
        stream::iter(0..resources).for_each_concurrent(AT_ONCE, create).await;
        fleet
    }

    /// Changes what no Pod depends upon.
    pub async fn change(&self) {
        let patch = Patch::Merge(json!({"spec": {"pace": "40M"}}));
        let parameters = PatchParams::default();
        let change = async |index| {
            self.api(index).patch(&name(index), &parameters, &patch).await.unwrap();
        };
        stream::iter(0..self.resources).for_each_concurrent(AT_ONCE, change).await;
    }

    /// Waits until `Ready` is True of this generation everywhere.
    pub async fn until_ready(&self, generation: i64) {
        let api: Api<WasmProxy> = Api::all(self.client.clone());
        let mut seen = std::collections::HashSet::new();
        let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        while seen.len() < self.resources {
            let resource = changes.try_next().await.unwrap().unwrap();
            let ready = resource.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Ready));
            let is = ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == Some(generation));
            if is {
                seen.insert(resource.uid());
            }
        }
    }

    fn api(&self, index: usize) -> Api<WasmProxy> {
        Api::namespaced(self.client.clone(), &format!("bench-{}", index % NAMESPACES))
    }
}

fn name(index: usize) -> String {
    format!("channel-{index}")
}

/// One with the Secrets and artifacts that a real one has.
fn resource(index: usize) -> WasmProxy {
    let artifacts: Vec<_> = (0..3).map(|n| json!({"reference": format!("wasm/module-{n}:1.0")})).collect();
    serde_json::from_value(json!({
        "apiVersion": "wasmproxy.io/v1alpha1",
        "kind": "WasmProxy",
        "metadata": {"name": name(index)},
        "spec": {
            "channel": {"id": name(index), "tenant": "acme"},
            "broker": {
                "url": "mqtts://broker.example:8883",
                "secretRef": {"name": "broker"},
                "certSecretRef": {"name": "broker-tls"},
            },
            "registry": {"host": "registry.example", "secretRef": {"name": "pull"}},
            "artifacts": artifacts,
        },
    }))
    .unwrap()
}
