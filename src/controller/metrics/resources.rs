//! How many resources there are, by what `Ready` says of them.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::conditions::{ConditionStatus, ConditionType, Reason, find},
    controller::watch::Watched,
    telemetry::metrics::family::{Family, Kind},
};

pub(super) const RESOURCES: Family = Family {
    name: "resources",
    help: "Resources, by status and reason of Ready; a reason is there while a resource has it. The replica that leads says it.",
    unit: None,
    kind: Kind::Gauge,
    labels: &["ready", "reason"],
};

/// Resources by status and reason of `Ready`.
pub(super) type Readiness = BTreeMap<(&'static str, &'static str), u64>;

/// What the reason of a later or an earlier version is called, and that of a resource which nobody has looked at.
const OTHER: &str = "Other";

/// Counts resources.
pub(super) fn readiness(resources: &[Arc<Watched>]) -> Readiness {
    let mut readiness = Readiness::new();
    for resource in resources {
        *readiness.entry(ready(resource)).or_default() += 1;
    }
    readiness
}

fn ready(resource: &Watched) -> (&'static str, &'static str) {
    let unknown = ConditionStatus::Unknown.as_str();
    let Ok(resource) = &resource.0 else {
        return (ConditionStatus::False.as_str(), Reason::InvalidSpec.as_str());
    };
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let Some(ready) = find(conditions, ConditionType::Ready) else { return (unknown, OTHER) };
    // The words are ours, whatever a resource says: so there are only so many.
    let known = [ConditionStatus::True, ConditionStatus::False].map(ConditionStatus::as_str);
    let status = known.into_iter().find(|known| *known == ready.status).unwrap_or(unknown);
    let reason = Reason::ALL.iter().map(|known| known.as_str()).find(|known| *known == ready.reason);
    (status, reason.unwrap_or(OTHER))
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;
    use crate::{
        api::WasmProxyStatus,
        resource::fixtures::{condition, resource},
    };

    fn watched(ready: Option<(ConditionStatus, &str)>) -> Arc<Watched> {
        let mut resource = resource(&json!({}));
        let conditions = ready.map(|(status, reason)| {
            let mut condition = condition(ConditionType::Ready, status, Reason::Succeeded);
            reason.clone_into(&mut condition.reason);
            condition
        });
        resource.status =
            Some(WasmProxyStatus { conditions: conditions.into_iter().collect(), ..WasmProxyStatus::default() });
        Arc::new(DeserializeGuard(Ok(resource)))
    }

    #[test]
    fn resources_are_counted_by_what_ready_says() {
        let unreadable = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy",
            "metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": {"broker": 5},
        });
        let resources = [
            watched(Some((ConditionStatus::True, "Succeeded"))),
            watched(Some((ConditionStatus::True, "Succeeded"))),
            watched(Some((ConditionStatus::False, "BrokerUnreachable"))),
            watched(Some((ConditionStatus::False, "something that another version says"))),
            watched(None),
            Arc::new(serde_json::from_value(unreadable).unwrap()),
        ];
        let expected = [
            (("False", "BrokerUnreachable"), 1),
            (("False", "InvalidSpec"), 1),
            (("False", "Other"), 1),
            (("True", "Succeeded"), 2),
            (("Unknown", "Other"), 1),
        ];
        assert_eq!(readiness(&resources), Readiness::from(expected));
    }
}
