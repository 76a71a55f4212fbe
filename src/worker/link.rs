//! What every task of a channel shares: its connections, its budget, its bookkeeping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{
    cut::{self, PacketsTooSmall},
    known::KnownChunks,
    slots::Slots,
    tracker::Tracker,
    turns::Turns,
};
use crate::{
    buffers::SharedBuffers,
    mqtt::{Ack, Client, ConnectionState, Properties, Publish, PublishError, Qos, Version},
    protocol::{ChunkHead, ChunkSize, Format, Topics},
    registry::Registry,
};

/// How long a binary chunk is of use to anybody.
const CHUNK_EXPIRY: Duration = Duration::from_secs(300);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) mqtt: Client,
    pub(super) registry: Registry,
    pub(super) topics: Arc<Topics>,
    pub(super) qos: Qos,
    pub(super) chunk_size: ChunkSize,
    /// The largest packet that the broker announced last, in bytes; 0 where it announced none.
    pub(super) max_packet: Arc<AtomicU32>,
    pub(super) slots: Slots,
    pub(super) turns: Turns,
    /// For encoded chunks.
    pub(super) buffers: SharedBuffers,
    pub(super) known: KnownChunks,
    pub(super) tracker: Tracker,
}

impl Link {
    /// The size of chunks that name `app_name` on the connection that stands, or else on the one that stood last.
    pub(super) fn chunk_size(&self, app_name: &str) -> Result<ChunkSize, PacketsTooSmall> {
        if let ConnectionState::Connected { max_packet_size, .. } = *self.mqtt.state().borrow() {
            self.max_packet.store(max_packet_size.unwrap_or(0), Ordering::Relaxed);
        }
        let max_packet = Some(self.max_packet.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0);
        cut::chunk_size(self.chunk_size, max_packet, app_name)
    }

    /// Whether a chunk of `head` is as large as it would be now.
    pub(super) fn is_cut_so(&self, head: &ChunkHead) -> bool {
        self.chunk_size(&head.app_name).is_ok_and(|size| size.get() == head.layout.chunk_size())
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

    /// Says something about a module; notices are small and always acknowledged. A broker that denies a topic costs
    /// nothing but the attempt; one that hangs up instead is left alone for a while, ever longer, by the connection.
    pub(super) async fn publish_notice(&self, topic: &str, payload: Vec<u8>) {
        match self.mqtt.publish(Publish::new(topic, payload, Qos::AtLeastOnce)).await {
            Ok(_) => self.tracker.allowed(topic),
            Err(PublishError::Closed) => {}
            Err(error @ (PublishError::NotAuthorized { .. } | PublishError::SeemsDenied { .. })) => {
                if self.tracker.denied(topic) {
                    tracing::warn!(%error, topic, "notices do not get through there: allow the worker to publish them");
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
