//! A transfer that is under way for as long as a test wants: after a module's first 500 chunks a slow pace holds it, one chunk
//! a second, until the test says another. That is often enough for a device to wait, and not to ask for each by its number.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    harness::{
        Cluster, Namespace, Playground,
        shell::{apply, read},
    },
    modules::module,
    status::is_ready,
};

/// Bytes of a chunk.
const CHUNK: usize = 4096;
/// At one a second, the rest of them takes longer than any test waits.
const CHUNKS: usize = 1000;
/// What it is pushed as.
const REFERENCE: &str = "wasm/large:1";

/// A module on its way to a device, which is a Job.
pub struct Midway {
    playground: Playground,
    digest: String,
}

impl Midway {
    /// With the quickstart's resource, which declares the module in place of its own, and is ready; no device has asked yet.
    pub fn new(cluster: &Cluster, name: &str) -> Self {
        let playground = Playground::new(cluster, name);
        let module = module(CHUNK * CHUNKS);
        playground.push(REFERENCE, &module);
        let namespace = playground.namespace();
        let quickstart = read("examples/quickstart.yaml").replace("quickstart", namespace.name());
        let small = format!("spec:\n  chunkSize: {CHUNK}\n");
        apply(&quickstart.replace("spec:\n", &small).replace("wasm/demo:1", REFERENCE));
        namespace.wait("condition=Ready", &format!("wp/{}", namespace.name()));
        Self { playground, digest: format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&module))) }
    }

    /// The namespace; the resource has its name.
    pub fn namespace(&self) -> &Namespace {
        self.playground.namespace()
    }

    /// The resource, as `kubectl` takes it.
    pub fn resource(&self) -> String {
        self.playground.resource()
    }

    /// A device asks for the module, and has a part of it.
    pub fn begin(&self) {
        let namespace = self.namespace();
        self.pace("4k");
        let device = read("examples/device.yaml").replace("wasm/demo:1", REFERENCE);
        apply(&device.replace("quickstart", namespace.name()));
        self.until_under_way();
    }

    /// Waits until the worker says that it is past the chunks that go at once.
    pub fn until_under_way(&self) {
        self.namespace().watch(&self.resource()).until("the module is half out", |resource| {
            let artifact = artifact(resource);
            let is_midway = |chunks| (500..CHUNKS as u64).contains(&chunks);
            artifact["phase"] == "Streaming" && artifact["chunks"]["published"].as_u64().is_some_and(is_midway)
        });
    }

    /// Lets go of the rest.
    pub fn let_go(&self) {
        self.pace("50M");
    }

    fn pace(&self, pace: &str) {
        let patch = json!({"spec": {"pace": pace}}).to_string();
        self.namespace().kubectl(&["patch", &self.resource(), "--type=merge", "-p", &patch]);
    }

    /// Waits until the device has the module, verified.
    pub fn until_fetched(&self) {
        let namespace = self.namespace();
        namespace.wait("condition=complete", "job/device");
        let said = namespace.kubectl(&["logs", "job/device"]);
        assert!(said.contains(&format!("{}, verified, in ", self.digest)), "{said}");
    }

    /// The same, and until the resource says that the module is out.
    pub fn until_out(&self) {
        self.until_so("it is ready, and the module is out", |_| true);
    }

    /// The same, and that a device has it: for workers that live to say what they hear last.
    pub fn until_received(&self) {
        self.until_so("it is ready, and a device has the module", |artifact| artifact["receipts"] == 1);
    }

    fn until_so(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        self.until_fetched();
        self.namespace().watch(&self.resource()).until(what, |resource| {
            let artifact = artifact(resource);
            is_ready(resource) && artifact["phase"] == "Published" && is_so(artifact)
        });
    }

    /// The worker's Pod.
    pub fn worker(&self) -> Value {
        self.playground.worker()
    }

    /// The broker and the registry.
    pub fn playground(&self) -> &Playground {
        &self.playground
    }
}

fn artifact(resource: &Value) -> &Value {
    let artifacts = resource["status"]["artifacts"].as_array();
    let large = |artifact: &&Value| artifact["reference"].as_str().is_some_and(|name| name.ends_with(REFERENCE));
    artifacts.and_then(|artifacts| artifacts.iter().find(large)).unwrap_or(&Value::Null)
}
