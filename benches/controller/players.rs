//! Who plays the nodes and the workers.

use futures::{StreamExt as _, stream};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wasmproxy::api::WasmProxy;

/// Requests of each player at once.
const AT_ONCE: usize = 32;

/// Both play until the set is dropped.
pub fn play(client: Client) -> JoinSet<()> {
    let mut players = JoinSet::new();
    players.spawn(play_nodes(client.clone()));
    players.spawn(play_workers(client));
    players
}

/// Every Deployment is available at once.
async fn play_nodes(client: Client) {
    let all: Api<Deployment> = Api::all(client.clone());
    let changes = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let answer = async |deployment: Deployment| {
        let (generation, status) = (deployment.metadata.generation, deployment.status.as_ref());
        if status.and_then(|status| status.observed_generation) == generation {
            return;
        }
        let status = json!({"status": {
            "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1,
            "conditions": [
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "played",
                 "lastTransitionTime": now(), "lastUpdateTime": now()},
            ],
        }});
        let api: Api<Deployment> = Api::namespaced(client.clone(), &deployment.namespace().unwrap());
        // What is changed meanwhile comes again.
        let _ = api.patch_status(&deployment.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
    };
    let changes = changes.filter_map(async |change| change.ok());
    changes.map(stream_of).flatten().for_each_concurrent(AT_ONCE, answer).await;
}

fn stream_of<T>(item: T) -> impl futures::Stream<Item = T> {
    stream::once(std::future::ready(item))
}

/// Every worker has published everything as soon as it hears of it.
async fn play_workers(client: Client) {
    let all: Api<WasmProxy> = Api::all(client.clone());
    let changes = watcher(all, watcher::Config::default()).default_backoff().applied_objects();
    let answer = async |resource: WasmProxy| {
        let generation = resource.metadata.generation;
        let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        let is_said = conditions.iter().any(|condition| {
            condition.type_ == "ArtifactsPublished"
                && condition.status == "True"
                && condition.observed_generation == generation
        });
        // As a worker does: its Pod is there before it says anything.
        let is_available = conditions.iter().any(|c| c.type_ == "WorkerAvailable" && c.status == "True");
        if is_said || !is_available {
            return;
        }
        let api: Api<WasmProxy> = Api::namespaced(client.clone(), &resource.namespace().unwrap());
        let status = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy",
            "status": {"conditions": [
                condition("BrokerConnected", "Connected", generation),
                condition("RegistryReady", "Succeeded", generation),
                condition("ArtifactsPublished", "Succeeded", generation),
            ]},
        });
        let parameters = PatchParams::apply("wasmproxy-worker").force();
        let _ = api.patch_status(&resource.name_any(), &parameters, &Patch::Apply(status)).await;
    };
    let changes = changes.filter_map(async |change| change.ok());
    changes.map(stream_of).flatten().for_each_concurrent(AT_ONCE, answer).await;
}

fn condition(about: &str, reason: &str, generation: Option<i64>) -> Value {
    json!({
        "type": about, "status": "True", "reason": reason, "message": "played",
        "observedGeneration": generation, "lastTransitionTime": now(),
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}
