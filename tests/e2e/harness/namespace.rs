//! A namespace of a test's own.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use serde_json::Value;

use super::{
    Forward, Watch,
    shell::{apply, attempt, kubectl},
};

/// A namespace in which nothing is admitted that the restricted Pod Security Standard does not admit. When it is dropped it
/// is deleted; if the test has failed, with a description of what was in it.
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(super) fn beginning(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        Self::called(&format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    pub(super) fn called(name: &str) -> Self {
        kubectl(&["create", "namespace", name]);
        kubectl(&["label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted"]);
        Self { name: name.to_owned() }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `kubectl` in it.
    ///
    /// # Panics
    /// Where that fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// Applies a file of the examples to it, in place of the namespace that the file names: whatever is called `there` in the
    /// file is called after this namespace.
    ///
    /// # Panics
    /// Where the API server does not take it.
    pub fn apply_example(&self, file: &str, there: &str) {
        apply(&super::shell::read(&format!("examples/{file}")).replace(there, &self.name));
    }

    /// Waits, for two minutes at most.
    ///
    /// # Panics
    /// Where it does not come to that.
    pub fn wait(&self, until: &str, object: &str) {
        self.kubectl(&["wait", &format!("--for={until}"), object, "--timeout=2m"]);
    }

    /// An object as it is.
    ///
    /// # Panics
    /// Where it is not there.
    pub fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"])).unwrap()
    }

    /// An object from now on.
    pub fn watch(&self, object: &str) -> Watch {
        Watch::new(&self.name, object)
    }

    /// A way in from outside, to this port of `service/NAME` or whatever else `kubectl port-forward` takes.
    ///
    /// # Panics
    /// Where there is none.
    pub fn forward(&self, to: &str, port: u16) -> Forward {
        Forward::new(&self.name, to, port)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            tell(&self.name);
        }
        let _ = attempt("kubectl", &["delete", "namespace", &self.name, "--wait=false"], "");
    }
}

/// Prints what helps to find out why a test has failed.
pub(super) fn tell(namespace: &str) {
    println!("\n==== {namespace}, as the test has left it ====");
    let in_it = |arguments: &[&str]| attempt("kubectl", &[&["-n", namespace], arguments].concat(), "");
    let _ = in_it(&["get", "all,wasmproxies,jobs,leases", "-o", "wide"]);
    let _ = in_it(&["get", "wasmproxies", "-o", "yaml"]);
    let _ = in_it(&["events"]);
    let _ = in_it(&["describe", "pods"]);
    for pod in in_it(&["get", "pods", "-o", "name"]).unwrap_or_default().lines() {
        let _ = in_it(&["logs", pod, "--all-containers", "--prefix", "--tail=40"]);
        let _ = in_it(&["logs", pod, "--all-containers", "--prefix", "--tail=40", "--previous"]);
    }
}
