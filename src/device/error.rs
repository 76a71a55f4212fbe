//! Why a module was not fetched.

use std::time::Duration;

use super::{assembly::TooManyChunks, file::FileError};
use crate::{
    digest::Digest,
    mqtt::{ConfigError, ConnectFailure, PublishError},
    protocol::{ErrorNotice, topics::InvalidTopic},
};

/// Why a module was not fetched. Nothing is left of it then, and the target is as it was.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The device's name makes topics that are too long below this prefix.
    #[error(transparent)]
    Topic(#[from] InvalidTopic),
    /// Options that no connection can be made of.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The broker does not want us, and would not want us the next time either.
    #[error("{}", .0.message)]
    Connect(ConnectFailure),
    /// The broker does not take our request.
    #[error("cannot ask for the module: {0}")]
    Request(PublishError),
    /// The other end says that it cannot be had.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(Box<ErrorNotice>),
    /// The module is larger than what is wanted here.
    #[error("the module is {size} bytes, more than the {max_size} that are allowed")]
    TooLarge {
        /// The module's size in bytes.
        size: u64,
        /// What is allowed, in bytes.
        max_size: u64,
    },
    /// The module is cut into more chunks than can be gathered.
    #[error(transparent)]
    TooManyChunks(#[from] TooManyChunks),
    /// What was gathered was not what its digest says, each time.
    #[error("what arrived was not what its digest says, {0} times: somebody else may be publishing on this channel")]
    DigestMismatch(u32),
    /// The reference meant another module again and again.
    #[error("the module changed {0} times while it was gathered: ask for a digest, or later")]
    Unsettled(u32),
    /// No progress for too long.
    #[error("gave up after {} without progress: {stall}", humantime::format_duration(*after))]
    TimedOut {
        /// How long there was none.
        after: Duration,
        /// How far it had come.
        stall: Stall,
    },
}

impl FetchError {
    /// Whether the options are to blame, rather than the world.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Topic(_) | Self::Config(_) => true,
            Self::File(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// How far a fetch had come when there was no more progress.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stall {
    /// There was no connection to the broker.
    #[error("{}", .0.as_ref().map_or("the broker does not answer", |failure| &failure.message))]
    NotConnected(Option<ConnectFailure>),
    /// The reference means another module than the only one that is accepted.
    #[error("the reference means {0}, and that is not the module that was asked for")]
    OtherModule(Digest),
    /// Nobody said anything about this module.
    #[error("nobody answered; is a worker running for these topics?")]
    Unanswered,
    /// The other end went on saying that it cannot help right now.
    #[error("the last answer was {}: {}", .0.code, .0.message)]
    Refused(Box<ErrorNotice>),
    /// No more chunks came.
    #[error("{chunks} of {total} chunks are here, and no more came")]
    Incomplete {
        /// How many chunks were gathered.
        chunks: u32,
        /// How many there are.
        total: u32,
    },
}

/// Why nobody knows that a module has arrived.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The broker does not take the receipt.
    #[error("the broker did not take the receipt: {0}")]
    Refused(PublishError),
    /// The broker did not acknowledge it.
    #[error("the broker did not acknowledge the receipt within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
}
