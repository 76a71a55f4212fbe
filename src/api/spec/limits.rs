//! What a single resource may take up.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    quantity::{self, InvalidQuantity},
    rules, schema,
};

/// The largest module, where the resource does not say.
pub const MODULE_SIZE_DEFAULT: &str = "1Gi";

/// What modules may take up in the cache of a worker's Pod, where the resource does not say.
pub const CACHE_SIZE_DEFAULT: &str = "1Gi";

/// The most requests that wait, where the resource does not say.
pub const QUEUE_DEFAULT: u32 = 1024;

/// What a single resource may take up.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// The largest module that is streamed; a larger one is refused as too large. A quantity between 1Ki and 1Ti.
    /// Defaults to 1Gi.
    #[serde(default = "default_module_size")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = rules::MODULE_SIZE)]
    pub module_size: Quantity,

    /// How much space modules may take up in the cache of the worker's Pod. Workers in the controller's process share
    /// its cache instead, and External ones have what they are given. A quantity between 1Mi and 1Ti. Defaults to 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = rules::CACHE_SIZE)]
    pub cache_size: Option<Quantity>,

    /// How many passes and requests may wait for their turn; a device that asks beyond that is told to come back later.
    /// Defaults to 1024.
    #[serde(default = "default_queue")]
    #[schemars(schema_with = "schema::int32", range(min = 1, max = 65_536))]
    pub queue: u32,

    /// How many requests a second are taken from the channel. Not supported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::int32", range(min = 1, max = 10_000))]
    #[x_kube(validation = rules::REQUESTS_PER_SECOND)]
    pub requests_per_second: Option<u32>,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self { module_size: default_module_size(), cache_size: None, queue: default_queue(), requests_per_second: None }
    }
}

impl LimitsSpec {
    /// [`Self::module_size`] in bytes.
    ///
    /// # Errors
    ///
    /// Where the quantity is none, which admission refuses.
    pub fn module_size_bytes(&self) -> Result<u64, InvalidQuantity> {
        quantity::bytes(&self.module_size)
    }

    /// [`Self::cache_size`] in bytes.
    ///
    /// # Errors
    ///
    /// Where the quantity is none, which admission refuses.
    pub fn cache_size_bytes(&self) -> Result<u64, InvalidQuantity> {
        self.cache_size.as_ref().map_or_else(|| quantity::parse_bytes(CACHE_SIZE_DEFAULT), quantity::bytes)
    }
}

fn default_module_size() -> Quantity {
    Quantity(MODULE_SIZE_DEFAULT.to_owned())
}

fn default_queue() -> u32 {
    QUEUE_DEFAULT
}
