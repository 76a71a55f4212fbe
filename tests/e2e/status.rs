//! What resources and Pods say of themselves.

use serde_json::Value;

/// What makes a Pod the same one that it was, with the same process in it.
pub fn life(pod: &Value) -> (&Value, &Value) {
    (&pod["metadata"]["uid"], &pod["status"]["containerStatuses"][0]["containerID"])
}

/// The status of a condition, and its reason.
pub fn condition<'a>(resource: &'a Value, about: &str) -> Option<(&'a str, &'a str)> {
    let conditions = resource["status"]["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == about)?;
    Some((condition["status"].as_str()?, condition["reason"].as_str()?))
}

/// Whether it is ready as it is written now.
pub fn is_ready(resource: &Value) -> bool {
    let seen = resource["status"]["observedGeneration"] == resource["metadata"]["generation"];
    seen && condition(resource, "Ready").is_some_and(|(status, _)| status == "True")
}
