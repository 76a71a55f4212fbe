//! Where the devices listen.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::api::rules;

/// The most bytes that precede `/registry/…` in a topic.
///
/// Small devices hold topics of 127 bytes, and the longest topic that every device shares ends in
/// `/registry/server/complete`, which takes 25. Topics of a single device also hold its name, for which 46 bytes are
/// left where the channel is a UUID.
pub const TOPIC_PREFIX_MAX: usize = 127 - 25;

/// The MQTT channel that the devices listen to.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::ONE_PREFIX)]
#[x_kube(validation = rules::TENANT_LENGTH)]
pub struct ChannelSpec {
    /// The channel's identifier, a UUID as a rule. Topics start with channels/{id}/messages unless tenant or
    /// topicPrefix says otherwise.
    #[schemars(length(max = 64))]
    #[x_kube(validation = rules::CHANNEL_ID)]
    pub id: String,

    /// The tenant, or domain, that the channel belongs to. Topics then start with m/{tenant}/c/{id}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = rules::CHANNEL_TENANT)]
    pub tenant: Option<String>,

    /// What topics start with, outright, for devices that follow no convention. Topics go on with /registry/. Excludes
    /// tenant. At most 102 bytes, so that the topics every device shares fit into the 127 that small devices can hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = TOPIC_PREFIX_MAX))]
    #[x_kube(validation = rules::TOPIC_PREFIX_LENGTH)]
    #[x_kube(validation = rules::TOPIC_PREFIX_CHARACTERS)]
    #[x_kube(validation = rules::TOPIC_PREFIX_ENDS)]
    pub topic_prefix: Option<String>,
}
