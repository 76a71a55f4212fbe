//! The status of one resource, for the reporter.

use std::sync::Arc;

use kube::{
    Api, Client, ResourceExt as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    api::{WasmProxy, WasmProxyStatus},
    controller::watch::Watched,
    resource::{
        api_server::ApiError,
        reporter::Board,
        status::{Author, apply},
    },
};

/// Reads what the watch has seen, writes to the API server.
pub(super) struct StatusBoard {
    api: Api<WasmProxy>,
    store: Store<Watched>,
    object: ObjectRef<Watched>,
    uid: Option<String>,
}

impl StatusBoard {
    pub fn new(client: Client, store: Store<Watched>, resource: &WasmProxy) -> Self {
        let namespace = resource.namespace().unwrap_or_default();
        let object = ObjectRef::new(&resource.name_any()).within(&namespace);
        Self { api: Api::namespaced(client, &namespace), store, object, uid: resource.uid() }
    }
}

impl Board for StatusBoard {
    fn watched(&self) -> Option<Arc<WasmProxy>> {
        let watched = self.store.get(&self.object)?;
        // Another object of the same name is none of this worker's business.
        watched.0.as_ref().ok().filter(|resource| resource.uid() == self.uid).cloned().map(Arc::new)
    }

    async fn write(&self, part: &WasmProxyStatus) -> Result<WasmProxy, ApiError> {
        apply(&self.api, &self.object.name, Author::Worker, part).await
    }
}
