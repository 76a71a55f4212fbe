//! What reconciliations share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{Client, ResourceExt as _, runtime::reflector::ObjectRef};

use super::{
    backoff::Backoffs,
    claims::{Channel, Claimant, Claims, Woken},
    events::Narrator,
    wakes::Wakes,
    watch::Departure,
    workers::Workers,
};
use crate::{api::WasmProxy, resource::status::later};

/// What reconciliations share.
pub(super) struct Context {
    /// The API server.
    pub client: Client,
    /// The workers.
    pub workers: Workers,
    /// Who failed how often.
    pub backoffs: Backoffs,
    /// Tells what becomes of resources.
    pub narrator: Narrator,
    /// Has resources reconciled.
    pub wakes: Arc<Wakes>,
    /// Who may have which channel.
    claims: Mutex<Claims>,
    /// Each resource as the controller's last write left it.
    written: Mutex<HashMap<String, Arc<WasmProxy>>>,
}

impl Context {
    /// Nothing done yet.
    pub fn new(client: Client, workers: Workers, wakes: Arc<Wakes>) -> Self {
        Self {
            client,
            workers,
            backoffs: Backoffs::default(),
            narrator: Narrator::default(),
            wakes,
            claims: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// Takes in what a resource says, before it is reconciled: what others may do depends on it.
    pub fn see(&self, resource: &WasmProxy) {
        let woken = self.claims().claim(Claimant::of(resource), Channel::of(resource));
        self.wake(&woken);
    }

    /// `namespace/name` of the resource that has this one's channel, where that is another one.
    pub fn rival(&self, uid: &str) -> Option<String> {
        self.claims().rival(uid).map(|rival| format!("{}/{}", rival.namespace, rival.name))
    }

    /// The resource as it is known best: the watch may lag behind what was written, and a comparison with its state would
    /// then take what is long corrected for right.
    pub fn latest(&self, watched: Arc<WasmProxy>) -> Arc<WasmProxy> {
        let uid = watched.uid().unwrap_or_default();
        let mut written = self.written();
        let Some(known) = written.get(&uid) else { return watched };
        let latest = later(watched.clone(), known.clone());
        if Arc::ptr_eq(&latest, &watched) {
            written.remove(&uid);
        }
        latest
    }

    /// Keeps what a write gave back.
    pub fn keep(&self, mut resource: WasmProxy) {
        resource.managed_fields_mut().clear();
        self.written().insert(resource.uid().unwrap_or_default(), Arc::new(resource));
    }

    /// Forgets resources that are gone, and stops their workers.
    pub fn depart(&self, departure: &Departure) {
        self.workers.depart(departure);
        let woken = match departure {
            Departure::Of(uid) => self.claims().release(uid),
            Departure::AllBut(uids) => self.claims().retain(|claimant| uids.contains(&claimant.uid)),
        };
        self.wake(&woken);
        match departure {
            Departure::Of(uid) => {
                self.backoffs.reset(uid);
                self.narrator.forget(uid);
                self.written().remove(uid);
            }
            Departure::AllBut(uids) => {
                self.backoffs.retain(uids);
                self.narrator.retain(uids);
                self.written().retain(|uid, _| uids.contains(uid));
            }
        }
    }

    fn wake(&self, woken: &Woken) {
        for claimant in woken {
            self.wakes.wake(ObjectRef::new(&claimant.name).within(&claimant.namespace));
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, HashMap<String, Arc<WasmProxy>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
