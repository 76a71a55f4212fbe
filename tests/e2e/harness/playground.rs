//! The broker and the registry of `examples/playground.yaml`, in a namespace of a test's own.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Cluster, Forward, Namespace,
    shell::{apply, attempt, read, run},
};

/// What the examples call the namespace, and the resource and its channel.
const EXAMPLE: &str = "quickstart";
/// Everybody's.
pub const PASSWORD: &str = "change-me";

/// A namespace with a broker, `mqtt://broker`, and a registry, `registry:5000`, that holds `wasm/demo:1`.
pub struct Playground {
    namespace: Namespace,
}

impl Playground {
    /// Starts them in a namespace whose name begins so, and waits until the module is pushed.
    pub fn new(cluster: &Cluster, name: &str) -> Self {
        Self::within(cluster.namespace(name))
    }

    /// The same in this namespace.
    pub fn within(namespace: Namespace) -> Self {
        let example = read("examples/playground.yaml").replace(EXAMPLE, namespace.name());
        let (job, servers): (Vec<_>, Vec<_>) =
            example.split("\n---\n").partition(|object| object.contains("kind: Job"));
        apply(&servers.join("\n---\n"));
        for deployment in ["deployment/broker", "deployment/registry"] {
            namespace.kubectl(&["rollout", "status", deployment, "--timeout=2m"]);
        }
        // All at once would do, too; but a Job that fails waits ten seconds before it tries again.
        apply(&job.join("\n---\n"));
        namespace.wait("condition=complete", "job/push");
        Self { namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Applies `examples/quickstart.yaml` and waits until it is ready. The resource and its channel are called after the
    /// namespace.
    pub fn quickstart(&self) {
        self.namespace.apply_example("quickstart.yaml", EXAMPLE);
        self.namespace.wait("condition=Ready", &self.resource());
    }

    /// The resource, as `kubectl` takes it.
    pub fn resource(&self) -> String {
        format!("wp/{}", self.namespace.name())
    }

    /// The Pod of its worker.
    ///
    /// # Panics
    /// Where there is none, or another one.
    pub fn worker(&self) -> Value {
        let label = format!("wasmproxy.io/resource={}", self.namespace.name());
        let pods = self.namespace.kubectl(&["get", "pods", "-l", &label, "-o", "json"]);
        let mut pods: Value = serde_json::from_str(&pods).unwrap();
        let pods = pods["items"].as_array_mut().unwrap();
        assert_eq!(pods.len(), 1, "{pods:#?}");
        pods.remove(0)
    }

    /// Pushes a module from outside, under a reference without a host.
    ///
    /// # Panics
    /// Where the registry does not take it.
    pub fn push(&self, reference: &str, module: &[u8]) {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("module.wasm");
        fs::write(&file, module).unwrap();
        let registry = self.namespace.forward("service/registry", 5000);
        let [target, layer] =
            [format!("127.0.0.1:{}/{reference}", registry.port), format!("{}:application/wasm", file.display())];
        let user = ["--plain-http", "--username=wasmproxy", "--password", PASSWORD];
        let paths = ["--no-tty", "--disable-path-validation", &target, &layer];
        run("oras", &[&["push"], &user[..], &paths[..]].concat(), "");
    }

    /// The broker, for devices outside.
    pub fn broker(&self) -> Forward {
        self.namespace.forward("service/broker", 1883)
    }

    /// Fetches a module as a device outside does, on the channel of this name.
    ///
    /// # Errors
    /// What the device says, where it does not get it.
    pub fn fetch(&self, channel: &str, reference: &str) -> Result<Vec<u8>, String> {
        let broker = self.broker();
        let folder = TempDir::new().unwrap();
        let [module, password] = ["module.wasm", "password"].map(|name| folder.path().join(name));
        fs::write(&password, PASSWORD).unwrap();
        let url = format!("mqtt://127.0.0.1:{}", broker.port);
        let [module_path, password_path] = [&module, &password].map(|path| path.to_str().unwrap());
        let what = ["fetch", reference, "-o", module_path, "--channel", channel];
        let how = ["--broker", &url, "--username=device", "--password-file", password_path];
        attempt(env!("CARGO_BIN_EXE_wasmproxy"), &[&what[..], &how[..]].concat(), "")?;
        Ok(fs::read(module).unwrap())
    }
}
