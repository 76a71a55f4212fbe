//! What every task of a channel shares: its connections, its budget, its bookkeeping.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{source::KnownChunks, tracker::Tracker};
use crate::{
    mqtt::{Ack, Client, ConnectionState, Properties, Publish, PublishError, Qos, Version},
    protocol::{ChunkHead, Format, Topics},
    registry::Registry,
};

/// Encoded chunks that a worker holds at most, over all its passes: what bounds its memory.
pub(super) const BUDGET: usize = 10;

/// How long a binary chunk is of use to anybody.
const CHUNK_EXPIRY: Duration = Duration::from_secs(300);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) mqtt: Client,
    pub(super) registry: Registry,
    pub(super) topics: Arc<Topics>,
    pub(super) qos: Qos,
    pub(super) budget: Arc<Semaphore>,
    pub(super) known: KnownChunks,
    pub(super) tracker: Tracker,
}

impl Link {
    /// Waits until `chunks` more may be held; `None` once the channel is closed.
    pub(super) async fn allowance(&self, chunks: usize) -> Option<OwnedSemaphorePermit> {
        let chunks = u32::try_from(chunks).unwrap_or(u32::MAX);
        self.budget.clone().acquire_many_owned(chunks).await.ok()
    }

    /// Publishes a chunk; ends when the broker has acknowledged it.
    pub(super) async fn publish_chunk(
        &self,
        topic: &str,
        head: &ChunkHead,
        format: Format,
        index: u32,
        payload: Bytes,
    ) -> Result<Ack, PublishError> {
        let properties = match format {
            Format::Plain | Format::Full => Properties::default(),
            Format::Raw => Properties {
                content_type: Some("application/wasm".to_owned()),
                user: head.properties(index),
                message_expiry: Some(CHUNK_EXPIRY),
            },
        };
        self.mqtt.publish(Publish { topic: topic.to_owned(), payload, qos: self.qos, properties }).await
    }

    /// Says something about a module; notices are small and always acknowledged. Where the broker denies a topic, nothing is
    /// said there any more.
    pub(super) async fn publish_notice(&self, topic: &str, payload: Vec<u8>) {
        if self.tracker.is_denied(topic) {
            return;
        }
        match self.mqtt.publish(Publish::new(topic, payload, Qos::AtLeastOnce)).await {
            Ok(_) | Err(PublishError::Closed) => {}
            Err(error @ (PublishError::NotAuthorized { .. } | PublishError::SeemsDenied { .. })) => {
                if self.tracker.denied(topic) {
                    tracing::warn!(%error, topic, "no notices are published there until the configuration changes");
                }
            }
            Err(error) => tracing::warn!(%error, topic, "a notice could not be published"),
        }
    }

    /// Where chunks of `format` are said to everyone.
    pub(super) fn topic(&self, format: Format) -> &str {
        match format {
            Format::Plain => &self.topics.plain,
            Format::Full => &self.topics.chunk,
            Format::Raw => &self.topics.raw,
        }
    }

    /// Whether the connection speaks MQTT 5, which binary chunks need.
    pub(super) fn speaks_v5(&self) -> bool {
        matches!(*self.mqtt.state().borrow(), ConnectionState::Connected { version: Version::V5, .. })
    }
}
