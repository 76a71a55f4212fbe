//! What can go wrong for a caller.

use super::url::InvalidBrokerUrl;
use crate::tls::TlsError;

/// Options that no connection can be made of. Retrying does not help; changing them does.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The broker's address.
    #[error(transparent)]
    Url(#[from] InvalidBrokerUrl),
    /// The TLS material.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Empty, over 65,535 bytes, or with a NUL.
    #[error("the MQTT client id must be 1 to 65535 bytes without NUL")]
    ClientId,
    /// A user name or password that MQTT cannot carry.
    #[error("the broker's user name and password must be at most 65535 bytes each, the user name without NUL")]
    Credentials,
    /// No topic filter.
    #[error("{0:?} is not a topic filter")]
    TopicFilter(String),
    /// Outside 1 to 268,435,455 bytes, the protocol's own limit.
    #[error("the largest packet must be between 1 and 268435455 bytes")]
    MaxPacketSize,
    /// Outside 1 to 10.
    #[error("the window must be between 1 and 10 messages")]
    Window,
    /// Outside one second to 65,535 s.
    #[error("the keep-alive must be between 1 and 65535 seconds")]
    KeepAlive,
    /// Zero.
    #[error("the MQTT timeout must not be zero")]
    Timeout,
}

/// Why a message was not published. Retrying the same message does not help; a broken connection is none of these, it is
/// waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The broker does not allow this topic to this user (MQTT 5, 0x87; on 3.1.1 brokers drop the message in silence).
    #[error("the broker does not allow publishing to {topic}: give the user write access to it")]
    NotAuthorized {
        /// The topic refused.
        topic: String,
    },
    /// The encoded packet is larger than what we or the broker allow.
    #[error("the message is {size} bytes on the wire, more than the {limit} allowed: use smaller chunks")]
    TooLarge {
        /// The packet's size in bytes, headers included.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The broker closes the connection at packets of that size, and has never taken one as large. That is how MQTT 3.1.1 says
    /// "too large"; some brokers say "not allowed" so. Refused without being sent for a while, which is longer each time; then
    /// one is tried again.
    #[error(
        "the broker closes the connection at messages of {size} bytes to {topic}, and has taken none as large: use smaller \
         chunks or raise the broker's maximum packet size, and see that the user may write to that topic"
    )]
    SeemsTooLarge {
        /// The smallest packet that was found too large, in bytes, headers included.
        size: usize,
        /// Where it was to go.
        topic: String,
    },
    /// The broker closes the connection at messages to this topic, and has never taken one. Some brokers say "not allowed" so.
    /// Refused without being sent for a while, as above.
    #[error("the broker closes the connection at messages to {topic}: give the user write access to it")]
    SeemsDenied {
        /// The topic refused.
        topic: String,
    },
    /// A quota of the broker is used up (MQTT 5, 0x97). The same message may pass later.
    #[error("a quota of the broker is used up: raise it, or wait until it is there again")]
    QuotaExceeded,
    /// The topic is empty, too long, or holds a wildcard or NUL.
    #[error("the topic is empty, longer than 65535 bytes, or holds a wildcard or NUL")]
    InvalidTopic,
    /// A property is longer than 65,535 bytes or holds a NUL.
    #[error("a property is longer than 65535 bytes or holds a NUL")]
    InvalidProperties,
    /// The broker refused for another reason, named as in the specification.
    #[error("the broker refused the message: {reason}")]
    Rejected {
        /// The reason code's name.
        reason: String,
    },
    /// The connection has been ended by [`Client::disconnect`](super::Client::disconnect).
    #[error("the connection to the broker has been closed")]
    Closed,
}
