//! How a status is written: by server-side apply, each of the two writers with a field manager of its own.
//!
//! | field manager | owns |
//! |---|---|
//! | `wasmproxy-worker` | `BrokerConnected`, `RegistryReady`, `ArtifactsPublished`, `artifacts`, `transfers`, `progress`, `published`, `receipts`, `broker`, `lastHandledReconcileAt` |
//! | `wasmproxy-controller` | `Ready`, `WorkerAvailable`, `Reconciling` and `Stalled` while True, `observedGeneration` |
//!
//! Where no worker runs the controller takes the worker's conditions by force, and the next worker takes them back.

use std::{fmt::Debug, sync::Arc};

use kube::{
    Api, Resource as _,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::api_server::{ApiError, in_time};
use crate::api::{WasmProxy, WasmProxyStatus};

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// The controller.
    Controller,
    /// The worker, or who reports on its behalf.
    Worker,
}

impl Author {
    /// The field manager.
    pub const fn manager(self) -> &'static str {
        match self {
            Self::Controller => "wasmproxy-controller",
            Self::Worker => "wasmproxy-worker",
        }
    }
}

/// Makes `part` the author's part of the status of `name`, and gives back the resource as it is then.
///
/// # Errors
/// Where the API server does not take it in time.
pub async fn apply<K: Clone + Debug + DeserializeOwned>(
    api: &Api<K>,
    name: &str,
    author: Author,
    part: &WasmProxyStatus,
) -> Result<K, ApiError> {
    let patch = json!({
        "apiVersion": WasmProxy::api_version(&()),
        "kind": WasmProxy::kind(&()),
        "metadata": {"name": name},
        "status": part,
    });
    let parameters = PatchParams::apply(author.manager()).force();
    in_time(api.patch_status(name, &parameters, &Patch::Apply(patch))).await
}

/// The later of two states of one object. A watch may lag behind what a write has given back.
///
/// Resource versions of one object are decimal numbers that grow; where they are not, the first is taken.
pub fn later(first: Arc<WasmProxy>, second: Arc<WasmProxy>) -> Arc<WasmProxy> {
    if version(&second.metadata) > version(&first.metadata) { second } else { first }
}

/// How late a state is: numbers of two states of one object can be compared.
pub(crate) fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::fixtures::resource;

    fn at(version: &str) -> Arc<WasmProxy> {
        let mut resource = resource(&json!({}));
        resource.metadata.resource_version = Some(version.to_owned());
        Arc::new(resource)
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (first, second, expected) in [("9", "10", "10"), ("10", "9", "10"), ("10", "odd", "10"), ("7", "7", "7")] {
            let later = later(at(first), at(second));
            assert_eq!(later.metadata.resource_version.as_deref(), Some(expected), "{first} {second}");
        }
    }
}
