//! What people do by helm and kubectl.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{
    ControlPlane, repository,
    tool::{attempt, tool},
};

/// The chart as it is now.
pub fn chart() -> PathBuf {
    repository().join("charts/wasmproxy")
}

/// Runs `helm` to its end, without a cluster.
///
/// # Errors
/// What it says, where it fails.
pub async fn helm(arguments: &[&str]) -> Result<String, String> {
    attempt("helm", tempfile::tempdir().unwrap().path(), arguments).await
}

/// The manifests of a release, with further arguments of `helm template`.
///
/// # Errors
/// What Helm says, where there are none.
pub async fn try_template(chart: &Path, release: &str, arguments: &[&str]) -> Result<String, String> {
    let fixed = ["template", release, chart.to_str().unwrap(), "--namespace=wasmproxy-system"];
    helm(&[&fixed[..], arguments].concat()).await
}

/// The same, where there are some.
pub async fn template(chart: &Path, release: &str, arguments: &[&str]) -> String {
    try_template(chart, release, arguments).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Somebody with an administrator's rights, and a folder.
pub struct Administrator {
    dir: TempDir,
    kubeconfig: String,
}

impl Administrator {
    /// One of this cluster.
    pub fn of(plane: &ControlPlane) -> Self {
        let kubeconfig = plane.kubeconfig().display().to_string();
        Self { dir: tempfile::tempdir().unwrap(), kubeconfig }
    }

    /// Writes a file into the folder, and returns its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Makes a folder in the folder, and returns its path.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// Runs a command as a document has it, in the repository.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn shell(&self, command: &str) {
        let script = format!("export KUBECONFIG={}; cd {}; {command}", self.kubeconfig, repository().display());
        tool("bash", self.dir.path(), &["-euo", "pipefail", "-c", &script]).await;
    }

    /// Runs `kubectl` to its end, and returns what it says.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.run("kubectl", arguments).await
    }

    /// Runs `helm` to its end, and returns what it says.
    ///
    /// # Panics
    /// Where it fails.
    pub async fn helm(&self, arguments: &[&str]) -> String {
        self.run("helm", arguments).await
    }

    /// The same, for what may fail.
    ///
    /// # Errors
    /// What it says, where it has failed.
    pub async fn try_helm(&self, arguments: &[&str]) -> Result<String, String> {
        attempt("helm", self.dir.path(), &self.at_cluster(arguments)).await
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        tool(program, self.dir.path(), &self.at_cluster(arguments)).await
    }

    fn at_cluster<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--kubeconfig", &self.kubeconfig]].concat()
    }
}
