//! Whose resource an event of a child's watch is to wake: that of a child with a change that matters.

use std::collections::HashMap;

use kube::{
    Resource,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use crate::controller::watch::Watched;

/// What matters of a child: its resource, and a hash of what the controller acts upon.
pub(super) type Relevance = (ObjectRef<Watched>, u64);

/// What was last seen of each child.
pub(super) struct Changes<K: Resource<DynamicType = ()>> {
    relevance: fn(&K) -> Option<Relevance>,
    known: HashMap<ObjectRef<K>, Relevance>,
    listed: HashMap<ObjectRef<K>, Relevance>,
}

impl<K: Resource<DynamicType = ()>> Changes<K> {
    /// `relevance` is `None` for what is nobody's child.
    pub fn new(relevance: fn(&K) -> Option<Relevance>) -> Self {
        Self { relevance, known: HashMap::new(), listed: HashMap::new() }
    }

    /// Who is to be woken by an event.
    pub fn observe(&mut self, event: &Event<K>) -> Vec<ObjectRef<Watched>> {
        match event {
            Event::Apply(child) => {
                let (object, now) = (ObjectRef::from_obj(child), (self.relevance)(child));
                let before = match &now {
                    Some(now) => self.known.insert(object, now.clone()),
                    // It was a child until now, perhaps.
                    None => self.known.remove(&object),
                };
                woken(before, now)
            }
            Event::Delete(child) => woken(self.known.remove(&ObjectRef::from_obj(child)), None),
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(child) => {
                self.listed.extend((self.relevance)(child).map(|now| (ObjectRef::from_obj(child), now)));
                Vec::new()
            }
            Event::InitDone => {
                let mut before = std::mem::replace(&mut self.known, std::mem::take(&mut self.listed));
                let mut due: Vec<_> =
                    self.known.iter().flat_map(|(child, now)| woken(before.remove(child), Some(now.clone()))).collect();
                // Those that went while nobody watched.
                due.extend(before.into_values().map(|(resource, _)| resource));
                due
            }
        }
    }
}

/// Both, where a child has changed hands.
fn woken(before: Option<Relevance>, now: Option<Relevance>) -> Vec<ObjectRef<Watched>> {
    if before == now {
        return Vec::new();
    }
    let mut resources: Vec<_> = [before, now].into_iter().flatten().map(|(resource, _)| resource).collect();
    resources.dedup();
    resources
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "events read better without a reference in front")]
mod tests {
    use k8s_openapi::api::core::v1::ServiceAccount;
    use serde_json::json;

    use super::*;

    /// A child of the resource `line` that matters as its version does.
    fn child(name: &str, version: &str) -> ServiceAccount {
        let metadata = json!({"name": name, "namespace": "edge", "uid": name, "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn relevance(child: &ServiceAccount) -> Option<Relevance> {
        let version = child.metadata.resource_version.as_ref()?.parse().ok()?;
        Some((ObjectRef::new(child.metadata.name.as_ref()?).within("edge"), version))
    }

    fn woken_by(changes: &mut Changes<ServiceAccount>, event: Event<ServiceAccount>) -> Vec<String> {
        let mut names: Vec<_> = changes.observe(&event).into_iter().map(|resource| resource.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_child_that_is_made_changed_or_deleted_wakes_its_resource_and_nothing_else_does() {
        let mut changes = Changes::new(relevance);
        assert_eq!(woken_by(&mut changes, Event::Apply(child("a", "1"))), ["a"]);
        assert_eq!(woken_by(&mut changes, Event::Apply(child("a", "1"))), [] as [&str; 0]);
        assert_eq!(woken_by(&mut changes, Event::Apply(child("a", "2"))), ["a"]);
        assert_eq!(woken_by(&mut changes, Event::Delete(child("a", "3"))), ["a"]);
        assert_eq!(woken_by(&mut changes, Event::Delete(child("a", "3"))), [] as [&str; 0]);
    }

    #[test]
    fn a_child_that_is_nobodys_any_more_wakes_whose_it_was() {
        let mut changes = Changes::new(relevance);
        changes.observe(&Event::Apply(child("a", "1")));
        // No version, no relevance.
        assert_eq!(woken_by(&mut changes, Event::Apply(child("a", "-"))), ["a"]);
        assert_eq!(woken_by(&mut changes, Event::Apply(child("a", "-"))), [] as [&str; 0]);
    }

    #[test]
    fn what_happened_while_nobody_watched_is_found_out() {
        let mut changes = Changes::new(relevance);
        for event in [Event::Init, Event::InitApply(child("a", "1")), Event::InitApply(child("b", "1"))] {
            assert_eq!(woken_by(&mut changes, event), [] as [&str; 0]);
        }
        assert_eq!(woken_by(&mut changes, Event::InitApply(child("c", "1"))), [] as [&str; 0]);
        assert_eq!(woken_by(&mut changes, Event::InitDone), ["a", "b", "c"]);
        for event in [Event::Init, Event::InitApply(child("a", "1")), Event::InitApply(child("b", "2"))] {
            changes.observe(&event);
        }
        assert_eq!(woken_by(&mut changes, Event::InitDone), ["b", "c"], "b has changed, c is gone");
    }
}
