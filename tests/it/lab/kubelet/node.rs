//! A node: its object and its heartbeat.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1 as core},
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::{RwLock, watch},
    time::{interval, sleep},
};

use super::{environment::Variables, ledger::Ledger, status::seconds};

/// Heartbeats; the node counts as dead after four that did not come.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Before a call of an API server that is away is tried again.
const AGAIN: Duration = Duration::from_millis(100);

/// What the Pods of a node share.
pub struct Node {
    pub name: String,
    pub client: Client,
    /// Whose Pods run here.
    pub namespace: String,
    /// Environment of every container: where the API server is, and what the test says.
    pub given: Variables,
    pub ledger: Ledger,
    pub power: watch::Sender<bool>,
    /// Counts changes of Secrets and `ConfigMaps`.
    pub changes: watch::Sender<u64>,
    /// Held by tests that let no change through to Pods that run.
    pub gate: Arc<RwLock<()>>,
    dir: TempDir,
}

impl Node {
    pub fn new(client: Client, namespace: &str, given: Variables) -> Self {
        let dir = tempfile::Builder::new().prefix("kubelet-").tempdir().unwrap();
        Self {
            name: format!("{namespace}-{:04x}", fastrand::u16(..)),
            client,
            namespace: namespace.to_owned(),
            given,
            ledger: Ledger::default(),
            power: watch::Sender::new(true),
            changes: watch::Sender::new(0),
            gate: Arc::default(),
            dir,
        }
    }

    /// Where the files of a Pod are.
    pub fn dir(&self, uid: &str) -> PathBuf {
        Path::new(self.dir.path()).join(uid)
    }

    /// The Pods of the namespace.
    pub fn pods(&self) -> Api<core::Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns when there is no power any more.
    pub async fn power_cut(&self) {
        // The sender is ours.
        let _ = self.power.subscribe().wait_for(|on| !on).await;
    }

    /// Makes the Node object, and says every ten seconds that it is alive. Never ends.
    pub async fn live(&self) {
        self.insist(|| self.register()).await;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let mut beats = interval(HEARTBEAT);
        loop {
            beats.tick().await;
            let lease = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name},
                "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": micros(Timestamp::now())},
            });
            let (owner, lease) = (owner(), Patch::Apply(lease));
            self.insist(|| leases.patch(&self.name, &owner, &lease)).await;
        }
    }

    async fn register(&self) -> kube::Result<()> {
        let nodes: Api<core::Node> = Api::all(self.client.clone());
        let labels = json!({"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux"});
        let metadata = json!({"name": self.name, "labels": labels});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata});
        nodes.patch(&self.name, &owner(), &Patch::Apply(node)).await?;
        let now = seconds(Timestamp::now());
        let room = json!({"cpu": "100", "memory": "100Gi", "pods": "1000", "ephemeral-storage": "1000Gi"});
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now, "lastTransitionTime": now,
        });
        let status = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name},
            "status": {
                "capacity": room, "allocatable": room, "conditions": [condition],
                "addresses": [{"type": "InternalIP", "address": Ipv4Addr::LOCALHOST}],
            },
        });
        nodes.patch_status(&self.name, &owner(), &Patch::Apply(status)).await?;
        Ok(())
    }

    /// Takes the Node object away.
    pub async fn deregister(&self) {
        let nodes: Api<core::Node> = Api::all(self.client.clone());
        // Where the API server is away, so is whoever would ask for the node.
        let _ = nodes.delete(&self.name, &DeleteParams::default()).await;
    }

    /// Calls the API server until it answers. `None` where the object is not there any more, or is another one, or there is
    /// no power.
    ///
    /// # Panics
    /// Where the API server finds the request wrong: that is a defect here.
    pub async fn insist<T, F>(&self, call: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let answered = async {
            loop {
                match call().await {
                    Ok(answer) => return Some(answer),
                    Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => return None,
                    Err(kube::Error::Api(status)) if (400..429).contains(&status.code) => panic!("{status}"),
                    Err(_) => sleep(AGAIN).await,
                }
            }
        };
        tokio::select! {
            answer = answered => answer,
            () = self.power_cut() => None,
        }
    }
}

fn owner() -> PatchParams {
    PatchParams::apply("kubelet").force()
}

fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
