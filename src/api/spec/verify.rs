//! How signatures are checked. In the schema, so that it can be relied on; refused at admission for now.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalObjectReference;

/// How signatures of modules are checked before anything is sent.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifySpec {
    /// What signed the modules.
    #[serde(default)]
    pub provider: VerifyProvider,

    /// The Secret that holds the public keys to trust, under names that end in .pub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,

    /// The identities to trust where modules are signed without keys. One of them must match.
    #[serde(rename = "matchOIDCIdentity", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_oidc_identity: Vec<MatchOidcIdentity>,

    /// The Secret that holds, in trusted_root.json, the Sigstore instance to trust instead of the public one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trusted_root_secret_ref: Option<LocalObjectReference>,
}

/// What signed the modules.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VerifyProvider {
    /// Sigstore's cosign.
    #[default]
    #[serde(rename = "cosign")]
    Cosign,
}

/// An identity that a signing certificate was issued for.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchOidcIdentity {
    /// A regular expression that the certificate's issuer must match.
    #[schemars(length(max = 512))]
    pub issuer: String,

    /// A regular expression that the certificate's subject must match.
    #[schemars(length(max = 512))]
    pub subject: String,
}
