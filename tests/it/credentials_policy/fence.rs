//! A namespace in which the policy is in force.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, Status},
};
use serde_json::{Value, json};
use wasmproxy::api::WasmProxy;

use crate::{
    admission::{least, merge},
    lab::{Administrator, ControlPlane, chart, template},
    waiting::soon,
};

/// The policy of the chart, as it is with these values.
pub async fn policy(release: &str, values: &[&str]) -> String {
    let mut arguments =
        vec!["--show-only", "templates/credentials-policy.yaml", "--set", "credentialsPolicy.enabled=true"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    template(&chart(), release, &arguments).await
}

/// A namespace of a test's own.
pub struct Fence {
    pub client: Client,
    pub namespace: String,
}

impl Fence {
    /// Nothing is in force in it yet.
    pub async fn open() -> Self {
        let plane = ControlPlane::shared().await;
        Self { client: plane.client().await, namespace: plane.namespace("fence").await }
    }

    /// The policy is in force in it.
    pub async fn closed() -> Self {
        let fence = Self::open().await;
        fence.close().await;
        fence
    }

    /// Brings the policy into force, in this namespace alone.
    pub async fn close(&self) {
        let manifest = policy(&self.namespace, &[&format!("namespaces={{{}}}", self.namespace)]).await;
        let administrator = Administrator::of(ControlPlane::shared().await);
        let file = administrator.file("policy.yaml", &manifest);
        administrator.kubectl(&["apply", "--server-side", "--filename", file.to_str().unwrap()]).await;

        // Known for sure when one of each kind is refused that is made for it.
        let canary = json!({"metadata": {"name": "canary"}, "spec": names("canary")});
        self.secret("canary", json!({})).await.unwrap();
        self.until_refused(canary.clone()).await;
        self.secrets().delete("canary", &Default::default()).await.unwrap();
        self.until_accepted(canary.clone()).await;
        self.apply(canary).await.unwrap();
        self.until_secret_refused("canary").await;
        self.wasmproxies().delete("canary", &Default::default()).await.unwrap();
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn wasmproxies(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::erase::<WasmProxy>(&()))
    }

    /// Creates a Secret that says so much.
    pub async fn secret(&self, name: &str, patch: Value) -> Result<Secret, Box<Status>> {
        self.create_secret(name, patch, false).await
    }

    /// Has the API server look at a Secret that it does not keep.
    pub async fn try_secret(&self, name: &str, patch: Value) -> Result<Secret, Box<Status>> {
        self.create_secret(name, patch, true).await
    }

    async fn create_secret(&self, name: &str, patch: Value, dry_run: bool) -> Result<Secret, Box<Status>> {
        let mut secret = json!({"metadata": {"name": name}, "stringData": {"username": "line", "password": "secret"}});
        merge(&mut secret, patch);
        let parameters = PostParams { dry_run, ..PostParams::default() };
        refusal(self.secrets().create(&parameters, &serde_json::from_value(secret).unwrap()).await)
    }

    /// Creates or changes a resource: the least, with this patch.
    pub async fn apply(&self, patch: Value) -> Result<DynamicObject, Box<Status>> {
        self.apply_with(patch, PatchParams::apply("test").force()).await
    }

    /// Has the API server look at a resource that it does not keep.
    pub async fn try_apply(&self, patch: Value) -> Result<DynamicObject, Box<Status>> {
        self.apply_with(patch, PatchParams::apply("test").force().dry_run()).await
    }

    async fn apply_with(&self, patch: Value, parameters: PatchParams) -> Result<DynamicObject, Box<Status>> {
        let mut resource = least();
        merge(&mut resource, patch);
        let name = resource["metadata"]["name"].as_str().unwrap().to_owned();
        refusal(self.wasmproxies().patch(&name, &parameters, &Patch::Apply(&resource)).await)
    }

    /// Changes a part of a stored resource.
    pub async fn change(&self, name: &str, patch: Value) -> Result<DynamicObject, Box<Status>> {
        refusal(self.wasmproxies().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await)
    }

    /// Waits until such a resource would be refused, and returns the sentence.
    pub async fn until_refused(&self, patch: Value) -> String {
        until("a refusal", async || self.try_apply(patch.clone()).await.err().map(|status| said(&status))).await
    }

    /// Waits until such a resource would be accepted.
    pub async fn until_accepted(&self, patch: Value) {
        until("admission", async || self.try_apply(patch.clone()).await.ok()).await;
    }

    /// Waits until a Secret of this name would be refused without the label, and returns the sentence.
    pub async fn until_secret_refused(&self, name: &str) -> String {
        until("a refusal", async || self.try_secret(name, json!({})).await.err().map(|status| said(&status))).await
    }
}

/// The part of a spec that names a Secret for the broker.
pub fn names(secret: &str) -> Value {
    json!({"broker": {"secretRef": {"name": secret}}})
}

/// The metadata of a Secret that may be used.
pub fn labelled() -> Value {
    json!({"metadata": {"labels": {"wasmproxy.io/credentials": "true"}}})
}

/// What the policy says, without what the API server says of the policy.
pub fn said(status: &Status) -> String {
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"), "{}", status.message);
    let (_, sentence) = status.message.split_once("denied request: ").unwrap_or_else(|| panic!("{}", status.message));
    sentence.to_owned()
}

fn refusal<T>(answer: kube::Result<T>) -> Result<T, Box<Status>> {
    match answer {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(status),
        Err(error) => panic!("the API server did not answer: {error}"),
    }
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(what, asked).await
}
