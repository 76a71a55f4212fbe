//! The status of the one resource, for the reporter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::{Api, Client};
use tokio::sync::watch;
use tracing::info;

use super::watch::{Sight, View, Watched};
use crate::{
    api::{WasmProxy, WasmProxyStatus},
    resource::{
        api_server::ApiError,
        obstacles::Obstacles,
        reporter::Board,
        status::{Author, apply},
    },
};

/// Reads what the watch has seen, writes to the API server, and logs what it says in conditions.
#[derive(Clone)]
pub(super) struct StatusBoard {
    api: Api<Watched>,
    name: String,
    view: watch::Receiver<View>,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// Whose part it is.
    uid: Option<String>,
    obstacles: Obstacles,
    /// Type, status and reason of each condition as they were logged.
    logged: Vec<(String, String, String)>,
}

impl StatusBoard {
    /// Of the resource of this name.
    pub fn new(client: Client, namespace: &str, name: &str, view: watch::Receiver<View>) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned(), view, shared: Arc::default() }
    }

    /// From now on it is about the object of this UID.
    pub fn be_of(&self, uid: Option<String>) {
        self.shared().uid = uid;
    }

    /// What is known outside of the worker.
    pub fn put(&self, obstacles: Obstacles) {
        self.shared().obstacles = obstacles;
    }

    fn log(&self, part: &WasmProxyStatus) {
        let mut shared = self.shared();
        for condition in &part.conditions {
            let said = (condition.type_.clone(), condition.status.clone(), condition.reason.clone());
            if !shared.logged.contains(&said) {
                info!(reason = said.2, "{} is {}: {}", said.0, said.1, condition.message);
                shared.logged.retain(|(about, ..)| *about != said.0);
                shared.logged.push(said);
            }
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board for StatusBoard {
    fn watched(&self) -> Option<Arc<WasmProxy>> {
        match &self.view.borrow().sight {
            // Another object of the same name is none of this worker's business.
            Sight::There(resource) if resource.metadata.uid == self.shared().uid => Some(resource.clone()),
            Sight::There(_) | Sight::Nothing | Sight::Gone => None,
        }
    }

    fn obstacles(&self) -> Obstacles {
        self.shared().obstacles.clone()
    }

    async fn write(&self, part: &WasmProxyStatus) -> Result<WasmProxy, ApiError> {
        self.log(part);
        apply(&self.api, &self.name, Author::Worker, part).await?.0.or_else(|invalid| {
            // The spec cannot be read any more; the status has been written all the same.
            let before = self.watched().ok_or_else(|| ApiError::Unreadable(invalid.error.clone()))?;
            let mut resource = WasmProxy::clone(&before);
            resource.metadata = invalid.metadata;
            let status = resource.status.take().unwrap_or_default();
            resource.status = Some(with_part(status, part));
            Ok(resource)
        })
    }
}

/// A status with a worker's part in it.
fn with_part(before: WasmProxyStatus, part: &WasmProxyStatus) -> WasmProxyStatus {
    let others = before.conditions.into_iter();
    let others = others.filter(|old| part.conditions.iter().all(|new| new.type_ != old.type_));
    WasmProxyStatus {
        observed_generation: before.observed_generation,
        conditions: others.chain(part.conditions.iter().cloned()).collect(),
        ..part.clone()
    }
}
