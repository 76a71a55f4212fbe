//! What is published and what arrives.

use std::time::Duration;

use bytes::Bytes;

use super::error::PublishError;

/// The longest string that an MQTT packet carries (section 1.5.4 of MQTT 5, 1.5.3 of 3.1.1).
pub(super) const MAX_STRING: usize = u16::MAX as usize;

/// How hard delivery is tried (section 4.3 of either specification).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0: sent once, acknowledged by nobody.
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged; may arrive twice.
    #[default]
    AtLeastOnce = 1,
    /// QoS 2: sent until acknowledged; arrives once.
    ExactlyOnce = 2,
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        qos as Self
    }
}

/// There are no other levels than 0, 1 and 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("QoS {0} does not exist: use 0, 1 or 2")]
pub struct InvalidQos(
    /// What was asked for.
    pub u8,
);

impl TryFrom<u8> for Qos {
    type Error = InvalidQos;

    fn try_from(level: u8) -> Result<Self, Self::Error> {
        match level {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            other => Err(InvalidQos(other)),
        }
    }
}

/// A message to send. Clones share the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The topic, without wildcards, at most 65,535 bytes.
    pub topic: String,
    /// The payload; never copied before it is written to the socket.
    pub payload: Bytes,
    /// When the publish counts as done.
    pub qos: Qos,
    /// Left out on MQTT 3.1.1, which has none.
    pub properties: Properties,
}

/// What MQTT 5 says about a message beside its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The payload's media type.
    pub content_type: Option<String>,
    /// Names and values of the application's own, in order; names may repeat.
    pub user: Vec<(String, String)>,
    /// How long the broker keeps the message for those who are away, in whole seconds, rounded up.
    pub message_expiry: Option<Duration>,
}

impl Properties {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The broker has taken over responsibility for a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// The broker said that nobody is subscribed (reason 0x10). Said only on MQTT 5, at QoS 1, and only by brokers that
    /// care to: `false` proves nothing.
    pub no_subscribers: bool,
}

/// A message that arrived for one of the subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic that it was published to.
    pub topic: String,
    /// The payload, as read from the socket.
    pub payload: Bytes,
    /// It was stored at the broker before we subscribed.
    pub retain: bool,
    /// Empty on MQTT 3.1.1.
    pub properties: Properties,
}

impl Publish {
    /// A message without properties.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>, qos: Qos) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, properties: Properties::default() }
    }

    /// Refuses what cannot be encoded: in the event loop it would break the connection, again after each reconnect.
    pub(super) fn check(&self) -> Result<(), PublishError> {
        if self.topic.is_empty() || self.topic.contains(['+', '#']) || !encodable(&self.topic) {
            return Err(PublishError::InvalidTopic);
        }
        let properties = &self.properties;
        let strings = properties.user.iter().flat_map(|(name, value)| [name, value]).chain(&properties.content_type);
        if strings.into_iter().all(|text| encodable(text)) { Ok(()) } else { Err(PublishError::InvalidProperties) }
    }
}

/// Whether MQTT can carry the text: at most 65,535 bytes without NUL.
pub(super) fn encodable(text: &str) -> bool {
    text.len() <= MAX_STRING && !text.contains('\0')
}

/// Seconds as the wire wants them: rounded up, so that a short time is not "never" or "at once".
pub(super) fn whole_seconds(duration: Duration) -> u32 {
    let seconds = duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_round_trip_and_others_are_refused() {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            assert_eq!(Qos::try_from(u8::from(qos)), Ok(qos));
        }
        assert_eq!(Qos::try_from(3), Err(InvalidQos(3)));
    }

    #[test]
    fn what_cannot_be_encoded_is_refused_before_it_is_queued() {
        let topics = [String::new(), "a/+".into(), "#".into(), "a\0b".into(), "x".repeat(MAX_STRING + 1)];
        for topic in topics {
            let publish = Publish::new(topic, Bytes::new(), Qos::AtLeastOnce);
            assert!(matches!(publish.check(), Err(PublishError::InvalidTopic)));
        }
        let mut publish = Publish::new("a", Bytes::new(), Qos::AtLeastOnce);
        assert!(publish.check().is_ok());
        publish.properties.user.push(("name".into(), "x".repeat(MAX_STRING + 1)));
        assert!(matches!(publish.check(), Err(PublishError::InvalidProperties)));
        publish.properties = Properties { content_type: Some("a\0".into()), ..Properties::default() };
        assert!(matches!(publish.check(), Err(PublishError::InvalidProperties)));
    }

    #[test]
    fn seconds_are_rounded_up_and_capped() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(5)), 5);
        assert_eq!(whole_seconds(Duration::MAX), u32::MAX);
    }
}
