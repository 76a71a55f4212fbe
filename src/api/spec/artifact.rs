//! What is streamed without being asked for.

use std::time::Duration;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    quantity::{self, InvalidInterval},
    rules,
};

/// The time between two looks at a tag, where the resource does not say.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(5 * 60);

/// A module to stream to every device.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::INTERVAL_OF_DIGEST)]
pub struct ArtifactSpec {
    /// The OCI reference of the module, by tag, by digest (sha256), or by both; latest is the tag unless said. Without
    /// a host it is found in the registry. Chunks carry it to the devices exactly as it is written here.
    #[schemars(length(max = 512))]
    #[x_kube(validation = rules::REFERENCE)]
    pub reference: String,

    /// How often the tag is looked at, to stream the module again if it has moved: a duration such as 5m, 90s or 1h30m,
    /// of at least 10s. Defaults to 5m. A reference by digest has none, since it never changes.
    // No default in the schema: admission would fill it in beside a digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = rules::INTERVAL)]
    pub interval: Option<String>,

    /// Set to true to stream the module on the plain topic too, where devices gather it that know nothing of digests.
    /// They hear it whether they asked for it or not.
    #[serde(default)]
    pub plain: bool,
}

impl ArtifactSpec {
    /// Whether the reference names a digest, so that it always means the same module.
    pub fn is_pinned(&self) -> bool {
        self.reference.contains('@')
    }

    /// The time between two looks at the tag: [`INTERVAL_DEFAULT`] unless said, none for a digest.
    ///
    /// # Errors
    ///
    /// Where the text is no interval, which admission refuses.
    pub fn interval(&self) -> Result<Option<Duration>, InvalidInterval> {
        match &self.interval {
            _ if self.is_pinned() => Ok(None),
            None => Ok(Some(INTERVAL_DEFAULT)),
            Some(text) => quantity::interval(text).map(Some),
        }
    }
}
