//! What the tests of the controller share: a namespace with its servers, and somebody who hears what is sent.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::{Condition, await_condition},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use wasmproxy::{
    api::{
        WasmProxy, WasmProxyStatus,
        conditions::{ConditionType, find},
    },
    controller::{self, Health, LeaseLost, Metrics, Options, PodOptions, WorkerMode},
    mqtt::{self, Message, MqttOptions, Publish, Qos},
    protocol::{TopicPrefix, Topics},
};

use crate::{
    lab::{Broker, BrokerConfig, ControlPlane, Kubelet, Registry},
    waiting::{PATIENCE, connected, taken_in},
};

/// The bytes in a chunk: as few as the resource allows, so that small modules have several.
pub const CHUNK: usize = 1024;
/// What the image of workers in Pods is called: the node takes the program that was built for the tests.
const IMAGE: &str = "wasmproxy";

/// Where the workers of a test run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In the controller's process.
    InProcess,
    /// In Pods, which a [`Kubelet`] runs.
    Pods,
}

/// A namespace with a broker and a registry, and with a node where workers run in Pods.
pub struct Floor {
    pub broker: Broker,
    /// The way to the broker, where it is not the straight one.
    pub broker_url: Option<String>,
    pub registry: Registry,
    pub namespace: String,
    pub client: Client,
    kubelet: Option<Kubelet>,
}

impl Floor {
    pub async fn start(mode: Mode) -> Self {
        Self::with(mode, BrokerConfig::default()).await
    }

    pub async fn with(mode: Mode, broker: BrokerConfig) -> Self {
        Self::on(ControlPlane::shared().await, mode, broker).await
    }

    pub async fn on(control_plane: &ControlPlane, mode: Mode, broker: BrokerConfig) -> Self {
        let (broker, registry, client, namespace) =
            tokio::join!(broker.start(), Registry::start(), control_plane.client(), control_plane.namespace("floor"));
        let kubelet = match mode {
            Mode::InProcess => None,
            Mode::Pods => Some(Kubelet::start(control_plane, &namespace).await),
        };
        Self { broker, broker_url: None, registry, namespace, client, kubelet }
    }

    /// Where workers run.
    pub fn mode(&self) -> Mode {
        if self.kubelet.is_some() { Mode::Pods } else { Mode::InProcess }
    }

    /// The node, for workers in Pods.
    pub fn kubelet(&mut self) -> &mut Kubelet {
        self.kubelet.as_mut().unwrap()
    }

    /// A controller of this namespace.
    pub fn controller(&self) -> Running {
        self.controller_with(self.client.clone())
    }

    /// A controller of this namespace with somebody's rights.
    pub fn controller_with(&self, client: Client) -> Running {
        Running::start(client, self.options())
    }

    /// A controller of this namespace whose workers are in Pods of this image.
    pub fn controller_of(&self, image: &str) -> Running {
        Running::start(self.client.clone(), Options { workers: pods(image), ..self.options() })
    }

    /// What a controller of this namespace is told.
    pub fn options(&self) -> Options {
        let workers = match self.mode() {
            Mode::InProcess => WorkerMode::InProcess,
            Mode::Pods => pods(IMAGE),
        };
        Options { namespaces: vec![self.namespace.clone()], ..Options::new(workers) }
    }

    /// A resource that means this broker and this registry, with these fields beside or instead.
    pub fn resource(&self, name: &str, spec: Value) -> Value {
        let mut whole = json!({
            "channel": {"id": name},
            "broker": {"url": self.broker_url.clone().unwrap_or_else(|| self.broker.url())},
            "registry": {"host": self.registry.host(), "insecure": true},
            "chunkSize": CHUNK,
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        json!({
            "apiVersion": "wasmproxy.io/v1alpha1",
            "kind": "WasmProxy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": whole,
        })
    }

    /// Applies [`Self::resource`] as a user does.
    pub async fn apply(&self, name: &str, spec: Value) -> WasmProxy {
        let patch = Patch::Apply(self.resource(name, spec));
        self.resources().patch(name, &PatchParams::apply("user").force(), &patch).await.unwrap()
    }

    pub async fn get(&self, name: &str) -> WasmProxy {
        self.resources().get(name).await.unwrap()
    }

    pub async fn delete(&self, name: &str) {
        self.resources().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub fn resources(&self) -> Api<WasmProxy> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A Secret that may be used, with these keys.
    pub async fn secret(&self, name: &str, keys: Value) {
        self.apply_secret(name, keys, json!({"wasmproxy.io/credentials": "true"})).await;
    }

    /// A Secret with these keys and labels.
    pub async fn apply_secret(&self, name: &str, keys: Value, labels: Value) {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let metadata = json!({"name": name, "labels": labels});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys});
        secrets.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(secret)).await.unwrap();
    }

    /// Waits until the status is as it should be, and returns it.
    pub async fn until(&self, name: &str, is: impl Fn(&WasmProxyStatus) -> bool) -> WasmProxyStatus {
        let condition = |resource: Option<&WasmProxy>| resource.and_then(|r| r.status.as_ref()).is_some_and(&is);
        let resource = self.until_resource(name, condition).await;
        resource.unwrap().status.unwrap()
    }

    /// Waits until `Ready` says this, and returns the status.
    pub async fn until_ready_is(&self, name: &str, status: &str, reason: &str) -> WasmProxyStatus {
        self.until(name, |s| ready(s) == Some((status, reason))).await
    }

    /// Waits until all is well with the latest spec, and returns the status.
    pub async fn until_ready(&self, name: &str) -> WasmProxyStatus {
        let generation = self.get(name).await.metadata.generation;
        self.until(name, |s| s.observed_generation == generation && ready(s).is_some_and(|(is, _)| is == "True")).await
    }

    /// Waits until the resource is as it should be.
    pub async fn until_resource(&self, name: &str, condition: impl Condition<WasmProxy>) -> Option<WasmProxy> {
        match timeout(PATIENCE, await_condition(self.resources(), name, condition)).await {
            Ok(resource) => resource.unwrap(),
            Err(_) => panic!("in vain: {}", serde_json::to_string_pretty(&self.get(name).await.status).unwrap()),
        }
    }

    /// Hears what is sent on the channel of the resource of that name.
    pub async fn listen(&self, name: &str) -> Listener {
        let topics = Topics::new(&TopicPrefix::of_channel(name).unwrap());
        let marker = format!("channels/{name}/marker");
        let options = MqttOptions {
            subscriptions: vec![(topics.chunk.clone(), Qos::AtLeastOnce), (marker.clone(), Qos::AtLeastOnce)],
            ..MqttOptions::new(self.broker.url().parse().unwrap(), format!("listener-{}", fastrand::u64(..)))
        };
        let (client, messages) = mqtt::connect(options).unwrap();
        connected(&client).await;
        Listener { client, messages: taken_in(messages), topics, marker }
    }
}

/// Workers in Pods that are made of this image.
fn pods(image: &str) -> WorkerMode {
    WorkerMode::Pods(PodOptions { image: image.to_owned(), rollout: PodOptions::ROLLOUT })
}

/// What `Ready` says: its status and its reason.
pub fn ready(status: &WasmProxyStatus) -> Option<(&str, &str)> {
    says(status, ConditionType::Ready)
}

/// What a condition says: its status and its reason.
pub fn says(status: &WasmProxyStatus, about: ConditionType) -> Option<(&str, &str)> {
    find(&status.conditions, about).map(|condition| (condition.status.as_str(), condition.reason.as_str()))
}

/// The message of `Ready`.
pub fn message(status: &WasmProxyStatus) -> &str {
    &find(&status.conditions, ConditionType::Ready).unwrap().message
}

/// A running controller.
pub struct Running {
    pub health: Health,
    stop: CancellationToken,
    task: JoinHandle<Result<(), LeaseLost>>,
}

impl Running {
    /// Starts one that is told this.
    pub fn start(client: Client, options: Options) -> Self {
        Self::start_with(client, options, Health::default())
    }

    /// A controller of this namespace, with workers there.
    pub fn start_in(client: Client, namespace: &str, workers: WorkerMode) -> Self {
        Self::start(client, Options { namespaces: vec![namespace.to_owned()], ..Options::new(workers) })
    }

    /// As [`Self::start`], and it says of itself there how it is.
    pub fn start_with(client: Client, options: Options, health: Health) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(controller::run(client, options, health.clone(), Metrics::of(&health), stop.clone()));
        Self { health, stop, task }
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.end().await.unwrap();
    }

    /// Waits for it to end by itself.
    pub async fn end(self) -> Result<(), LeaseLost> {
        self.task.await.unwrap()
    }
}

/// Hears what is sent on a channel.
pub struct Listener {
    client: mqtt::Client,
    messages: mpsc::UnboundedReceiver<Message>,
    topics: Topics,
    marker: String,
}

impl Listener {
    /// Asks for a module as an old device does.
    pub async fn ask(&self, app_name: &str) {
        let request = json!({"app_name": app_name}).to_string();
        self.client.publish(Publish::new(&self.topics.requests, request, Qos::AtLeastOnce)).await.unwrap();
    }

    /// Lets whatever was sent before now arrive, and says how many chunks were among it.
    pub async fn chunks(&mut self) -> usize {
        self.client.publish(Publish::new(&self.marker, "", Qos::AtLeastOnce)).await.unwrap();
        let mut chunks = 0;
        loop {
            let message = self.messages.recv().await.unwrap();
            if message.topic == self.marker {
                return chunks;
            }
            chunks += 1;
        }
    }
}
