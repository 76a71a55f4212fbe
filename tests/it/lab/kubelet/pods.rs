//! Which Pods there are: those without a node are given ours, and each of ours is run.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    Api,
    api::PostParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

use super::{node::Node, pod};

/// Pods that run, by UID, each with what was last heard of it: nothing once it is gone.
type Running = HashMap<String, watch::Sender<Option<Arc<Pod>>>>;

/// Serves the namespace until there is no power, and until then what it runs.
pub async fn serve(node: Arc<Node>) {
    let mut tasks = JoinSet::new();
    let mut events = watcher(node.pods(), watcher::Config::default()).default_backoff().boxed();
    let mut running = Running::new();
    let mut listed = BTreeSet::new();
    let mut aside = std::pin::pin!(async { tokio::join!(node.live(), watch_contents(&node)) });
    loop {
        tokio::select! {
            _ = &mut aside => {}
            Some(ended) = tasks.join_next() => ended.unwrap(),
            () = node.power_cut() => break,
            Some(event) = events.next() => match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitDone) => {
                    running.iter().filter(|(uid, _)| !listed.contains(*uid)).for_each(|(_, pod)| drop(pod.send_replace(None)));
                }
                Ok(Event::InitApply(pod)) => {
                    listed.extend(pod.metadata.uid.clone());
                    heard(&node, pod, &mut running, &mut tasks).await;
                }
                Ok(Event::Apply(pod)) => heard(&node, pod, &mut running, &mut tasks).await,
                Ok(Event::Delete(pod)) => {
                    let gone = running.remove(pod.metadata.uid.as_deref().unwrap_or_default());
                    gone.into_iter().for_each(|pod| drop(pod.send_replace(None)));
                }
                // An API server that is away comes back.
                Err(_) => {}
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

async fn heard(node: &Arc<Node>, pod: Pod, running: &mut Running, tasks: &mut JoinSet<()>) {
    match pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) {
        None if pod.metadata.deletion_timestamp.is_none() => bind(node, &pod).await,
        Some(name) if *name == node.name => {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let pod = Some(Arc::new(pod));
            match running.get(&uid) {
                Some(known) => drop(known.send_replace(pod)),
                None => {
                    let (sender, latest) = watch::channel(pod);
                    running.insert(uid, sender);
                    tasks.spawn(pod::run(node.clone(), latest));
                }
            }
        }
        _ => {}
    }
}

/// Gives a Pod our node, as the scheduler does. Where another node was quicker, it has the Pod.
async fn bind(node: &Node, pod: &Pod) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": pod.metadata.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node.name},
    });
    let (pods, parameters) = (node.pods(), PostParams::default());
    let bind = || pods.create_subresource::<_, Value>("binding", name, &parameters, &binding);
    node.insist(bind).await;
}

/// Counts the changes of what may be in volumes. Never ends.
async fn watch_contents(node: &Node) {
    let config = watcher::Config::default;
    let secrets: Api<Secret> = Api::namespaced(node.client.clone(), &node.namespace);
    let maps: Api<ConfigMap> = Api::namespaced(node.client.clone(), &node.namespace);
    let secrets = watcher(secrets, config()).default_backoff().map(|event| event.map(drop)).boxed();
    let maps = watcher(maps, config()).default_backoff().map(|event| event.map(drop)).boxed();
    let mut changes = stream::select(secrets, maps);
    while changes.next().await.is_some() {
        node.changes.send_modify(|count| *count += 1);
    }
}
