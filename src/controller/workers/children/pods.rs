//! The Pods of each resource. With thousands of them, nobody looks through all for those of one.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt as _,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};

use super::family::{Family, RESOURCE_LABEL};
use crate::controller::watch::Watched;

/// The Pods of all resources, by resource.
pub(super) struct Pods {
    stored: Store<Pod>,
    names: Mutex<Names>,
}

/// Which Pods are whose.
#[derive(Default)]
struct Names {
    known: HashMap<ObjectRef<Watched>, HashSet<ObjectRef<Pod>>>,
    listed: HashMap<ObjectRef<Watched>, HashSet<ObjectRef<Pod>>>,
}

impl Pods {
    /// `stored` is kept up to date by a watch, whose events are [observed](Self::observe) as well.
    pub fn new(stored: Store<Pod>) -> Self {
        Self { stored, names: Mutex::default() }
    }

    /// Those that belong to a resource.
    pub fn of(&self, family: &Family) -> Vec<Arc<Pod>> {
        let names = self.names();
        let pods = names.known.get(&family.object()).into_iter().flatten().filter_map(|pod| self.stored.get(pod));
        // One whose label has changed is that of another.
        pods.filter(|pod| whose(pod).is_some_and(|resource| resource == family.object())).collect()
    }

    /// Takes in what happens to Pods.
    pub fn observe(&self, event: &Event<Pod>) {
        let mut names = self.names();
        match event {
            Event::Apply(pod) => add(&mut names.known, pod),
            Event::Delete(pod) => {
                let Some(resource) = whose(pod) else { return };
                if let Some(pods) = names.known.get_mut(&resource) {
                    pods.remove(&ObjectRef::from_obj(pod));
                    if pods.is_empty() {
                        names.known.remove(&resource);
                    }
                }
            }
            Event::Init => names.listed.clear(),
            Event::InitApply(pod) => add(&mut names.listed, pod),
            Event::InitDone => names.known = std::mem::take(&mut names.listed),
        }
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The resource that a Pod belongs to, by its label.
pub(super) fn whose(pod: &Pod) -> Option<ObjectRef<Watched>> {
    Some(ObjectRef::new(pod.labels().get(RESOURCE_LABEL)?).within(pod.metadata.namespace.as_ref()?))
}

fn add(names: &mut HashMap<ObjectRef<Watched>, HashSet<ObjectRef<Pod>>>, pod: &Pod) {
    if let Some(resource) = whose(pod) {
        names.entry(resource).or_default().insert(ObjectRef::from_obj(pod));
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, resource: &str) -> Pod {
        let labels = json!({"wasmproxy.io/resource": resource});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "edge", "labels": labels}})).unwrap()
    }

    fn names(pods: &Pods, resource: &str) -> Vec<String> {
        let family = Family { namespace: "edge".into(), resource: resource.into(), uid: String::new() };
        let mut names: Vec<_> = pods.of(&family).iter().map(|pod| pod.name_any()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_resource_has_the_pods_with_its_label_until_they_are_gone() {
        let (store, mut writer) = reflector::store();
        let pods = Pods::new(store);
        let mut happen = |event: Event<Pod>| {
            writer.apply_watcher_event(&event);
            pods.observe(&event);
        };
        for (name, resource) in [("a-1", "a"), ("a-2", "a"), ("b-1", "b")] {
            happen(Event::Apply(pod(name, resource)));
        }
        assert_eq!((names(&pods, "a"), names(&pods, "b")), (vec!["a-1".into(), "a-2".into()], vec!["b-1".into()]));
        happen(Event::Delete(pod("a-1", "a")));
        happen(Event::Apply(pod("a-2", "b")));
        assert_eq!(names(&pods, "a"), [] as [&str; 0]);
        assert_eq!(names(&pods, "b"), ["a-2", "b-1"]);
        // What is no longer there after a while without a watch.
        for event in [Event::Init, Event::InitApply(pod("b-2", "b")), Event::InitDone] {
            happen(event);
        }
        assert_eq!(names(&pods, "b"), ["b-2"]);
    }
}
