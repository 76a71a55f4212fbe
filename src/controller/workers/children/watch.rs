//! Follows the children: what carries our label, in one namespace or in all.

use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{StreamExt as _, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{
    changes::{Changes, Relevance},
    family::{Family, SELECTOR},
    ownership::controller_of,
    pods::{Pods, whose},
    shelf::Shelf,
};
use crate::{
    api::WasmProxy,
    controller::{wakes::Wakes, watch::Watched, workers::pods::pod_matters},
    resource::trouble::{Troubles, Wanted},
};

/// How long reconciliations wait for the children to be known, since the first of them did.
const PATIENCE: Duration = Duration::from_secs(10);

/// The children in one namespace, or in all of them, for as long as it lives.
pub struct Scope {
    namespace: Option<String>,
    pub(super) accounts: Arc<Shelf<ServiceAccount>>,
    pub(super) roles: Arc<Shelf<Role>>,
    pub(super) bindings: Arc<Shelf<RoleBinding>>,
    pub(super) deployments: Arc<Shelf<Deployment>>,
    /// Where workers run in Pods.
    pods: Option<Arc<Pods>>,
    /// The watches that do not know of every object yet. Stores can be waited for, too, but only by one at a time.
    unknown: watch::Receiver<usize>,
    /// Until when the first who asks waits for them, and all others.
    patience: OnceLock<Instant>,
    /// Ended when dropped.
    _watches: JoinSet<()>,
}

impl Scope {
    /// One for each of these namespaces, or one for all where none is named. See [`Self::watch`].
    pub fn of(client: &Client, namespaces: &[String], with_pods: bool, wakes: &Arc<Wakes>) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self::watch(client, None, with_pods, wakes)];
        }
        namespaces.iter().map(|namespace| Self::watch(client, Some(namespace), with_pods, wakes)).collect()
    }

    /// Follows the children in `namespace`, or everywhere; their Pods only `with_pods`.
    fn watch(client: &Client, namespace: Option<&str>, with_pods: bool, wakes: &Arc<Wakes>) -> Self {
        let (unknown, is_unknown) = watch::channel(0);
        let mut watches = Watches { client, namespace, wakes: wakes.clone(), unknown, tasks: JoinSet::new() };
        Self {
            namespace: namespace.map(str::to_owned),
            accounts: watches.children(by_version),
            roles: watches.children(by_version),
            bindings: watches.children(by_version),
            deployments: watches.children(deployment_matters),
            pods: with_pods.then(|| watches.pods()),
            unknown: is_unknown,
            patience: OnceLock::new(),
            _watches: watches.tasks,
        }
    }

    /// Whether the children in this namespace are among these.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|covered| covered == namespace)
    }

    /// Returns once all children are known.
    pub(super) async fn ready(&self) {
        // The other end goes with the watches, and they with this.
        let _ = self.unknown.clone().wait_for(|unknown| *unknown == 0).await;
    }

    /// Whether all children are known. Nobody waits for them for ever, and only the first ones at all: resources where they
    /// may not be watched must not take the turns of others with their waiting.
    pub(super) async fn known(&self) -> bool {
        let until = *self.patience.get_or_init(|| Instant::now() + PATIENCE);
        timeout_at(until, self.ready()).await.is_ok()
    }

    pub(super) fn pods(&self, family: &Family) -> Vec<Arc<Pod>> {
        self.pods.as_ref().map(|pods| pods.of(family)).unwrap_or_default()
    }
}

/// A kind that can be watched.
trait Watchable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watchable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// The watches of one scope, as they are begun.
struct Watches<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    wakes: Arc<Wakes>,
    unknown: watch::Sender<usize>,
    tasks: JoinSet<()>,
}

impl Watches<'_> {
    fn children<K: Watchable>(&mut self, relevance: fn(&K) -> Option<Relevance>) -> Arc<Shelf<K>> {
        let (store, writer) = reflector::store();
        let shelf = Arc::new(Shelf::new(store));
        let gone = shelf.clone();
        let forget = move |event: &Event<K>| {
            if let Event::Delete(child) = event {
                gone.forget(&ObjectRef::from_obj(child));
            }
        };
        self.follow(writer, relevance, |_: &mut K| (), forget);
        shelf
    }

    fn pods(&mut self) -> Arc<Pods> {
        let (store, writer) = reflector::store();
        let pods = Arc::new(Pods::new(store));
        let sorted = pods.clone();
        // What a Pod is to be is in its Deployment.
        let without_spec = |pod: &mut Pod| pod.spec = None;
        self.follow(writer, pod_relevance, without_spec, move |event| sorted.observe(event));
        pods
    }

    fn follow<K: Watchable>(
        &mut self,
        writer: Writer<K>,
        relevance: fn(&K) -> Option<Relevance>,
        trim: impl FnMut(&mut K) + Send + 'static,
        mut observe: impl FnMut(&Event<K>) + Send + 'static,
    ) {
        self.unknown.send_modify(|unknown| *unknown += 1);
        let (mut known, unknown) = (false, self.unknown.clone());
        let observe = move |event: &Event<K>| {
            observe(event);
            if matches!(event, Event::InitDone) && !std::mem::replace(&mut known, true) {
                unknown.send_modify(|unknown| *unknown -= 1);
            }
        };
        self.tasks.spawn(follow(self.api(), self.wanted::<K>(), writer, relevance, trim, observe, self.wakes.clone()));
    }

    fn wanted<K: Resource<DynamicType = ()>>(&self) -> Wanted {
        let resource = match K::group(&()) {
            group if group.is_empty() => K::plural(&()).into_owned(),
            group => format!("{}.{group}", K::plural(&())),
        };
        Wanted { verbs: "list, watch", resource: resource.into(), namespace: self.namespace.map(str::to_owned) }
    }

    fn api<K: Watchable>(&self) -> Api<K> {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// Keeps a store up to date, and wakes the resources of what changes. Never ends.
async fn follow<K: Watchable>(
    api: Api<K>,
    wanted: Wanted,
    writer: Writer<K>,
    relevance: fn(&K) -> Option<Relevance>,
    mut trim: impl FnMut(&mut K) + Send,
    mut observe: impl FnMut(&Event<K>) + Send,
    wakes: Arc<Wakes>,
) {
    let trimmed = move |object: &mut K| {
        object.managed_fields_mut().clear();
        trim(object);
    };
    let events =
        watcher(api, watcher::Config::default().labels(SELECTOR)).default_backoff().modify(trimmed).reflect(writer);
    pin_mut!(events);
    let mut changes = Changes::new(relevance);
    let mut troubles = Troubles::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                observe(&event);
                changes.observe(&event).into_iter().for_each(|resource| wakes.wake(resource));
            }
            Err(error) => {
                let why = wanted.explain_watch(&error).filter(|why| troubles.is_news(why));
                why.into_iter().for_each(|why| warn!("{} cannot be watched: {why}", wanted.resource));
            }
        }
    }
}

/// The resource whose child it is.
fn owner(child: &impl Resource) -> Option<ObjectRef<Watched>> {
    let owner = controller_of(child)?;
    let object = ObjectRef::new(&owner.name).within(child.meta().namespace.as_ref()?);
    (owner.kind == WasmProxy::kind(&())).then_some(object)
}

/// For kinds that nobody changes for a trifle.
fn by_version<K: Resource>(child: &K) -> Option<Relevance> {
    let mut hasher = DefaultHasher::new();
    child.meta().resource_version.hash(&mut hasher);
    Some((owner(child)?, hasher.finish()))
}

/// Everything but the counters in its status.
fn deployment_matters(deployment: &Deployment) -> Option<Relevance> {
    let mut hasher = DefaultHasher::new();
    let metadata = &deployment.metadata;
    (metadata.generation, &metadata.labels, &metadata.annotations).hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for owner in deployment.owner_references() {
        (&owner.uid, owner.controller).hash(&mut hasher);
    }
    if let Some(status) = &deployment.status {
        (status.observed_generation, status.available_replicas, status.updated_replicas).hash(&mut hasher);
        for condition in status.conditions.iter().flatten() {
            (&condition.type_, &condition.status, &condition.reason).hash(&mut hasher);
            // A failure's says what to do; the others' name ReplicaSets.
            (condition.type_ == "ReplicaFailure").then_some(&condition.message).hash(&mut hasher);
        }
    }
    Some((owner(deployment)?, hasher.finish()))
}

/// What keeps a Pod from coming up.
fn pod_relevance(pod: &Pod) -> Option<Relevance> {
    Some((whose(pod)?, pod_matters(pod)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn deployment(change: impl FnOnce(&mut Value)) -> Option<Relevance> {
        let owner = json!({"apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "name": "line", "uid": "1", "controller": true});
        let mut deployment = json!({
            "metadata": {
                "name": "line-wasmproxy", "namespace": "edge", "generation": 2, "resourceVersion": "7",
                "ownerReferences": [owner],
            },
            "status": {"observedGeneration": 2, "replicas": 1, "unavailableReplicas": 1, "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": "a"},
            ]},
        });
        change(&mut deployment);
        deployment_matters(&serde_json::from_value(deployment).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn children_that_stay_unknown_are_waited_for_once() {
        fn shelf<K: Watchable>() -> Arc<Shelf<K>> {
            Arc::new(Shelf::new(reflector::store().0))
        }
        let (unknown, is_unknown) = watch::channel(1);
        let scope = Scope {
            namespace: None,
            accounts: shelf(),
            roles: shelf(),
            bindings: shelf(),
            deployments: shelf(),
            pods: None,
            unknown: is_unknown,
            patience: OnceLock::new(),
            _watches: JoinSet::new(),
        };
        let start = Instant::now();
        for _ in 0..100 {
            assert!(!scope.known().await);
        }
        assert!(start.elapsed() < 2 * PATIENCE, "{:?}", start.elapsed());
        unknown.send_replace(0);
        assert!(scope.known().await);
    }

    #[test]
    fn a_deployment_that_counts_wakes_nobody() {
        let unchanged = deployment(|_| {});
        assert_eq!(unchanged.as_ref().unwrap().0, ObjectRef::new("line").within("edge"));
        assert_eq!(deployment(|d| d["metadata"]["resourceVersion"] = json!("8")), unchanged);
        assert_eq!(deployment(|d| d["status"]["unavailableReplicas"] = json!(null)), unchanged);
        assert_eq!(deployment(|d| d["status"]["conditions"][0]["message"] = json!("b")), unchanged);
    }

    #[test]
    fn a_deployment_that_changes_or_comes_up_does() {
        let unchanged = deployment(|_| {});
        assert_ne!(deployment(|d| d["metadata"]["generation"] = json!(3)), unchanged);
        assert_ne!(deployment(|d| d["metadata"]["labels"] = json!({"a": "b"})), unchanged);
        assert_ne!(deployment(|d| d["metadata"]["deletionTimestamp"] = json!("2026-11-01T10:00:00Z")), unchanged);
        assert_ne!(deployment(|d| d["status"]["observedGeneration"] = json!(1)), unchanged);
        assert_ne!(deployment(|d| d["status"]["availableReplicas"] = json!(1)), unchanged);
        assert_ne!(deployment(|d| d["status"]["conditions"][0]["reason"] = json!("NewReplicaSetAvailable")), unchanged);
    }

    #[test]
    fn what_is_nobodys_child_wakes_nobody() {
        assert_eq!(deployment(|d| d["metadata"]["ownerReferences"][0]["controller"] = json!(false)), None);
        assert_eq!(deployment(|d| d["metadata"]["ownerReferences"][0]["kind"] = json!("Other")), None);
    }
}
