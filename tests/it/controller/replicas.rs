//! What the tests of several replicas, and of an API server that is hard to reach, share.

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;
use wasmproxy::controller::{Health, LeaderElection, Options, Terms};

use super::floor::{Floor, Running};
use crate::lab::{ControlPlane, FaultProxy};

/// The configuration of a client of the shared control plane.
async fn config() -> Config {
    let kubeconfig = Kubeconfig::read_from(ControlPlane::shared().await.kubeconfig()).unwrap();
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
}

/// What gets in the way to the shared API server.
pub async fn obstacle() -> FaultProxy {
    let url = config().await.cluster_url;
    FaultProxy::to(url.authority().unwrap().as_str()).await
}

/// The configuration of a client that has to go that way.
pub async fn config_through(obstacle: &FaultProxy) -> Config {
    let mut config = config().await;
    config.cluster_url = format!("https://{}", obstacle.host).parse().unwrap();
    config
}

/// A client that has to go that way.
pub async fn client_through(obstacle: &FaultProxy) -> Client {
    Client::try_from(config_through(obstacle).await).unwrap()
}

/// A kubeconfig by which a process has to go that way.
pub async fn kubeconfig_through(obstacle: &FaultProxy) -> (TempDir, PathBuf) {
    let server = format!("https://{}", obstacle.host);
    let change = |kubeconfig: &mut Kubeconfig| {
        for cluster in &mut kubeconfig.clusters {
            cluster.cluster.as_mut().unwrap().server = Some(server.clone());
        }
    };
    kubeconfig(change).await
}

/// A kubeconfig of the shared control plane with other words in it.
pub async fn kubeconfig(change: impl FnOnce(&mut Kubeconfig)) -> (TempDir, PathBuf) {
    let mut kubeconfig = Kubeconfig::read_from(ControlPlane::shared().await.kubeconfig()).unwrap();
    change(&mut kubeconfig);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, json!(kubeconfig).to_string()).unwrap();
    (dir, path)
}

/// Terms by which a leader that is lost is soon found out.
pub fn short() -> Terms {
    Terms::new(Duration::from_secs(5), Duration::from_secs(3), Duration::from_millis(500)).unwrap()
}

/// Replicas of one controller, of which never two lead.
pub struct Replicas<'a> {
    floor: &'a Floor,
    terms: Terms,
    healths: Arc<std::sync::Mutex<Vec<Health>>>,
}

/// One of them.
pub struct Replica {
    pub running: Running,
    watched: AbortOnDropHandle<()>,
}

impl<'a> Replicas<'a> {
    /// None yet.
    pub fn of(floor: &'a Floor, terms: Terms) -> Self {
        Self { floor, terms, healths: Arc::default() }
    }

    /// One more, of this name.
    pub fn start(&self, identity: &str, client: Client) -> Replica {
        let options = Options { leader: Some(election(self.floor, identity, self.terms)), ..self.floor.options() };
        let running = Running::start(client, options);
        let healths = self.healths.clone();
        healths.lock().unwrap().push(running.health.clone());
        let health = running.health.clone();
        let watched = tokio::spawn(async move {
            loop {
                health.until(true).await;
                let leaders = healths.lock().unwrap().iter().filter(|health| health.leads()).count();
                assert!(leaders <= 1, "{leaders} replicas lead");
                health.until(false).await;
            }
        });
        Replica { running, watched: AbortOnDropHandle::new(watched) }
    }
}

impl Replica {
    /// Fails where this replica has begun to lead while another did.
    pub fn check(&self) {
        assert!(!self.watched.is_finished(), "two replicas have led at once");
    }
}

/// The election of a leader of this namespace.
pub fn election(floor: &Floor, identity: &str, terms: Terms) -> LeaderElection {
    LeaderElection {
        namespace: floor.namespace.clone(),
        name: "wasmproxy".to_owned(),
        identity: identity.to_owned(),
        terms,
    }
}
