//! What happens while a module is fetched, for those who watch.

use std::time::Duration;

use super::assembly::Whole;
use crate::{
    mqtt::{ConnectFailure, Version},
    protocol::ErrorNotice,
};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is no connection; another attempt follows.
    NotConnected(ConnectFailure),
    /// The broker is connected, and all topics are subscribed.
    Connected(Version),
    /// The broker has taken a request.
    Asked {
        /// What for.
        what: Asked,
        /// The broker says that nobody is there to hear it.
        unheard: bool,
    },
    /// It is known what the module is.
    Begun(Whole),
    /// A chunk was written.
    Gathered {
        /// How many are here.
        chunks: u32,
        /// How many bytes those are.
        bytes: u64,
    },
    /// The other end cannot help right now; it is asked again after `wait`.
    Refused {
        /// What it said.
        notice: ErrorNotice,
        /// How long to wait.
        wait: Duration,
    },
    /// What was gathered is thrown away.
    BegunAnew(Cause),
    /// All chunks are here; the digest of the whole is computed.
    Verifying(Whole),
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The whole module, sent to everyone.
    Whole,
    /// What the reference means: a chunk by number, where none is known yet.
    Meaning,
    /// So many chunks by number.
    Chunks(u32),
}

/// Why what was gathered is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The other end says that the reference means another module by now, or that it is cut otherwise.
    Changed,
    /// The other end fell silent on the module, and sends another under the same reference.
    Overtaken,
    /// The other end knows nothing of what was said about the module on the channel.
    Refuted,
    /// The digest of the whole is not the one that was announced.
    DigestMismatch,
}
