//! What became of it.
//!
//! Two write here, with field managers of their own and no field in common: the worker what it did (progress,
//! artifacts, transfers, receipts, broker, and its three conditions), the controller the rest. So each may be absent.
#![allow(clippy::doc_markdown, reason = "descriptions of fields are for `kubectl explain`, which knows no Markdown")]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{schema, spec::ARTIFACTS_MAX};

/// The most artifacts that the status lists: every declared one, and the last 16 that devices asked for.
pub const STATUS_ARTIFACTS_MAX: usize = ARTIFACTS_MAX + 16;

/// The most characters of [`ArtifactStatus::message`].
pub const MESSAGE_MAX: usize = 1024;

/// What became of the resource.
// The default keeps kstatus, and so Flux and Argo CD, from taking an object that nobody has looked at for a ready one.
#[derive(KubeSchema, Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct WasmProxyStatus {
    /// The metadata.generation that the controller has last acted upon; -1 until it has seen the resource.
    // Again, since the status' own default is gone as soon as anybody has written into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = -1))]
    pub observed_generation: Option<i64>,

    /// How things stand. Ready sums up the others: WorkerAvailable, BrokerConnected, RegistryReady and
    /// ArtifactsPublished. Reconciling is there while something is under way, Stalled when only a change of the
    /// resource can help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The chunks of what is under way, published and in total, as in 6/13; while nothing is, those of the artifacts of
    /// the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub progress: Option<String>,

    /// The artifacts of the spec, published and in total, as in 2/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub published: Option<String>,

    /// The receipts of all the artifacts listed here: how many devices have said that they hold each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub receipts: Option<u64>,

    /// What became of each artifact: all those of the spec, and the last 16 that devices asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = STATUS_ARTIFACTS_MAX))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["reference".into()]))]
    pub artifacts: Vec<ArtifactStatus>,

    /// What has been sent since the resource was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfers: Option<TransferStatus>,

    /// The connection to the broker, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerStatus>,

    /// The value of the annotation reconcile.wasmproxy.io/requestedAt that was last acted upon: every artifact of the
    /// spec has been looked up anew since, and streamed again or failed.
    // Unbounded: the annotation's own bound is the API server's, and a value cut short would never equal it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,
}

/// What became of an artifact.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactStatus {
    /// The fully qualified OCI reference.
    #[schemars(length(max = 1024))]
    pub reference: String,

    /// The digest of the module's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,

    /// The size of the module, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::count")]
    pub size: Option<u64>,

    /// How far it has got: Pending, Resolving, Streaming, Published or Failed.
    pub phase: Phase,

    /// The chunks that the module makes, and how many of them are out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<ChunkStatus>,

    /// Devices that have said that they hold the verified module, up to 1,000. A worker that starts again without its cache
    /// counts those anew that say it again.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub receipts: u64,

    /// A hash of what the module was published to, and as what: broker, topics, chunk size, and the reference as it is
    /// written. A module that has been published to the same target is not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub target: Option<String>,

    /// Why it is here: Declared in the spec, or Requested by a device.
    pub source: Source,

    /// When the last pass began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub started_at: Option<Time>,

    /// When this digest was first published whole to this target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub completed_at: Option<Time>,

    /// What is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MESSAGE_MAX))]
    pub message: Option<String>,
}

/// How far an artifact has got.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// It waits for its turn.
    #[default]
    Pending,
    /// The registry is asked what the reference means.
    Resolving,
    /// Chunks are on their way.
    Streaming,
    /// The broker has acknowledged every chunk.
    Published,
    /// It could not be published; the message says why.
    Failed,
}

/// Why an artifact is in the status.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Source {
    /// The spec lists it.
    #[default]
    Declared,
    /// A device asked for it.
    Requested,
}

/// The chunks of a module.
#[derive(KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChunkStatus {
    /// How many chunks the module makes.
    #[schemars(schema_with = "schema::count")]
    pub total: u64,

    /// How many of them the broker has acknowledged.
    #[schemars(schema_with = "schema::count")]
    pub published: u64,
}

/// What has been sent since the resource was created.
#[derive(KubeSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TransferStatus {
    /// Passes that ended with every chunk acknowledged.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub completed: u64,

    /// Passes that did not.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub failed: u64,

    /// Chunks that the broker has acknowledged.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub chunks: u64,

    /// The bytes of modules in those chunks.
    #[serde(default)]
    #[schemars(schema_with = "schema::count")]
    pub bytes: u64,
}

/// The connection to the broker.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// The version of MQTT that is spoken.
    pub protocol: ProtocolVersion,

    /// Since when the connection has lasted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub connected_since: Option<Time>,
}

/// A version of MQTT.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1.
    #[serde(rename = "MQTT311")]
    Mqtt311,
    /// MQTT 5.
    #[serde(rename = "MQTT5")]
    Mqtt5,
}
