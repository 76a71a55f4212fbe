//! The loop that takes in what is watched: it runs from the beginning in every replica, so that whoever comes to lead knows
//! everything already.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    Stream, StreamExt as _,
    channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded},
    stream::{BoxStream, SelectAll, select_all},
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use tokio::{sync::watch, time::interval};
use tracing::{debug, info, warn};

use super::{
    caches::Caches,
    health::Health,
    watch::{Departure, Watched},
};
use crate::{
    api::WasmProxy,
    resource::{
        api_server::in_time,
        trouble::{Troubles, Wanted},
    },
};

/// What one watch brings, and which one that is.
type Events = BoxStream<'static, (usize, Result<Event<Watched>, watcher::Error>)>;

/// Takes in what is watched.
pub(super) struct Watching {
    caches: Caches,
    events: SelectAll<Events>,
    scopes: Vec<Wanted>,
    troubles: Troubles,
    health: Health,
    changes: Changes,
}

impl Watching {
    /// Watches these namespaces, or all where none is named. The watches begin with [`Self::run`].
    pub fn new(client: &Client, namespaces: &[String], lifetime: Duration, health: Health) -> Self {
        let scopes = scopes(namespaces);
        health.begin(scopes.iter().map(what).collect());
        let config = watcher::Config::default().timeout(u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX).max(1));
        let events = select_all(scopes.iter().enumerate().map(|(index, scope)| {
            // Who wrote which field is half of an object, and nobody's business here.
            let trimmed = |resource: &mut Watched| resource.managed_fields_mut().clear();
            let events = watcher(api(client, scope), config.clone()).default_backoff().modify(trimmed);
            events.map(move |event| (index, event)).boxed()
        }));
        for namespace in namespaces {
            tokio::spawn(warn_of_absent(client.clone(), namespace.clone()));
        }
        let caches = Caches::new(scopes.len());
        let changes = Changes::default();
        Self { caches, events, scopes, troubles: Troubles::default(), health, changes }
    }

    /// All resources that are known.
    pub fn store(&self) -> Store<Watched> {
        self.caches.store()
    }

    /// What changes, for whoever leads.
    pub fn changes(&self) -> Changes {
        self.changes.clone()
    }

    /// Runs for ever. Calls `seen` for resources that come or change, before the store has them, and `departed` for resources that go; the store is without them then.
    pub async fn run(mut self, mut seen: impl FnMut(&WasmProxy), mut departed: impl FnMut(Departure)) {
        let mut pulse = interval(self.health.watching.interval());
        loop {
            tokio::select! {
                Some((watch, event)) = self.events.next() => match event {
                    Ok(event) => {
                        if let Event::Apply(DeserializeGuard(Ok(resource)))
                        | Event::InitApply(DeserializeGuard(Ok(resource))) = &event
                        {
                            seen(resource);
                        }
                        if let Some(departure) = self.take_in(watch, event) {
                            departed(departure);
                        }
                    }
                    Err(error) => self.complain(watch, &error),
                },
                _ = pulse.tick() => self.health.watching.beat(),
            }
        }
    }

    fn take_in(&mut self, watch: usize, event: Event<Watched>) -> Option<Departure> {
        let news = self.caches.apply(watch, event);
        if let Some(changed) = news.changed {
            self.changes.send(changed);
        }
        self.changes.seen.send_modify(|_| {});
        if news.listed && self.health.known(watch) {
            announce(&self.caches.store());
        }
        news.departed
    }

    fn complain(&mut self, watch: usize, error: &watcher::Error) {
        let Some(scope) = self.scopes.get(watch) else { return };
        let Some(why) = scope.explain_watch(error) else {
            debug!(%error, "{} are watched anew", what(scope));
            return;
        };
        self.health.refused(watch, &why);
        if self.troubles.is_news(&why) {
            warn!("{} cannot be watched: {why}", what(scope));
        } else {
            debug!(why, "{} still cannot be watched", what(scope));
        }
    }
}

/// Says that everything is known.
pub(super) fn announce(store: &Store<Watched>) {
    info!(resources = store.len(), "controller is ready");
}

/// What changes, for at most one who listens; nobody does in a replica that stands by.
#[derive(Clone, Default)]
pub(super) struct Changes {
    listener: Arc<Mutex<Option<UnboundedSender<ObjectRef<Watched>>>>>,
    /// Something was taken in.
    seen: watch::Sender<()>,
}

impl Changes {
    /// All changes from now on. The queue is unbounded, and kube's controller empties it at once, whatever it is busy with:
    /// it keeps one entry for each resource.
    pub fn listen(&self) -> impl Stream<Item = ObjectRef<Watched>> + Send + use<> {
        let (sender, receiver): (_, UnboundedReceiver<_>) = unbounded();
        *self.listener() = Some(sender);
        receiver
    }

    /// Told whenever the store has changed in any way.
    pub fn seen(&self) -> watch::Receiver<()> {
        self.seen.subscribe()
    }

    fn send(&self, changed: ObjectRef<Watched>) {
        if let Some(listener) = &*self.listener() {
            // Whoever listened is about to end.
            let _ = listener.unbounded_send(changed);
        }
    }

    fn listener(&self) -> MutexGuard<'_, Option<UnboundedSender<ObjectRef<Watched>>>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The APIs of these namespaces, or of all.
pub(super) fn apis(client: &Client, namespaces: &[String]) -> Vec<Api<Watched>> {
    scopes(namespaces).iter().map(|scope| api(client, scope)).collect()
}

fn scopes(namespaces: &[String]) -> Vec<Wanted> {
    let scope = |namespace| Wanted { verbs: "list, watch", resource: "wasmproxies.wasmproxy.io".into(), namespace };
    if namespaces.is_empty() {
        return vec![scope(None)];
    }
    namespaces.iter().cloned().map(|namespace| scope(Some(namespace))).collect()
}

fn api(client: &Client, scope: &Wanted) -> Api<Watched> {
    match &scope.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

fn what(scope: &Wanted) -> String {
    match &scope.namespace {
        Some(namespace) => format!("resources in namespace {namespace}"),
        None => "resources".to_owned(),
    }
}

/// An API server lists what is in a namespace that there is not, and finds nothing. Where we may not ask for namespaces, which
/// is as it should be, there is nothing to say.
async fn warn_of_absent(client: Client, namespace: String) {
    if let Ok(None) = in_time(Api::<Namespace>::all(client).get_opt(&namespace)).await {
        warn!("namespace {namespace} does not exist: what is in it is served once it does");
    }
}
