//! What the controller knows of the resources in all namespaces that it watches: one store, which many watches fill.
//!
//! kube's stores have one writer each, and a list that begins anew replaces everything. Here each watch replaces only what
//! came from it; so there is one store for all, one controller reads it, and its limits hold over all namespaces.

use std::collections::{HashMap, HashSet};

use kube::{
    ResourceExt as _,
    runtime::{
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::Event,
    },
};

use super::watch::{Departure, Watched, what_matters};

/// A store, and what each watch has put into it.
pub(super) struct Caches {
    writer: Writer<Watched>,
    store: Store<Watched>,
    watches: Vec<Watch>,
}

/// What came from one watch.
#[derive(Default)]
struct Watch {
    known: HashMap<ObjectRef<Watched>, Known>,
    /// What a list that is under way has named so far.
    listed: HashSet<ObjectRef<Watched>>,
}

struct Known {
    uid: String,
    /// See [`what_matters`].
    matters: u64,
}

/// What an event has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// This is new, or has changed in a way that matters.
    pub changed: Option<ObjectRef<Watched>>,
    /// Who is gone.
    pub departed: Option<Departure>,
    /// The watch has named everything that there is.
    pub listed: bool,
}

impl Caches {
    /// An empty store for so many watches. It calls itself ready from the beginning, since each watch has its own time.
    pub fn new(watches: usize) -> Self {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        Self { writer, store, watches: std::iter::repeat_with(Watch::default).take(watches).collect() }
    }

    /// What is known, for others to read.
    pub fn store(&self) -> Store<Watched> {
        self.store.clone()
    }

    /// Brings the store up to date with an event of one of the watches. Whoever departs is not in the store any more.
    pub fn apply(&mut self, watch: usize, event: Event<Watched>) -> News {
        let Some(from) = self.watches.get_mut(watch) else { return News::default() };
        match event {
            Event::Init => {
                from.listed.clear();
                News::default()
            }
            Event::InitApply(object) => {
                from.listed.insert(ObjectRef::from_obj(&object));
                let changed = from.learn(&object);
                self.writer.apply_watcher_event(&Event::Apply(object));
                News { changed, ..News::default() }
            }
            Event::InitDone => {
                self.drop_unlisted(watch);
                News { departed: Some(Departure::AllBut(self.uids())), listed: true, ..News::default() }
            }
            Event::Apply(object) => {
                let changed = from.learn(&object);
                self.writer.apply_watcher_event(&Event::Apply(object));
                News { changed, ..News::default() }
            }
            Event::Delete(object) => {
                from.known.remove(&ObjectRef::from_obj(&object));
                let departed = object.uid().map(Departure::Of);
                self.writer.apply_watcher_event(&Event::Delete(object));
                News { departed, ..News::default() }
            }
        }
    }

    /// Takes out of the store what a whole list has not named.
    fn drop_unlisted(&mut self, watch: usize) {
        let Some(from) = self.watches.get_mut(watch) else { return };
        let listed = std::mem::take(&mut from.listed);
        let gone: Vec<_> =
            from.known.extract_if(|object, _| !listed.contains(object)).map(|(object, _)| object).collect();
        for object in gone {
            if let Some(object) = self.store.get(&object) {
                self.writer.apply_watcher_event(&Event::Delete(Watched::clone(&object)));
            }
        }
    }

    fn uids(&self) -> HashSet<String> {
        self.watches.iter().flat_map(|watch| watch.known.values()).map(|known| known.uid.clone()).collect()
    }
}

impl Watch {
    /// Says who it is if there is something to do about it.
    fn learn(&mut self, object: &Watched) -> Option<ObjectRef<Watched>> {
        let known = Known { uid: object.uid().unwrap_or_default(), matters: what_matters(object) };
        let name = ObjectRef::from_obj(object);
        let before = self.known.insert(name.clone(), known);
        let now = self.known.get(&name)?;
        let is_same = before.is_some_and(|before| (&before.uid, before.matters) == (&now.uid, now.matters));
        (!is_same).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::resource;

    fn object(namespace: &str, name: &str, uid: &str) -> Watched {
        let mut resource = resource(&json!({}));
        resource.metadata.namespace = Some(namespace.to_owned());
        resource.metadata.name = Some(name.to_owned());
        resource.metadata.uid = Some(uid.to_owned());
        DeserializeGuard(Ok(resource))
    }

    fn list(caches: &mut Caches, watch: usize, objects: Vec<Watched>) -> News {
        caches.apply(watch, Event::Init);
        for object in objects {
            caches.apply(watch, Event::InitApply(object));
        }
        caches.apply(watch, Event::InitDone)
    }

    fn names(caches: &Caches) -> Vec<String> {
        let mut names: Vec<_> = caches.store().state().iter().map(|object| object.name_any()).collect();
        names.sort();
        names
    }

    fn all_but(uids: &[&str]) -> Option<Departure> {
        Some(Departure::AllBut(uids.iter().map(|uid| (*uid).to_owned()).collect()))
    }

    #[test]
    fn a_list_of_one_namespace_leaves_the_others_alone() {
        let mut caches = Caches::new(2);
        list(&mut caches, 0, vec![object("a", "one", "1"), object("a", "two", "2")]);
        let news = list(&mut caches, 1, vec![object("b", "three", "3")]);
        assert_eq!((news.departed, news.listed), (all_but(&["1", "2", "3"]), true));

        let news = list(&mut caches, 0, vec![object("a", "two", "2")]);
        assert_eq!(news.departed, all_but(&["2", "3"]));
        assert_eq!(names(&caches), ["three", "two"]);
    }

    #[test]
    fn what_is_listed_is_there_before_the_list_is_over() {
        let mut caches = Caches::new(1);
        caches.apply(0, Event::Init);
        let news = caches.apply(0, Event::InitApply(object("a", "one", "1")));
        assert_eq!(news.changed, Some(ObjectRef::new("one").within("a")));
        assert_eq!(names(&caches), ["one"]);
    }

    #[test]
    fn who_is_deleted_departs_and_is_not_in_the_store() {
        let mut caches = Caches::new(1);
        list(&mut caches, 0, vec![object("a", "one", "1")]);
        let news = caches.apply(0, Event::Delete(object("a", "one", "1")));
        assert_eq!(news.departed, Some(Departure::Of("1".into())));
        assert_eq!(names(&caches), [""; 0]);
    }

    #[test]
    fn another_object_of_the_same_name_is_new_and_the_first_one_departs() {
        let mut caches = Caches::new(1);
        list(&mut caches, 0, vec![object("a", "one", "1")]);
        caches.apply(0, Event::Init);
        let news = caches.apply(0, Event::InitApply(object("a", "one", "2")));
        assert!(news.changed.is_some());
        assert_eq!(caches.apply(0, Event::InitDone).departed, all_but(&["2"]));
    }

    #[test]
    fn only_what_matters_is_a_change() {
        let mut caches = Caches::new(1);
        list(&mut caches, 0, vec![object("a", "one", "1")]);
        let mut next = object("a", "one", "1");
        assert_eq!(caches.apply(0, Event::Apply(next.clone())).changed, None);
        let resource = next.0.as_mut().unwrap();
        resource.metadata.resource_version = Some("9".into());
        assert_eq!(caches.apply(0, Event::Apply(next.clone())).changed, None);
        next.0.as_mut().unwrap().metadata.generation = Some(9);
        assert!(caches.apply(0, Event::Apply(next)).changed.is_some());
    }

    #[test]
    fn an_object_that_cannot_be_read_is_there_all_the_same() {
        let unreadable = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy",
            "metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"broker": 5},
        });
        let unreadable: Watched = serde_json::from_value(unreadable).unwrap();
        assert!(unreadable.0.is_err());
        let mut caches = Caches::new(1);
        assert_eq!(list(&mut caches, 0, vec![unreadable]).departed, all_but(&["c"]));
        assert_eq!(names(&caches), ["a"]);
    }
}
