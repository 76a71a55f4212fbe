//! A stand-in for scheduler and kubelet: it runs the Pods of one namespace as processes of this machine.
//!
//! ```text
//! pods ──► bind (Binding) ──► pod ──► volumes (Secret, ConfigMap, token, fields) ──► writer (..data)
//!  watch                       │
//!                              ├──► container ──► sandbox (namespaces, mounts, user) ──► wasmproxy …
//!                              │        └──► probe (httpGet), restarts, back-off         └──► ledger
//!                              └──► status ──► the Pod's status
//! ```
//!
//! It is as real as can be without a container engine. Each container has a root filesystem, mounts, a user, capabilities, an
//! environment and a hostname of its own; its program is `wasmproxy` as it was built for the tests, whatever its image is
//! called, unless that begins with `missing/`: such an image cannot be pulled. Tokens are bound to their Pods. Secrets change
//! in volumes as the kubelet's `AtomicWriter` changes them.
//!
//! What is not as on a real node:
//!
//! - Pods are on the machine's network, so that they reach the lab's servers on 127.0.0.1. Each has an address of its own in
//!   127.0.0.0/8, and `WASMPROXY_HTTP_HOST` and `PROXY_HTTP_HOST` say that it is to listen there: so ports do not collide.
//! - Changes reach volumes at once, unless a test [holds them back](Kubelet::hold_volumes). Probes have shorter periods, and
//!   the back-off of restarts begins at one second.
//! - The message of a container that waits says which volume is missing. The kubelet sends an Event instead.
//! - `sizeLimit`, resources and seccomp profiles change nothing. Without root, nor does the user: the process is root of a user
//!   namespace.
//!
//! A Pod that asks for what the stand-in does not do at all does not run, and says so in its status.

mod container;
mod environment;
mod ledger;
mod node;
mod pod;
mod pods;
mod probe;
mod sandbox;
mod status;
mod support;
mod tests;
mod volumes;
mod writer;

use std::sync::Arc;

use tokio::sync::OwnedRwLockWriteGuard;
use tokio_util::task::AbortOnDropHandle;

pub use ledger::Container;
use node::Node;

use super::ControlPlane;

/// A node that takes all Pods of one namespace.
///
/// Dropped, its processes end at once, as in a power cut; its Node object stays, and is found dead after a while.
pub struct Kubelet {
    node: Arc<Node>,
    task: Option<AbortOnDropHandle<()>>,
}

impl Kubelet {
    /// Takes all Pods of that namespace.
    pub async fn start(control_plane: &ControlPlane, namespace: &str) -> Self {
        Self::start_with(control_plane, namespace, control_plane.port(), &[]).await
    }

    /// The same, where Pods find the API server at this port of 127.0.0.1, and these variables in their environment.
    pub async fn start_with(control_plane: &ControlPlane, namespace: &str, port: u16, env: &[(&str, &str)]) -> Self {
        let port = port.to_string();
        let service = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", &port),
            ("KUBERNETES_SERVICE_PORT_HTTPS", &port),
        ];
        let given = service.iter().chain(env).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let node = Arc::new(Node::new(control_plane.client().await, namespace, given));
        let mut kubelet = Self { node, task: None };
        kubelet.power_on();
        kubelet
    }

    /// The name of its Node.
    pub fn node(&self) -> &str {
        &self.node.name
    }

    /// The latest process of a Pod whose name begins like that, once one runs.
    pub async fn running(&self, pods: &str) -> Container {
        self.node.ledger.running(pods, &[]).await
    }

    /// The same, but one that began after all those that a test knows.
    pub async fn running_after(&self, pods: &str, known: &[Container]) -> Container {
        self.node.ledger.running(pods, known).await
    }

    /// All processes so far of Pods whose names begin like that, oldest first, running and ended.
    pub fn containers(&self, pods: &str) -> Vec<Container> {
        self.node.ledger.all(pods)
    }

    /// How many processes of Pods whose names begin like that ran at the same time, at the most.
    pub fn most_at_once(&self, pods: &str) -> usize {
        self.node.ledger.most_at_once(pods)
    }

    /// Lets no change of a Secret through to Pods that run until the value is dropped: a kubelet may take a minute and more.
    pub async fn hold_volumes(&self) -> OwnedRwLockWriteGuard<()> {
        self.node.gate.clone().write_owned().await
    }

    /// Ends all processes without a word to anybody, and returns when they have ended. All objects stay as they are.
    pub async fn cut_power(&mut self) {
        self.node.power.send_replace(false);
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }

    /// Goes on after [`Self::cut_power`]: the node's Pods are started again.
    pub fn power_on(&mut self) {
        self.node.power.send_replace(true);
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(pods::serve(self.node.clone()))));
    }

    /// Takes the node away: its processes end at once, and its Node object with them.
    pub async fn stop(mut self) {
        self.cut_power().await;
        self.node.deregister().await;
    }
}
