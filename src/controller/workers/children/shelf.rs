//! The children of one kind, as they are known best: the watch may lag behind what was written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{
    Resource,
    runtime::reflector::{ObjectRef, Store},
};

use crate::resource::status::version;

/// The children of one kind.
pub struct Shelf<K: Resource<DynamicType = ()> + Clone + 'static> {
    stored: Store<K>,
    recent: Mutex<Recent<K>>,
}

/// What the watch may not have seen yet.
struct Recent<K: Resource<DynamicType = ()> + Clone + 'static> {
    /// What a write has given back.
    written: HashMap<ObjectRef<K>, Arc<K>>,
    /// What was wanted, and what the API server made of it, where the two differ.
    settled: HashMap<ObjectRef<K>, (u64, Option<String>)>,
}

impl<K: Resource<DynamicType = ()> + Clone> Shelf<K> {
    /// `stored` is kept up to date by a watch.
    pub fn new(stored: Store<K>) -> Self {
        Self { stored, recent: Mutex::new(Recent { written: HashMap::new(), settled: HashMap::new() }) }
    }

    /// The object of that name. Where none is known there may be one all the same: one that carries no label of ours, or
    /// that has only just been made.
    pub fn get(&self, object: &ObjectRef<K>) -> Option<Arc<K>> {
        let stored = self.stored.get(object)?;
        let mut recent = self.recent();
        match recent.written.get(object) {
            Some(written)
                if version(written.meta()) > version(stored.meta()) && written.meta().uid == stored.meta().uid =>
            {
                Some(written.clone())
            }
            _ => {
                recent.written.remove(object);
                Some(stored)
            }
        }
    }

    /// All that the watch has seen.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.stored.state()
    }

    /// Keeps what a write has given back.
    pub fn keep(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        self.recent().written.insert(ObjectRef::from_obj(&object), object.clone());
        object
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &ObjectRef<K>) {
        let mut recent = self.recent();
        recent.written.remove(object);
        recent.settled.remove(object);
    }

    /// Remembers that `object` is what the API server makes of what was wanted, so that nobody asks for it again and again.
    pub fn settle(&self, object: &K, wanted: u64) {
        let version = object.meta().resource_version.clone();
        self.recent().settled.insert(ObjectRef::from_obj(object), (wanted, version));
    }

    /// Whether [`Self::settle`] was called for just this.
    pub fn is_settled(&self, object: &K, wanted: u64) -> bool {
        let settled = (wanted, object.meta().resource_version.clone());
        self.recent().settled.get(&ObjectRef::from_obj(object)) == Some(&settled)
    }

    fn recent(&self) -> MutexGuard<'_, Recent<K>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServiceAccount;
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    use super::*;

    fn object(version: &str) -> ServiceAccount {
        let metadata = json!({"name": "a", "namespace": "b", "uid": "c", "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn version_of(shelf: &Shelf<ServiceAccount>) -> Option<String> {
        shelf.get(&ObjectRef::from_obj(&object("1")))?.metadata.resource_version.clone()
    }

    #[test]
    fn the_later_of_what_was_seen_and_what_was_written_is_known() {
        let (store, mut writer) = reflector::store();
        let shelf = Shelf::new(store);
        shelf.keep(object("9"));
        assert_eq!(version_of(&shelf), None, "what the watch does not know may be gone");
        for (seen, known) in [("8", "9"), ("10", "10")] {
            writer.apply_watcher_event(&Event::Apply(object(seen)));
            assert_eq!(version_of(&shelf).as_deref(), Some(known));
        }
        shelf.keep(object("11"));
        let mut another = object("3");
        another.metadata.uid = Some("d".into());
        writer.apply_watcher_event(&Event::Apply(another));
        assert_eq!(version_of(&shelf).as_deref(), Some("3"), "another object is no earlier version");
    }

    #[test]
    fn what_is_settled_is_so_until_either_side_changes() {
        let shelf = Shelf::new(reflector::store().0);
        shelf.settle(&object("9"), 1);
        assert!(shelf.is_settled(&object("9"), 1));
        assert!(!shelf.is_settled(&object("9"), 2) && !shelf.is_settled(&object("10"), 1));
        shelf.forget(&ObjectRef::from_obj(&object("9")));
        assert!(!shelf.is_settled(&object("9"), 1));
    }
}
