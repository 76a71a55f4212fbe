//! Whether an object is as it should be: everything that is wanted is there. What the API server fills in, and what others
//! add, is nobody's business here, just as server-side apply leaves it alone.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use serde_json::{Map, Value};

use super::quantity::billionths;

/// The lists that are maps to Kubernetes, and the key of each. In the others order and length matter.
const MAPS: [(&str, &str); 7] = [
    ("containers", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("ownerReferences", "uid"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumes", "name"),
];

/// Where quantities are.
const QUANTITIES: [&str; 3] = ["limits", "requests", "sizeLimit"];

/// Whether all of `desired` is in `observed`.
pub(super) fn holds<K: Serialize>(desired: &K, observed: &K) -> bool {
    let values = serde_json::to_value(desired).and_then(|desired| Ok((desired, serde_json::to_value(observed)?)));
    // What cannot be compared is applied, and the API server compares it.
    values.is_ok_and(|(desired, observed)| value_holds("", &desired, &observed))
}

/// A number for what is desired, within this process.
pub(super) fn fingerprint<K: Serialize>(desired: &K) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(desired).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// `name` is that of the field with this value.
fn value_holds(name: &str, desired: &Value, observed: &Value) -> bool {
    match (desired, observed) {
        (Value::Object(desired), Value::Object(observed)) => fields_hold(name, desired, observed),
        (Value::Array(desired), Value::Array(observed)) => match MAPS.iter().find(|(list, _)| *list == name) {
            Some((_, key)) => desired.iter().all(|wanted| {
                let same = observed.iter().find(|observed| observed[*key] == wanted[*key]);
                same.is_some_and(|observed| value_holds("", wanted, observed))
            }),
            None => {
                desired.len() == observed.len()
                    && desired.iter().zip(observed).all(|(desired, observed)| value_holds("", desired, observed))
            }
        },
        (Value::String(desired), Value::String(observed)) if QUANTITIES.contains(&name) => {
            desired == observed || billionths(desired).is_some_and(|value| Some(value) == billionths(observed))
        }
        _ => desired == observed,
    }
}

fn fields_hold(name: &str, desired: &Map<String, Value>, observed: &Map<String, Value>) -> bool {
    desired.iter().all(|(field, wanted)| {
        // Each resource by its own name.
        let name = if QUANTITIES.contains(&name) { name } else { field };
        match observed.get(field) {
            Some(observed) => value_holds(name, wanted, observed),
            None => is_zero(wanted),
        }
    })
}

/// Whether the API server leaves such a value out.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.values().all(is_zero),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_have_added_does_not_matter() {
        let desired = json!({"spec": {"replicas": 1}, "metadata": {"labels": {"a": "b"}}});
        let mut observed = json!({
            "spec": {"replicas": 1, "progressDeadlineSeconds": 600},
            "metadata": {"labels": {"a": "b", "c": "d"}},
            "status": {},
        });
        assert!(holds(&desired, &observed));
        observed["spec"]["replicas"] = json!(2);
        assert!(!holds(&desired, &observed));
    }

    #[test]
    fn what_is_missing_matters() {
        assert!(!holds(&json!({"labels": {"a": "b"}}), &json!({"labels": {}})));
        assert!(!holds(&json!({"labels": {"a": "b"}}), &json!({})));
    }

    #[test]
    fn what_the_api_server_leaves_out_is_not_missing() {
        let desired =
            json!({"tolerations": [], "affinity": {"podAffinity": {}}, "hostNetwork": false, "value": "", "n": 0});
        assert!(holds(&desired, &json!({})));
        assert!(!holds(&json!({"hostNetwork": false}), &json!({"hostNetwork": true})));
    }

    #[test]
    fn containers_and_their_like_are_found_by_name() {
        let desired = json!({"containers": [{"name": "worker", "image": "a"}]});
        let observed = json!({"containers": [{"name": "mesh"}, {"name": "worker", "image": "a", "stdin": false}]});
        assert!(holds(&desired, &observed));
        assert!(!holds(&desired, &json!({"containers": [{"name": "worker", "image": "b"}]})));
        assert!(!holds(&desired, &json!({"containers": [{"name": "mesh", "image": "a"}]})));
    }

    #[test]
    fn other_lists_are_compared_as_a_whole() {
        let desired = json!({"rules": [{"verbs": ["get", "list"]}]});
        assert!(holds(&desired, &desired));
        assert!(!holds(&desired, &json!({"rules": [{"verbs": ["get", "list", "delete"]}]})));
        assert!(!holds(&desired, &json!({"rules": [{"verbs": ["get", "list"]}, {"verbs": ["delete"]}]})));
        assert!(!holds(&json!({"args": ["a", "b"]}), &json!({"args": ["b", "a"]})));
    }

    #[test]
    fn quantities_are_compared_by_value_and_nothing_else_is() {
        let resources = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        assert!(holds(&resources("0.5"), &resources("500m")));
        assert!(!holds(&resources("0.5"), &resources("5")));
        assert!(holds(&json!({"sizeLimit": "1Gi"}), &json!({"sizeLimit": "1024Mi"})));
        assert!(!holds(&json!({"value": "1Gi"}), &json!({"value": "1024Mi"})));
    }
}
