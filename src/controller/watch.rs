//! What is watched, and which changes wake the controller.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use kube::{Resource as _, ResourceExt as _, core::DeserializeGuard};

use crate::{
    api::{RECONCILE_ANNOTATION, Source, WasmProxy, conditions::find},
    resource::report::WORKER_CONDITIONS,
};

/// A resource, or what is known of one that cannot be read; that must not keep the watch from the others.
pub(super) type Watched = DeserializeGuard<WasmProxy>;

/// A resource of this UID is there no longer.
///
/// kube calls no reconciler for objects that are gone, and there are no finalizers to wait for: so the raw events tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// This one was deleted.
    Of(String),
    /// All but these were, while nobody watched.
    AllBut(HashSet<String>),
}

/// A hash of what the controller acts upon: progress is not among it, nor is what the controller writes itself.
pub(super) fn what_matters(object: &Watched) -> u64 {
    let mut hasher = DefaultHasher::new();
    let metadata = object.meta();
    metadata.generation.hash(&mut hasher);
    metadata.deletion_timestamp.is_some().hash(&mut hasher);
    object.annotations().get(RECONCILE_ANNOTATION).hash(&mut hasher);
    match &object.0 {
        Ok(resource) => {
            let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            for about in WORKER_CONDITIONS {
                let condition = find(conditions, about);
                condition.map(|c| (&c.status, &c.reason, &c.message, c.observed_generation)).hash(&mut hasher);
            }
            hash_what_is_told(resource, &mut hasher);
        }
        Err(invalid) => invalid.error.hash(&mut hasher),
    }
    hasher.finish()
}

/// A publication of what is declared, and a request that was handled, are told of, and so wake the controller once.
fn hash_what_is_told(resource: &WasmProxy, hasher: &mut DefaultHasher) {
    let Some(status) = &resource.status else { return };
    status.last_handled_reconcile_at.hash(hasher);
    for artifact in status.artifacts.iter().filter(|artifact| artifact.source == Source::Declared) {
        if let Some(completed) = &artifact.completed_at {
            (&artifact.reference, &artifact.digest, completed.0).hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{
        api::{
            WasmProxyStatus,
            conditions::{ConditionStatus, ConditionType, Reason},
        },
        resource::fixtures::{at, condition, resource},
    };

    fn hash(change: impl FnOnce(&mut WasmProxy)) -> u64 {
        let mut resource = resource(&json!({}));
        let connected = condition(ConditionType::BrokerConnected, ConditionStatus::True, Reason::Connected);
        resource.status = Some(WasmProxyStatus { conditions: vec![connected], ..WasmProxyStatus::default() });
        change(&mut resource);
        what_matters(&DeserializeGuard(Ok(resource)))
    }

    fn status(resource: &mut WasmProxy) -> &mut WasmProxyStatus {
        resource.status.as_mut().unwrap()
    }

    #[test]
    fn progress_wakes_nobody() {
        let unchanged = hash(|_| {});
        assert_eq!(hash(|r| status(r).progress = Some("6/13".into())), unchanged);
        assert_eq!(hash(|r| status(r).conditions[0].last_transition_time = at(9)), unchanged);
        assert_eq!(hash(|r| r.metadata.resource_version = Some("9".into())), unchanged);
    }

    #[test]
    fn a_publication_and_a_request_that_was_handled_wake_it_once() {
        let with = |completed: Option<&str>, published: u32, source: &str| {
            let artifact = json!({
                "reference": "registry.example/wasm/add:1.2", "digest": "sha256:00", "phase": "Streaming",
                "chunks": {"total": 13, "published": published}, "source": source, "completedAt": completed,
            });
            hash(|r| status(r).artifacts.push(serde_json::from_value(artifact).unwrap()))
        };
        let (unchanged, out) = (hash(|_| {}), Some("2026-11-01T10:00:07Z"));
        assert_eq!(with(None, 6, "Declared"), unchanged);
        assert_ne!(with(out, 13, "Declared"), unchanged);
        assert_eq!(with(out, 6, "Declared"), with(out, 13, "Declared"), "it is sent again");
        assert_eq!(with(out, 13, "Requested"), unchanged, "devices could wake it");
        assert_ne!(hash(|r| status(r).last_handled_reconcile_at = Some("now".into())), unchanged);
    }

    #[test]
    fn what_the_controller_writes_does_not_wake_it() {
        let ready = condition(ConditionType::Ready, ConditionStatus::True, Reason::Succeeded);
        let written = hash(|r| {
            status(r).conditions.push(ready);
            status(r).observed_generation = Some(3);
        });
        assert_eq!(written, hash(|_| {}));
    }

    #[test]
    fn what_it_acts_upon_wakes_it() {
        let unchanged = hash(|_| {});
        assert_ne!(hash(|r| r.metadata.generation = Some(4)), unchanged);
        assert_ne!(hash(|r| r.metadata.deletion_timestamp = Some(at(9))), unchanged);
        let annotations = BTreeMap::from([(RECONCILE_ANNOTATION.to_owned(), "now".to_owned())]);
        assert_ne!(hash(|r| r.metadata.annotations = Some(annotations)), unchanged);
        assert_ne!(hash(|r| status(r).conditions[0].status = "False".into()), unchanged);
        assert_ne!(hash(|r| status(r).conditions[0].reason = "Connecting".into()), unchanged);
        assert_ne!(hash(|r| status(r).conditions[0].observed_generation = Some(2)), unchanged);
        assert_ne!(hash(|r| status(r).conditions.clear()), unchanged);
    }
}
