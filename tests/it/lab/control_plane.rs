//! etcd, kube-apiserver and kube-controller-manager.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::OnceCell;
use wasmproxy::tls::install_provider;

use super::{Server, server::repository};

/// A control plane without nodes: Deployments make Pods, and the Pods stay Pending unless a
/// [`Kubelet`](super::Kubelet) takes them.
pub struct ControlPlane {
    server: Server,
}

impl ControlPlane {
    /// The one for all tests that do it no harm.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// One of a test's own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// One of a test's own, with these manifests applied.
    pub async fn start_with(manifests: &[PathBuf]) -> Self {
        Self::start_as(manifests, &[]).await
    }

    /// The same, with further options of `tests/lab/control-plane.sh`.
    pub async fn start_as(manifests: &[PathBuf], further: &[&str]) -> Self {
        let crds = repository().join("crds");
        let manifests = crds.exists().then_some(&crds).into_iter().chain(manifests);
        let mut options: Vec<_> = manifests.flat_map(|path| ["--apply".into(), path.display().to_string()]).collect();
        options.extend(further.iter().map(|option| (*option).to_owned()));
        Self::run(options).await
    }

    /// One of a test's own that knows no definition of ours.
    pub async fn bare() -> Self {
        Self::run(Vec::new()).await
    }

    async fn run(mut options: Vec<String>) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let name = format!("control-plane-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // The shared one is never dropped, so its script clears up.
        options.push("--temporary".into());
        Self { server: Server::start("control-plane.sh", &dir, options).await }
    }

    /// Where the requests are noted that `--audit` asks for.
    #[allow(dead_code, reason = "for benchmarks")]
    pub fn audit(&self) -> PathBuf {
        self.server.fact("AUDIT").into()
    }

    /// An administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.server.fact("KUBECONFIG").into()
    }

    /// The API server's port of 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// A client with an administrator's rights. It lives on the runtime of the test that asks.
    pub async fn client(&self) -> Client {
        install_provider();
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Makes a namespace of the test's own, and returns its name, which begins with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> String {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        let made = Api::all(self.client().await).create(&PostParams::default(), &namespace).await.unwrap();
        made.metadata.name.unwrap()
    }
}
