//! What a message means: by its topic, and by what is in it.

use tracing::debug;

use super::{gathering::Audience, options::DeviceTopics};
use crate::{
    mqtt::Message,
    protocol::{Chunk, Complete, ErrorNotice, chunk::InvalidChunk, notice::InvalidNotice},
};

/// A message that could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A piece of a module.
    Chunk(Chunk, Audience),
    /// The end of a pass.
    Complete(Complete),
    /// What went wrong.
    Error(ErrorNotice),
}

impl Heard {
    /// Reads a message; `None` where there is nothing to make of it. Anybody may say anything on a channel, so that is
    /// no error.
    pub fn read(message: &Message, topics: &DeviceTopics) -> Option<Self> {
        // Nothing of the protocol is retained: it would be old.
        if message.retain {
            return None;
        }
        let heard = Self::parse(message, topics);
        if let Err(error) = &heard {
            debug!(topic = message.topic, %error, "ignored a message");
        }
        heard.ok().flatten()
    }

    fn parse(message: &Message, topics: &DeviceTopics) -> Result<Option<Self>, Unreadable> {
        let heard = match &message.topic {
            topic if *topic == topics.own => Self::Chunk(chunk(message)?, Audience::Us),
            topic if *topic == topics.chunk || *topic == topics.raw => Self::Chunk(chunk(message)?, Audience::Everyone),
            topic if *topic == topics.complete => Self::Complete(Complete::parse(&message.payload)?),
            topic if *topic == topics.error => Self::Error(ErrorNotice::parse(&message.payload)?),
            _ => return Ok(None),
        };
        Ok(Some(heard))
    }
}

/// A chunk in either format: where its properties describe one, the payload is the bytes.
fn chunk(message: &Message) -> Result<Chunk, InvalidChunk> {
    let properties = &message.properties.user;
    if properties.iter().any(|(name, _)| name == "chunk_idx") {
        Chunk::from_raw(properties, &message.payload)
    } else {
        Chunk::from_json(&message.payload)
    }
}

/// Why there is nothing to make of a message.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(transparent)]
    Chunk(#[from] InvalidChunk),
    #[error(transparent)]
    Notice(#[from] InvalidNotice),
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        digest::Digest,
        mqtt::Properties,
        protocol::{ChunkEncoder, ChunkHead, Format, Layout, TopicPrefix},
    };

    fn topics() -> DeviceTopics {
        DeviceTopics::new(&TopicPrefix::of_channel("c").unwrap(), &"d".parse().unwrap()).unwrap()
    }

    fn head() -> ChunkHead {
        ChunkHead { app_name: "add".into(), digest: Digest::of(b"abc"), layout: Layout::new(3, 3).unwrap() }
    }

    fn message(topic: &str, payload: Bytes) -> Message {
        Message { topic: topic.to_owned(), payload, retain: false, properties: Properties::default() }
    }

    fn encoded(format: Format) -> Bytes {
        let mut encoder = ChunkEncoder::new(&head(), format, 0);
        encoder.push(b"abc");
        encoder.finish()
    }

    fn audience(message: &Message) -> Option<Audience> {
        match Heard::read(message, &topics())? {
            Heard::Chunk(chunk, audience) if chunk.data == b"abc" => Some(audience),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn chunks_are_told_apart_by_whom_they_were_sent_to() {
        let (topics, json) = (topics(), encoded(Format::Full));
        assert_eq!(audience(&message(&topics.chunk, json.clone())), Some(Audience::Everyone));
        assert_eq!(audience(&message(&topics.own, json)), Some(Audience::Us));
    }

    #[test]
    fn chunks_in_binary_are_read_wherever_they_arrive() {
        let topics = topics();
        for (topic, expected) in [(&topics.raw, Audience::Everyone), (&topics.own, Audience::Us)] {
            let properties = Properties { user: head().properties(0), ..Properties::default() };
            let raw = Message { properties, ..message(topic, encoded(Format::Raw)) };
            assert_eq!(audience(&raw), Some(expected));
        }
    }

    #[test]
    fn what_was_retained_is_old_and_not_heard() {
        let chunk = message(&topics().chunk, encoded(Format::Full));
        assert_eq!(audience(&Message { retain: true, ..chunk }), None);
    }

    #[test]
    fn what_is_no_message_of_the_protocol_is_not_heard() {
        let topics = topics();
        for topic in [&topics.own, &topics.chunk, &topics.raw, &topics.complete, &topics.error, &topics.requests] {
            assert_eq!(Heard::read(&message(topic, Bytes::from_static(b"{}")), &topics), None, "{topic}");
        }
    }
}
