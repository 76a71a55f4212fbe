//! The program that is measured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use wasmproxy::controller::{PodOptions, WorkerMode, rights};

use crate::{fleet::HOME, lab::ControlPlane};

/// Its service account.
pub const ACCOUNT: &str = "wasmproxy";

/// A running controller. Dropped, it is ended as Kubernetes ends it, so that the next one leads at once.
pub struct Program {
    child: Child,
}

impl Program {
    /// Starts it with somebody's rights, and returns when it says that it is ready, and leads.
    pub async fn start(kubeconfig: &Path, image: &str) -> Self {
        let log = kubeconfig.with_extension("log");
        let said = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wasmproxy"));
        command.args(["controller", "--workers=pods", "--http-port=0", "--worker-image", image]);
        command.args(["--leader-election-namespace", HOME]);
        command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stderr(said);
        let program = Self { child: command.spawn().unwrap() };
        let has_begun = |said: &str| said.contains("controller is ready") && said.contains("this replica leads");
        until(|| has_begun(&fs::read_to_string(&log).unwrap())).await;
        program
    }

    /// Returns when it has done what there was to do: when it has used no more than a hundredth of a CPU for two seconds.
    pub async fn until_it_rests(&self) {
        let mut before = self.cpu();
        loop {
            tokio::time::sleep(REST).await;
            let now = self.cpu();
            if now - before <= REST / 100 {
                return;
            }
            before = now;
        }
    }

    /// The most memory that it has had, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kibibytes: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kibibytes * 1024
    }

    /// The time that it has had a CPU.
    pub fn cpu(&self) -> Duration {
        // In hundredths of a second, as on every Linux of our days: proc(5), utime and stime.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}

/// What [`Program::until_it_rests`] looks at.
pub const REST: Duration = Duration::from_secs(2);

impl Drop for Program {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap();
    }
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The kubeconfig of a service account with the rights that a controller needs.
pub async fn account(control_plane: &ControlPlane) -> PathBuf {
    let client = control_plane.client().await;
    let apply = PatchParams::apply("bench");
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), HOME);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let mode = WorkerMode::Pods(PodOptions { image: "worker:1".to_owned(), rollout: PodOptions::ROLLOUT });
    let rules: Vec<_> = [rights::of_resources(&mode), rights::of_itself(&mode)].concat();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": ACCOUNT},
        "rules": rules,
    });
    Api::<ClusterRole>::all(client.clone()).patch(ACCOUNT, &apply, &Patch::Apply(role)).await.unwrap();
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
    });
    Api::<ClusterRoleBinding>::all(client).patch(ACCOUNT, &apply, &Patch::Apply(binding)).await.unwrap();

    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let token = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await.unwrap();
    let mut kubeconfig: serde_json::Value =
        serde_json::to_value(Kubeconfig::read_from(control_plane.kubeconfig()).unwrap()).unwrap();
    kubeconfig["users"][0]["user"] = json!({"token": token.status.unwrap().token});
    let path = control_plane.kubeconfig().with_file_name("controller.json");
    fs::write(&path, kubeconfig.to_string()).unwrap();
    path
}
