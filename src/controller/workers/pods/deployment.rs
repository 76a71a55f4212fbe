//! The Deployment of a worker: one Pod, replaced and never doubled.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use super::{
    change::fingerprints,
    template::{selector, template},
};
use crate::{api::WasmProxy, controller::workers::children::Family, resource::translate::InvalidSpec};

/// The Deployment of the worker of `resource`, with so many Pods: one, or none while it is suspended.
///
/// # Errors
/// Where the spec cannot be used, though the API server has accepted it.
pub(super) fn deployment(
    resource: &WasmProxy,
    family: &Family,
    image: &str,
    replicas: i32,
) -> Result<Deployment, InvalidSpec> {
    let template = template(&resource.spec, family, image)?;
    let mut metadata = family.metadata();
    metadata.annotations = Some(fingerprints(&template, &resource.spec));
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        // Two workers of one resource would take the broker's session from each other.
        strategy: Some(DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }),
        selector: LabelSelector { match_labels: Some(selector(family)), ..LabelSelector::default() },
        // Nobody rolls a worker back: its controller would roll it forth.
        revision_history_limit: Some(1),
        // One that is paused would never have the Pod that its resource asks for, and keep its slot in a rollout.
        paused: Some(false),
        template,
        ..DeploymentSpec::default()
    };
    Ok(Deployment { metadata, spec: Some(spec), status: None })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::resource;

    #[test]
    fn there_is_never_more_than_one_pod() {
        let resource = resource(&json!({}));
        let deployment = deployment(&resource, &Family::of(&resource), "image", 1).unwrap();
        let spec = serde_json::to_value(deployment.spec).unwrap();
        assert_eq!((&spec["replicas"], &spec["strategy"]), (&json!(1), &json!({"type": "Recreate"})));
        let selector = json!({"wasmproxy.io/resource": "factory-floor", "app.kubernetes.io/component": "worker"});
        assert_eq!(spec["selector"], json!({"matchLabels": selector}));
        let labels = spec["template"]["metadata"]["labels"].as_object().unwrap();
        assert!(selector.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value));
    }
}
