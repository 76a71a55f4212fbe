//! What a user asks for.
#![allow(clippy::doc_markdown, reason = "descriptions of fields are for `kubectl explain`, which knows no Markdown")]

mod artifact;
mod broker;
mod channel;
mod limits;
mod registry;
mod requests;
mod verify;
mod worker;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    quantity::{self, InvalidQuantity},
    rules, schema,
    status::WasmProxyStatus,
};
pub use artifact::{ArtifactSpec, INTERVAL_DEFAULT};
pub use broker::{BrokerSpec, Protocol};
pub use channel::{ChannelSpec, TOPIC_PREFIX_MAX};
pub use limits::{CACHE_SIZE_DEFAULT, LimitsSpec, MODULE_SIZE_DEFAULT, QUEUE_DEFAULT};
pub use registry::RegistrySpec;
pub use requests::RequestsSpec;
pub use verify::{MatchOidcIdentity, VerifyProvider, VerifySpec};
pub use worker::{Management, WorkerSpec};

/// The most artifacts that a resource lists.
pub const ARTIFACTS_MAX: usize = 64;

/// The bytes of a module in each chunk, where the resource does not say.
pub const CHUNK_SIZE_DEFAULT: u32 = 512_000;

/// The pace of a pass, where the resource does not say: 50 MB a second.
///
/// About what a device behind a broker's default queue of 1,000 messages keeps up with.
pub const PACE_DEFAULT: &str = "50M";

/// Brings WebAssembly modules from an OCI registry to the devices on an MQTT channel: streams what is listed in
/// artifacts, and answers the devices that ask for more.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "wasmproxy.io",
    version = "v1alpha1",
    kind = "WasmProxy",
    plural = "wasmproxies",
    singular = "wasmproxy",
    shortname = "wp",
    category = "wasm",
    namespaced,
    status = "WasmProxyStatus",
    derive = "PartialEq",
    doc = "Brings WebAssembly modules from an OCI registry to devices on an MQTT channel.",
    validation = rules::NAME,
    printcolumn(
        name = "Channel",
        type_ = "string",
        json_path = ".spec.channel.id",
        description = "The channel's identifier"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether all is well"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress",
        description = "Chunks published of what is under way"
    ),
    printcolumn(
        name = "Published",
        type_ = "string",
        json_path = ".status.published",
        description = "Listed artifacts that are published"
    ),
    printcolumn(
        name = "Receipts",
        type_ = "integer",
        json_path = ".status.receipts",
        description = "Verified modules that devices say they hold"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Broker",
        type_ = "string",
        json_path = ".spec.broker.url",
        description = "The MQTT broker",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why it is ready, or not",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::SOMETHING_TO_DO)]
pub struct WasmProxySpec {
    /// The MQTT channel that the devices listen to.
    pub channel: ChannelSpec,

    /// The MQTT broker that carries the channel.
    pub broker: BrokerSpec,

    /// The OCI registry that holds the modules.
    pub registry: RegistrySpec,

    /// Modules to stream to every device as soon as they are listed, and again whenever their digest changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = ARTIFACTS_MAX))]
    #[x_kube(merge_strategy = kube::core::ListMerge::Map(vec!["reference".into()]))]
    pub artifacts: Vec<ArtifactSpec>,

    /// Whether devices may ask for modules themselves, and for which. They may unless said.
    #[serde(default)]
    pub requests: RequestsSpec,

    /// How signatures of modules are checked before anything is sent. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::VERIFY)]
    pub verify: Option<VerifySpec>,

    /// What a single resource may take up.
    #[serde(default)]
    pub limits: LimitsSpec,

    /// How many bytes of a module go into one MQTT message. As JSON a message is a third larger than that; the
    /// broker's limit on the size of a message must allow it. Defaults to 512000.
    #[serde(default = "default_chunk_size")]
    #[schemars(schema_with = "schema::int32", range(min = 1024, max = 16_777_216))]
    pub chunk_size: u32,

    /// How fast a module is streamed, in bytes a second, after its first 500 chunks. Brokers drop messages for devices
    /// that are slower than this. A quantity such as 500k or 50M, between 1k and 1T. Defaults to 50M.
    #[serde(default = "default_pace")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = rules::PACE)]
    pub pace: Quantity,

    /// Set to true to stop: the chunk being sent is finished, and the MQTT session ended. Ready becomes False with the
    /// reason Suspended.
    #[serde(default)]
    pub suspend: bool,

    /// How the process that does the work is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerSpec>,
}

impl WasmProxySpec {
    /// [`Self::pace`] in bytes a second.
    ///
    /// # Errors
    ///
    /// Where the quantity is none, which admission refuses.
    pub fn pace_bytes(&self) -> Result<u64, InvalidQuantity> {
        quantity::bytes(&self.pace)
    }

    /// Who runs the worker.
    pub fn management(&self) -> Management {
        self.worker.as_ref().map(|worker| worker.management).unwrap_or_default()
    }

    /// What devices may ask for, as patterns of fully qualified references: those of [`RequestsSpec::allow`], else
    /// anything under the registry's host. Empty where requests are not answered.
    pub fn allowed(&self) -> Vec<String> {
        self.requests.allowed(&self.registry.host)
    }
}

/// The name of an object in the namespace of the resource.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LocalObjectReference {
    /// The name of a Secret in the same namespace.
    #[schemars(length(max = 253))]
    #[x_kube(validation = rules::SECRET_NAME)]
    pub name: String,
}

fn default_chunk_size() -> u32 {
    CHUNK_SIZE_DEFAULT
}

fn default_pace() -> Quantity {
    Quantity(PACE_DEFAULT.to_owned())
}

#[cfg(test)]
mod tests;
