//! Where the modules are.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::LocalObjectReference;
use crate::api::rules;

/// The OCI registry that holds the modules.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::REGISTRY_INSECURE)]
pub struct RegistrySpec {
    /// The registry's host, or host:port. References that name no host are found there.
    #[schemars(length(max = 261))]
    #[x_kube(validation = rules::REGISTRY_HOST)]
    #[x_kube(validation = rules::REGISTRY_PORT)]
    pub host: String,

    /// The Secret that holds the credentials: a username and a password (kubernetes.io/basic-auth), an image pull
    /// secret (kubernetes.io/dockerconfigjson), or a bearer token under the key token. Username, password and token are
    /// sent to this host only. Without a Secret the registry is read anonymously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,

    /// The Secret that holds the certificates of a TLS connection: in ca.crt an authority to trust besides the
    /// system's, in tls.crt and tls.key a client certificate for mutual TLS. Either part may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,

    /// Set to true to speak plain HTTP to this host. Excludes certSecretRef.
    #[serde(default)]
    pub insecure: bool,
}
