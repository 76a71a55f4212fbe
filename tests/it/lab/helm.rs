//! What people do by helm and kubectl.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{ControlPlane, repository, tool};

/// The chart as it is now.
pub fn chart() -> PathBuf {
    repository().join("charts/wasmproxy")
}

/// The manifests of a release, with further arguments of `helm template`.
pub async fn template(chart: &Path, release: &str, arguments: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = vec!["template", release, chart.to_str().unwrap(), "--namespace", "wasmproxy-system"];
    whole.extend(arguments);
    tool("helm", dir.path(), &whole).await
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

    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut whole = arguments.to_vec();
        whole.extend(["--kubeconfig", &self.kubeconfig]);
        tool(program, self.dir.path(), &whole).await
    }
}
