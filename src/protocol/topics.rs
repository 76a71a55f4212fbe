//! Where things are said on a channel.

use std::fmt;

use super::request::DeviceName;

/// The longest topic, in bytes: what the smallest devices hold in their buffer.
pub const MAX_TOPIC: usize = 127;

/// The longest prefix that leaves room for the longest topic without a device's name in it.
pub const MAX_PREFIX: usize = MAX_TOPIC - "/registry/server/complete".len();

/// What all topics of a channel begin with.
///
/// Holds no wildcard and no NUL, starts with neither `$` nor `/`, and is at most [`MAX_PREFIX`] bytes long.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicPrefix(String);

/// Why a text is no channel, tenant or topic prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// A channel or tenant outside `^[A-Za-z0-9_.:-]{1,64}$`.
    #[error("{0:?} is not 1 to 64 letters, digits or any of `_ . : -`")]
    Name(String),
    /// An empty prefix.
    #[error("a topic prefix must not be empty")]
    Empty,
    /// A prefix with a character that no topic may hold.
    #[error("a topic prefix holds no `+`, `#` or NUL")]
    Character,
    /// A prefix that starts or ends where it must not.
    #[error("a topic prefix starts with neither `$` nor `/`, and does not end with `/`")]
    Edge,
    /// A prefix that makes topics which small devices cannot hold.
    #[error("the topic prefix is {0} bytes long; at most {MAX_PREFIX} leave room for topics of {MAX_TOPIC} bytes")]
    TooLong(usize),
    /// A device's name that makes a topic which small devices cannot hold.
    #[error("the device's topic would be {0} bytes long; at most {MAX_TOPIC} are allowed")]
    DeviceTooLong(usize),
}

impl TopicPrefix {
    /// A prefix said outright.
    ///
    /// # Errors
    /// See [`TopicPrefix`].
    pub fn new(prefix: impl Into<String>) -> Result<Self, InvalidTopic> {
        let prefix = prefix.into();
        if prefix.is_empty() {
            Err(InvalidTopic::Empty)
        } else if prefix.contains(['+', '#', '\0']) {
            Err(InvalidTopic::Character)
        } else if prefix.starts_with(['$', '/']) || prefix.ends_with('/') {
            Err(InvalidTopic::Edge)
        } else if prefix.len() > MAX_PREFIX {
            Err(InvalidTopic::TooLong(prefix.len()))
        } else {
            Ok(Self(prefix))
        }
    }

    /// `channels/{channel}/messages`, the usual one.
    ///
    /// # Errors
    /// Where the channel's name is not one.
    pub fn of_channel(channel: &str) -> Result<Self, InvalidTopic> {
        Self::new(format!("channels/{}/messages", name(channel)?))
    }

    /// `m/{tenant}/c/{channel}`, where a tenant is configured.
    ///
    /// # Errors
    /// Where the tenant's or the channel's name is not one.
    pub fn of_tenant(tenant: &str, channel: &str) -> Result<Self, InvalidTopic> {
        Self::new(format!("m/{}/c/{}", name(tenant)?, name(channel)?))
    }

    /// `m/{domain}/c/{channel}/messages`, where a domain is configured (as brokers of the Magistrala family have).
    ///
    /// # Errors
    /// Where the domain's or the channel's name is not one.
    pub fn of_domain(domain: &str, channel: &str) -> Result<Self, InvalidTopic> {
        Self::new(format!("m/{}/c/{}/messages", name(domain)?, name(channel)?))
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn name(text: &str) -> Result<&str, InvalidTopic> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    if (1..=64).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text)
    } else {
        Err(InvalidTopic::Name(text.to_owned()))
    }
}

/// The topics of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Devices ask here.
    pub requests: String,
    /// Devices say here that they hold a verified module: a filter with `+` in the place of the device's name.
    pub receipts: String,
    /// Plain chunks, only in answer to plain requests and for artifacts declared plain.
    pub plain: String,
    /// Full chunks in JSON.
    pub chunk: String,
    /// Full chunks in binary.
    pub raw: String,
    /// The end of a pass.
    pub complete: String,
    /// What went wrong.
    pub error: String,
    server: String,
    received: String,
}

impl Topics {
    /// The topics below `prefix`.
    pub fn new(prefix: &TopicPrefix) -> Self {
        let server = format!("{prefix}/registry/server");
        let requests = format!("{prefix}/registry/proplet");
        let received = format!("{requests}/received");
        Self {
            receipts: format!("{received}/+"),
            chunk: format!("{server}/chunk"),
            raw: format!("{server}/raw"),
            complete: format!("{server}/complete"),
            error: format!("{server}/error"),
            plain: server.clone(),
            requests,
            server,
            received,
        }
    }

    /// Where `device` hears the chunks that it asked for by number.
    ///
    /// # Errors
    /// Where the topic would be longer than [`MAX_TOPIC`].
    pub fn device(&self, device: &DeviceName) -> Result<String, InvalidTopic> {
        bounded(format!("{}/device/{device}", self.server))
    }

    /// Where `device` says that it holds a module.
    ///
    /// # Errors
    /// Where the topic would be longer than [`MAX_TOPIC`].
    pub fn receipt(&self, device: &DeviceName) -> Result<String, InvalidTopic> {
        bounded(format!("{}/{device}", self.received))
    }

    /// The device whose receipt topic this is.
    pub fn receipt_sender(&self, topic: &str) -> Option<DeviceName> {
        topic.strip_prefix(&self.received)?.strip_prefix('/')?.parse().ok()
    }
}

fn bounded(topic: String) -> Result<String, InvalidTopic> {
    if topic.len() <= MAX_TOPIC { Ok(topic) } else { Err(InvalidTopic::DeviceTooLong(topic.len())) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_prefix_follows_what_is_configured() {
        assert_eq!(TopicPrefix::of_channel("9b1c").unwrap().as_str(), "channels/9b1c/messages");
        assert_eq!(TopicPrefix::of_tenant("acme", "9b1c").unwrap().as_str(), "m/acme/c/9b1c");
        assert_eq!(TopicPrefix::of_domain("acme", "9b1c").unwrap().as_str(), "m/acme/c/9b1c/messages");
    }

    #[test]
    fn names_that_would_change_the_topic_are_refused() {
        for channel in ["", "a/b", "a+", "#", "ü", &"x".repeat(65)] {
            assert_eq!(TopicPrefix::of_channel(channel), Err(InvalidTopic::Name(channel.to_owned())));
        }
    }

    #[test]
    fn prefixes_that_no_topic_may_have_are_refused() {
        assert_eq!(TopicPrefix::new(""), Err(InvalidTopic::Empty));
        assert_eq!(TopicPrefix::new("a/+"), Err(InvalidTopic::Character));
        assert_eq!(TopicPrefix::new("$SYS"), Err(InvalidTopic::Edge));
        assert_eq!(TopicPrefix::new("/a"), Err(InvalidTopic::Edge));
        assert_eq!(TopicPrefix::new("a/"), Err(InvalidTopic::Edge));
        assert_eq!(TopicPrefix::new("x".repeat(MAX_PREFIX + 1)), Err(InvalidTopic::TooLong(MAX_PREFIX + 1)));
    }

    #[test]
    fn the_longest_prefix_leaves_room_for_every_fixed_topic() {
        let topics = Topics::new(&TopicPrefix::new("x".repeat(MAX_PREFIX)).unwrap());
        for topic in [&topics.requests, &topics.plain, &topics.chunk, &topics.raw, &topics.complete, &topics.error] {
            assert!(topic.len() <= MAX_TOPIC, "{topic}");
        }
    }

    #[test]
    fn a_device_whose_topic_would_be_too_long_is_refused() {
        let topics = Topics::new(&TopicPrefix::new("x".repeat(80)).unwrap());
        assert_eq!(topics.device(&"d".repeat(64).parse().unwrap()), Err(InvalidTopic::DeviceTooLong(168)));
    }

    #[test]
    fn a_receipt_names_its_sender() {
        let topics = Topics::new(&TopicPrefix::of_channel("9b1c").unwrap());
        let device: DeviceName = "press-4".parse().unwrap();
        assert_eq!(topics.receipt_sender(&topics.receipt(&device).unwrap()), Some(device));
        assert_eq!(topics.receipt_sender(&topics.requests), None);
    }

    proptest! {
        #[test]
        fn every_topic_is_one_and_holds_its_devices_name(
            channel in "[A-Za-z0-9_.:-]{1,64}", tenant in "[A-Za-z0-9_.:-]{1,64}", device in "[A-Za-z0-9_-]{1,64}",
        ) {
            let device: DeviceName = device.parse().unwrap();
            for prefix in [
                TopicPrefix::of_channel(&channel),
                TopicPrefix::of_tenant(&tenant, &channel),
                TopicPrefix::of_domain(&tenant, &channel),
            ] {
                let Ok(prefix) = prefix else { continue };
                let topics = Topics::new(&prefix);
                for (topic, end) in [(topics.device(&device), "/device/"), (topics.receipt(&device), "/received/")] {
                    let Ok(topic) = topic else { continue };
                    let end = format!("{end}{device}");
                    prop_assert!(topic.len() <= MAX_TOPIC && topic.ends_with(&end), "{}", topic);
                }
                if let Ok(receipt) = topics.receipt(&device) {
                    prop_assert_eq!(topics.receipt_sender(&receipt), Some(device.clone()));
                }
            }
        }

        #[test]
        fn a_prefix_that_is_said_outright_is_taken_as_it_is_or_refused(text in "(?s).{0,130}") {
            if let Ok(prefix) = TopicPrefix::new(text.clone()) {
                prop_assert!(text.len() <= MAX_PREFIX && !text.contains(['+', '#', '\0']));
                prop_assert_eq!(prefix.as_str(), text);
            }
        }
    }
}
