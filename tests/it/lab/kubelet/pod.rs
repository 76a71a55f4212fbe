//! The life of one Pod: its volumes, its containers, its status, its end.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container as Spec, Pod},
    jiff::Timestamp,
};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    container::{Container, Order},
    node::Node,
    status::{self, ContainerState, State},
    volumes::Volumes,
};

/// What every Pod has to end at least, even where its object is gone already.
const MINIMUM_GRACE: i64 = 2;
/// What a Pod has to end that does not say.
const DEFAULT_GRACE: i64 = 30;

/// What the containers of a Pod share.
pub struct Place {
    pub node: Arc<Node>,
    pub pod: Arc<Pod>,
    /// Its own, one of those of this machine.
    pub address: Ipv4Addr,
    pub volumes: Volumes,
    pub states: watch::Sender<Vec<ContainerState>>,
}

impl Place {
    fn new(node: Arc<Node>, pod: Arc<Pod>) -> Self {
        let address = Ipv4Addr::new(127, fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255));
        let volumes = Volumes::new(node.clone(), pod.clone(), address);
        let states = containers(&pod).map(|(container, sidecar)| before(&pod, container, sidecar)).collect();
        Self { node, pod, address, volumes, states: watch::Sender::new(states) }
    }

    /// How long its containers may take to end.
    pub fn grace(&self) -> Duration {
        seconds(self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(DEFAULT_GRACE))
    }
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

/// Its sidecars, and then its containers.
fn containers(pod: &Pod) -> impl Iterator<Item = (&Spec, bool)> {
    let spec = pod.spec.iter();
    let sidecars = spec.clone().flat_map(|spec| spec.init_containers.iter().flatten());
    sidecars.map(|container| (container, true)).chain(spec.flat_map(|spec| &spec.containers).map(|c| (c, false)))
}

/// A container as it was before this node had no power, if it was: then it is started once more.
fn before(pod: &Pod, container: &Spec, sidecar: bool) -> ContainerState {
    let image = container.image.as_deref().unwrap_or_default();
    let mut state = ContainerState::new(&container.name, image, sidecar);
    let status = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    if let Some(known) = status.into_iter().find(|known| known.name == container.name) {
        let was_running = known.state.as_ref().is_some_and(|state| state.running.is_some());
        state.restarts = known.restart_count + i32::from(was_running);
    }
    state
}

/// Runs a Pod until it is deleted or gone, or there is no power any more.
pub async fn run(node: Arc<Node>, mut latest: watch::Receiver<Option<Arc<Pod>>>) {
    let Some(pod) = latest.borrow().clone() else { return };
    let place = Arc::new(Place::new(node, pod));
    let mut life = Life { place: place.clone(), sidecars: Group::new(), containers: Group::new() };
    let reporter = AbortOnDropHandle::new(tokio::spawn(report(place.clone())));
    let ending = async {
        tokio::select! {
            () = life.live() => {}
            () = told_to_leave(&mut latest) => {}
        }
        life.end(&mut latest).await;
        drop(reporter);
        let uid = place.pod.metadata.uid.clone().unwrap_or_default();
        // What is left of it is in the way of nobody.
        let _ = std::fs::remove_dir_all(place.node.dir(&uid));
        life.finalize(uid).await;
    };
    tokio::select! {
        () = ending => return,
        () = place.node.power_cut() => {}
    }
    // Its processes see that themselves, and nobody writes anything any more.
    life.containers.ended().await;
    life.sidecars.ended().await;
}

/// Returns once the Pod is to end.
async fn told_to_leave(latest: &mut watch::Receiver<Option<Arc<Pod>>>) {
    let leaves = |pod: &Option<Arc<Pod>>| pod.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some());
    // Where nobody tells any more, it ends as well.
    let _ = latest.wait_for(leaves).await;
}

struct Life {
    place: Arc<Place>,
    sidecars: Group,
    containers: Group,
}

/// Containers that end together.
struct Group {
    tasks: JoinSet<()>,
    orders: watch::Sender<Order>,
}

impl Group {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), orders: watch::Sender::new(Order::Run) }
    }

    async fn ended(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

impl Life {
    /// Starts everything, and keeps its volumes up to date. Never ends.
    async fn live(&mut self) {
        self.prepare().await;
        let pod = self.place.pod.clone();
        for (index, (spec, sidecar)) in containers(&pod).enumerate() {
            let place = self.place.clone();
            let group = if sidecar { &mut self.sidecars } else { &mut self.containers };
            let container = Container { place, spec: spec.clone(), index, orders: group.orders.subscribe() };
            group.tasks.spawn(container.run());
            if sidecar {
                let runs = |states: &Vec<ContainerState>| matches!(states[index].state, State::Running { .. });
                // The sender is ours.
                let _ = self.place.states.subscribe().wait_for(runs).await;
            }
        }
        let mut changes = self.place.node.changes.subscribe();
        changes.mark_changed();
        // The sender is ours.
        while changes.changed().await.is_ok() {
            let _let_through = self.place.node.gate.read().await;
            if let Err(error) = self.place.volumes.write().await {
                eprintln!("{}: {error}", self.place.pod.metadata.name.as_deref().unwrap_or_default());
            }
        }
    }

    /// Waits until there is everything that its volumes need.
    async fn prepare(&self) {
        let mut changes = self.place.node.changes.subscribe();
        while let Err(error) = self.place.volumes.write().await {
            let waiting = State::Waiting { reason: "ContainerCreating", message: Some(error) };
            self.place.states.send_modify(|states| states.iter_mut().for_each(|state| state.state = waiting.clone()));
            // The sender is ours.
            let _ = changes.changed().await;
        }
    }

    /// Ends its containers: those that are not sidecars first, and all of them within the grace period.
    async fn end(&mut self, latest: &mut watch::Receiver<Option<Arc<Pod>>>) {
        let begin = Instant::now();
        for group in [&mut self.containers, &mut self.sidecars] {
            group.orders.send_replace(Order::Terminate);
            let orders = group.orders.clone();
            tokio::select! {
                () = group.ended() => continue,
                () = grace_is_over(latest, begin) => { orders.send_replace(Order::Kill); }
            }
            group.ended().await;
        }
    }

    /// Lets go of the object.
    async fn finalize(&self, uid: String) {
        let Place { node, pod, .. } = &*self.place;
        let pods = node.pods();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let status = patch(&self.place, &pod.clone());
        let parameters = PatchParams::default();
        let written = node.insist(|| pods.patch_status(name, &parameters, &status)).await;
        if written.is_some() {
            let preconditions = Some(Preconditions { uid: Some(uid), ..Preconditions::default() });
            let now = DeleteParams { preconditions, ..DeleteParams::default().grace_period(0) };
            node.insist(|| pods.delete(name, &now)).await;
        }
    }
}

/// Returns when a Pod that has been ending since `begin` has had the time that it is given, which may yet change.
async fn grace_is_over(latest: &mut watch::Receiver<Option<Arc<Pod>>>, begin: Instant) {
    loop {
        let pod = latest.borrow_and_update().clone();
        let grace = pod.map_or(0, |pod| pod.metadata.deletion_grace_period_seconds.unwrap_or(DEFAULT_GRACE));
        tokio::select! {
            () = sleep_until(begin + seconds(grace.max(MINIMUM_GRACE))) => return,
            // Of a Pod that is gone nothing is heard any more.
            Ok(()) = latest.changed() => {}
        }
    }
}

fn patch(place: &Place, known: &Pod) -> Patch<serde_json::Value> {
    let status = status::of(known, place.address, &place.states.borrow(), Timestamp::now());
    // Another Pod of that name is none of ours.
    Patch::Merge(json!({"metadata": {"uid": place.pod.metadata.uid}, "status": status}))
}

/// Writes the Pod's status whenever it changes. Never ends.
async fn report(place: Arc<Place>) {
    let pods = place.node.pods();
    let name = place.pod.metadata.name.as_deref().unwrap_or_default();
    let mut states = place.states.subscribe();
    let mut known = Pod::clone(&place.pod);
    let parameters = PatchParams::default();
    loop {
        states.borrow_and_update();
        let status = patch(&place, &known);
        let written = place.node.insist(|| pods.patch_status(name, &parameters, &status)).await;
        known = written.unwrap_or(known);
        if states.changed().await.is_err() {
            return;
        }
    }
}
