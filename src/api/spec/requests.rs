//! What devices may ask for.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// Whether devices may ask for modules themselves, and for which.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestsSpec {
    /// Whether devices that ask are answered. Defaults to true.
    #[serde(default = "default_enabled")]
    pub enabled: bool,

    /// The references that devices may ask for, where * stands for anything but a slash and ** for anything at all, as
    /// in registry.example/wasm/**. A pattern without a host is one under the registry's. Defaults to anything
    /// under the registry's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 512)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = rules::ALLOW)]
    pub allow: Option<Vec<String>>,
}

impl Default for RequestsSpec {
    fn default() -> Self {
        Self { enabled: default_enabled(), allow: None }
    }
}

impl RequestsSpec {
    /// What devices may ask for, given the registry's host.
    pub(super) fn allowed(&self, host: &str) -> Vec<String> {
        match &self.allow {
            _ if !self.enabled => Vec::new(),
            None => vec![format!("{host}/**")],
            Some(patterns) => patterns.iter().map(|pattern| qualify(pattern, host)).collect(),
        }
    }
}

/// Puts `host` in front of a pattern whose first part is none, as container tools do with references.
fn qualify(pattern: &str, host: &str) -> String {
    let first = pattern.split_once('/').map_or("", |(first, _)| first);
    let is_host = first == "localhost" || first == host || first.contains(['.', ':', '*']);
    if is_host || pattern == "**" { pattern.to_owned() } else { format!("{host}/{pattern}") }
}

fn default_enabled() -> bool {
    true
}
