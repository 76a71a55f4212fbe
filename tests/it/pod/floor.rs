//! What these tests share: a namespace with its servers, a directory as a kubelet mounts Secrets, and a worker's rights.

use std::{
    fs,
    ops::{Deref, DerefMut},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wasmproxy::{
    api::{
        Phase, WasmProxy, WasmProxyStatus,
        conditions::{ConditionType, find},
    },
    pod::{self, BrokenDown, Health, Options},
    resource::api_server::{WATCH_SECONDS, with_timeouts},
    worker::metrics::Roster,
};

use crate::{
    controller::floor::{Floor, Mode, says},
    lab::{BrokerConfig, ControlPlane, FaultProxy},
    waiting::{PATIENCE, soon},
};

/// The resource of all these tests, each in a namespace of its own.
pub const NAME: &str = "line";

/// A [`Floor`] with mounted Secrets.
pub struct Site {
    floor: Floor,
    secrets: TempDir,
}

impl Deref for Site {
    type Target = Floor;

    fn deref(&self) -> &Floor {
        &self.floor
    }
}

impl DerefMut for Site {
    fn deref_mut(&mut self) -> &mut Floor {
        &mut self.floor
    }
}

impl Site {
    pub async fn start() -> Self {
        Self::with(BrokerConfig::default()).await
    }

    pub async fn with(broker: BrokerConfig) -> Self {
        let site = Self { floor: Floor::with(Mode::InProcess, broker).await, secrets: tempfile::tempdir().unwrap() };
        site.allow().await;
        site
    }

    /// Grants a worker what it may do.
    async fn allow(&self) {
        let name = format!("{NAME}-wasmproxy");
        let (parameters, metadata) = (PatchParams::apply("user"), json!({"name": name}));
        let rule = |resource: &str, verbs: Value| json!({"apiGroups": ["wasmproxy.io"], "resources": [resource], "resourceNames": [NAME], "verbs": verbs});
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [rule("wasmproxies", json!(["get", "list", "watch"])), rule("wasmproxies/status", json!(["patch"]))],
        });
        let roles: Api<Role> = Api::namespaced(self.client.clone(), &self.namespace);
        roles.patch(&name, &parameters, &Patch::Apply(role)).await.unwrap();
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
        });
        let bindings: Api<RoleBinding> = Api::namespaced(self.client.clone(), &self.namespace);
        bindings.patch(&name, &parameters, &Patch::Apply(binding)).await.unwrap();
    }

    /// A client with these rights.
    pub async fn service_account(&self) -> Client {
        self.client_of(kubeconfig().await).await
    }

    /// The same through something that gets in the way.
    pub async fn service_account_through(&self, proxy: &FaultProxy) -> Client {
        self.client_of(kubeconfig_through(proxy).await).await
    }

    async fn client_of(&self, kubeconfig: Kubeconfig) -> Client {
        Client::try_from(self.config_of(kubeconfig).await).unwrap()
    }

    async fn config_of(&self, mut kubeconfig: Kubeconfig) -> Config {
        for user in &mut kubeconfig.auth_infos {
            let account = format!("system:serviceaccount:{}:{NAME}-wasmproxy", self.namespace);
            user.auth_info.as_mut().unwrap().impersonate = Some(account);
        }
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap()
    }

    /// What stands before the API server.
    pub async fn proxy(&self) -> FaultProxy {
        let kubeconfig = kubeconfig().await;
        let server = kubeconfig.clusters[0].cluster.as_ref().unwrap().server.clone().unwrap();
        FaultProxy::to(server.strip_prefix("https://").unwrap()).await
    }

    /// A worker of any resource of that name.
    pub async fn worker(&self) -> Running {
        Running::start(self.service_account().await, self.options(None))
    }

    /// A worker of this resource and no other.
    pub async fn worker_of(&self, resource: &WasmProxy) -> Running {
        Running::start(self.service_account().await, self.options(resource.metadata.uid.clone()))
    }

    /// A worker that sees the API server through something that gets in the way.
    pub async fn worker_through(&self, proxy: &FaultProxy) -> Running {
        Running::start(self.service_account_through(proxy).await, self.options(None))
    }

    /// The same, and it has as much patience as with a watch that lasts a second.
    pub async fn impatient_worker_through(&self, proxy: &FaultProxy) -> Running {
        let mut config = with_timeouts(self.config_of(kubeconfig_through(proxy).await).await);
        config.read_timeout = Some(Duration::from_secs(3));
        let options = Options { watch: Duration::from_secs(1), ..self.options(None) };
        Running::start(Client::try_from(config).unwrap(), options)
    }

    fn options(&self, uid: Option<String>) -> Options {
        Options {
            namespace: self.namespace.clone(),
            name: NAME.to_owned(),
            uid,
            secrets: self.secrets().to_owned(),
            cache: None,
            is_managed: false,
            watch: Duration::from_secs(u64::from(WATCH_SECONDS)),
        }
    }

    /// Where Secrets are mounted.
    pub fn secrets(&self) -> &Path {
        self.secrets.path()
    }

    /// Mounts a Secret with these keys, or replaces it, as the kubelet does. Without keys it is as one that does not exist.
    pub fn mount(&self, name: &str, keys: Value) {
        let directory = self.secrets().join(name);
        fs::create_dir_all(&directory).unwrap();
        let link = directory.join("..data");
        let before: Option<PathBuf> = fs::read_link(&link).ok();
        let version = format!("..{}", fastrand::u64(..));
        fs::create_dir(directory.join(&version)).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            fs::write(directory.join(&version).join(key), value.as_str().unwrap()).unwrap();
        }
        symlink(&version, directory.join("..data_tmp")).unwrap();
        fs::rename(directory.join("..data_tmp"), link).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(directory.join(before)).unwrap();
        }
    }

    /// Declares these.
    pub async fn declare(&self, references: &[&str]) -> WasmProxy {
        self.apply(NAME, artifacts(references)).await
    }

    /// Waits until the latest spec's artifacts are out.
    pub async fn until_published(&self) -> WasmProxyStatus {
        let generation = self.get(NAME).await.metadata.generation;
        self.until(NAME, |status| {
            let artifacts = find(&status.conditions, ConditionType::ArtifactsPublished);
            artifacts.is_some_and(|artifacts| artifacts.status == "True" && artifacts.observed_generation == generation)
                && says(status, ConditionType::BrokerConnected) == Some(("True", "Connected"))
        })
        .await
    }

    /// Waits until a condition says this of the latest spec, and returns its message.
    pub async fn until_says(&self, about: ConditionType, status: &str, reason: &str) -> String {
        let generation = self.get(NAME).await.metadata.generation;
        let is = |s: &WasmProxyStatus| {
            find(&s.conditions, about).is_some_and(|c| c.observed_generation == generation)
                && says(s, about) == Some((status, reason))
        };
        let status = self.until(NAME, is).await;
        find(&status.conditions, about).unwrap().message.clone()
    }

    /// Waits until so many artifacts are out, whoever wanted them.
    pub async fn until_out(&self, count: usize) -> WasmProxyStatus {
        let is_out = |artifact: &&wasmproxy::api::ArtifactStatus| artifact.phase == Phase::Published;
        self.until(NAME, |status| status.artifacts.iter().filter(is_out).count() == count).await
    }

    /// Waits until the broker has seen so many workers come.
    pub async fn until_connected(&self, times: usize) {
        self.broker.server().until_it_logs(" as wp", times).await;
    }

    /// Waits until the broker has seen so many workers go.
    pub async fn until_disconnected(&self, times: usize) {
        let gone = async {
            while workers_gone(&self.broker.server().log()) < times {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, gone).await.is_ok(), "{}", self.broker.server().log());
    }
}

fn workers_gone(log: &str) -> usize {
    log.lines().filter(|line| line.contains("Client wp") && line.ends_with("disconnected.")).count()
}

/// Declares these.
pub fn artifacts(references: &[&str]) -> Value {
    let artifacts: Vec<_> = references.iter().map(|reference| json!({"reference": reference})).collect();
    json!({"artifacts": artifacts})
}

/// An administrator's.
async fn kubeconfig() -> Kubeconfig {
    Kubeconfig::read_from(ControlPlane::shared().await.kubeconfig()).unwrap()
}

async fn kubeconfig_through(proxy: &FaultProxy) -> Kubeconfig {
    let mut kubeconfig = kubeconfig().await;
    for cluster in &mut kubeconfig.clusters {
        cluster.cluster.as_mut().unwrap().server = Some(format!("https://{}", proxy.host));
    }
    kubeconfig
}

/// A running worker.
pub struct Running {
    health: Arc<Health>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), BrokenDown>>,
}

impl Running {
    fn start(client: Client, options: Options) -> Self {
        let (health, stop) = (Arc::<Health>::default(), CancellationToken::new());
        let task = tokio::spawn(pod::run(client, options, health.clone(), Roster::default(), stop.clone()));
        Self { health, stop, task }
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        soon("its end", self.task).await.unwrap().unwrap();
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        self.until(Result::is_ok).await;
    }

    /// Waits until it is not, and returns what it says of it.
    pub async fn until_unready(&self, saying: &str) {
        self.until(|ready| ready.as_ref().is_err_and(|said| said.contains(saying))).await;
    }

    async fn until(&self, is: impl Fn(&Result<(), String>) -> bool) {
        let waited = async {
            while !is(&self.health.ready()) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(timeout(PATIENCE, waited).await.is_ok(), "{:?}", self.health.ready());
        assert_eq!(self.health.alive(), Ok(()));
    }
}
