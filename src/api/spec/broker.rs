//! What carries the channel.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalObjectReference;
use crate::api::{rules, schema};

/// The MQTT broker that carries the channel.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::BROKER_CERTIFICATES_NEED_TLS)]
#[x_kube(validation = rules::BROKER_SKIP_VERIFY_NEEDS_TLS)]
pub struct BrokerSpec {
    /// Where the broker is: mqtts://host:port for TLS, mqtt://host:port for plain TCP. The port is 8883 or 1883 unless
    /// said. Credentials do not belong here but into the Secret that secretRef names.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = rules::BROKER_SCHEME)]
    #[x_kube(validation = rules::BROKER_WEBSOCKET)]
    #[x_kube(validation = rules::BROKER_USER_INFO)]
    #[x_kube(validation = rules::BROKER_AUTHORITY)]
    #[x_kube(validation = rules::BROKER_PORT)]
    pub url: String,

    /// The version of MQTT to speak: MQTT311, MQTT5, or Auto to try 5 first and fall back to 3.1.1. Defaults
    /// to Auto.
    #[serde(default)]
    pub protocol: Protocol,

    /// The quality of service of chunks: 0 sends each once and hopes, 1 repeats it until the broker has acknowledged
    /// it, 2 also keeps duplicates from devices. Duplicates do no harm, so that 1 is right nearly always. Defaults
    /// to 1.
    #[serde(default = "default_qos")]
    #[schemars(schema_with = "schema::int32", range(min = 0, max = 2))]
    pub qos: u8,

    /// The Secret that holds the username and the password (kubernetes.io/basic-auth). Without one the connection is
    /// anonymous.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalObjectReference>,

    /// The Secret that holds the certificates of a TLS connection: in ca.crt the authority to trust instead of the
    /// system's, in tls.crt and tls.key a client certificate for mutual TLS. Either part may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_secret_ref: Option<LocalObjectReference>,

    /// Set to true to accept any certificate from the broker. Then anyone on the way can read the credentials; it is
    /// meant for trying things out.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// The version of MQTT to speak.
#[derive(JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// 5 where the broker speaks it, else 3.1.1.
    #[default]
    Auto,
    /// MQTT 3.1.1 and no other.
    #[serde(rename = "MQTT311")]
    Mqtt311,
    /// MQTT 5 and no other.
    #[serde(rename = "MQTT5")]
    Mqtt5,
}

fn default_qos() -> u8 {
    1
}
