//! What the children of one resource have in common.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource as _, ResourceExt as _, runtime::reflector::ObjectRef};

use crate::{api::WasmProxy, controller::watch::Watched};

/// The label of Pods that names their resource.
pub const RESOURCE_LABEL: &str = "wasmproxy.io/resource";

/// Tells the objects that are ours from all others, for the watches.
pub(super) const SELECTOR: &str = "app.kubernetes.io/managed-by=wasmproxy,app.kubernetes.io/component=worker";

/// One resource, as its children know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Where the resource is, and all children.
    pub namespace: String,
    /// What the resource is called.
    pub resource: String,
    /// Which resource of that name it is.
    pub uid: String,
}

impl Family {
    /// That of this resource.
    pub fn of(resource: &WasmProxy) -> Self {
        Self {
            namespace: resource.namespace().unwrap_or_default(),
            resource: resource.name_any(),
            uid: resource.uid().unwrap_or_default(),
        }
    }

    /// What every child is called, whatever its kind. Within the 63 characters of a label, as the resource's name is
    /// within 52.
    pub fn child(&self) -> String {
        format!("{}-wasmproxy", self.resource)
    }

    /// The labels of every child, by the names that Kubernetes recommends.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = [
            ("app.kubernetes.io/name", "wasmproxy"),
            ("app.kubernetes.io/instance", &self.resource),
            ("app.kubernetes.io/component", "worker"),
            ("app.kubernetes.io/managed-by", "wasmproxy"),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// The metadata of every child.
    pub fn metadata(&self) -> ObjectMeta {
        ObjectMeta {
            name: Some(self.child()),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels()),
            owner_references: Some(vec![self.owner()]),
            ..ObjectMeta::default()
        }
    }

    /// The resource, as kube's controller knows it.
    pub fn object(&self) -> ObjectRef<Watched> {
        ObjectRef::new(&self.resource).within(&self.namespace)
    }

    fn owner(&self) -> OwnerReference {
        OwnerReference {
            api_version: WasmProxy::api_version(&()).into_owned(),
            kind: WasmProxy::kind(&()).into_owned(),
            name: self.resource.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }
}

/// The resource, as people and all other lines of the log call it.
impl Display for Family {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.resource)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::resource;

    #[test]
    fn children_are_named_after_their_resource_and_go_with_it() {
        let metadata = Family::of(&resource(&json!({}))).metadata();
        let owner = json!({
            "apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "name": "factory-floor", "uid": "11f0",
            "controller": true, "blockOwnerDeletion": true,
        });
        let expected = json!({
            "name": "factory-floor-wasmproxy",
            "namespace": "edge",
            "labels": {
                "app.kubernetes.io/name": "wasmproxy",
                "app.kubernetes.io/instance": "factory-floor",
                "app.kubernetes.io/component": "worker",
                "app.kubernetes.io/managed-by": "wasmproxy",
            },
            "ownerReferences": [owner],
        });
        assert_eq!(serde_json::to_value(metadata).unwrap(), expected);
    }

    #[test]
    fn the_watches_see_what_carries_the_labels() {
        let labels = Family::of(&resource(&json!({}))).labels();
        for requirement in SELECTOR.split(',') {
            let (key, value) = requirement.split_once('=').unwrap();
            assert_eq!(labels[key], value);
        }
    }
}
