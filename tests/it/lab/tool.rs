//! Programs that people push artifacts with, and install with.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::repository;

/// Runs a program that `setup.sh` gets, in `dir`, to its end; returns what it says on standard output. Neither
/// credentials nor settings of whoever runs the tests reach it, nor does a cluster that its arguments do not name.
///
/// # Panics
/// Where it fails.
pub async fn tool(program: &str, dir: &Path, arguments: &[&str]) -> String {
    attempt(program, dir, arguments).await.unwrap_or_else(|complaint| panic!("{complaint}"))
}

/// The same, for what may fail.
///
/// # Errors
/// What it was, and all that it said.
pub async fn attempt(program: &str, dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let script = repository().join("tests/lab/tool.sh");
    let mut command = Command::new(script);
    command.arg(program).args(arguments).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
    for variable in
        ["DOCKER_CONFIG", "XDG_RUNTIME_DIR", "KUBECACHEDIR", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"]
    {
        command.env(variable, dir);
    }
    let output = command.env("KUBECONFIG", "/nonexistent").output().await.unwrap();
    let [said, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{program} {}:\n{complained}{said}", arguments.join(" ")))
    }
}
