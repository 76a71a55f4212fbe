//! What somebody wants, and the pass that it becomes.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    holds::{Begun, ChunkLog},
    progress::Source,
    seats::Seats,
    starving::Starving,
};
use crate::{
    protocol::{ChunkHead, Format},
    registry::{Module, Reference},
};

/// A module that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// The reference as it was written.
    pub(super) app_name: String,
    pub(super) reference: Reference,
    pub(super) formats: Vec<Format>,
    pub(super) source: Source,
    /// Those of the formats in which devices want it, whoever declared it.
    pub(super) asked: Vec<Format>,
}

/// Adds those of `formats` that are not there yet.
pub(super) fn add_formats(to: &mut Vec<Format>, formats: &[Format]) {
    for format in formats {
        if !to.contains(format) {
            to.push(*format);
        }
    }
}

/// The number of a wish, and of the pass that it becomes: no two are the same.
pub(super) type PassId = u64;

/// A wish that was taken in.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    pub(super) id: PassId,
    pub(super) wish: Wish,
    /// When it was first asked for.
    pub(super) since: Instant,
}

/// What a pass will send.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) module: Module,
    pub(super) head: Arc<ChunkHead>,
    /// When the registry was asked.
    pub(super) looked_at: Instant,
}

/// A pass under way.
#[derive(Debug, Clone)]
pub(super) struct Active {
    pub(super) ticket: Ticket,
    pub(super) plan: Arc<Plan>,
    pub(super) seats: Seats,
    /// What its first chunks have to be, where some were said in plain before and could not be verified.
    pub(super) begun: Option<Begun>,
    /// Where it notes what it says in plain before that is verified.
    pub(super) log: Option<Arc<ChunkLog>>,
    /// Since when it waits for the registry: others may go on meanwhile.
    pub(super) starving: Starving,
    pub(super) stop: CancellationToken,
}

impl Wish {
    /// Whether a pass for `self` serves `other` too.
    pub(super) fn serves(&self, other: &Self) -> bool {
        self.app_name == other.app_name && other.formats.iter().all(|format| self.formats.contains(format))
    }

    /// Whether both would say the same on the same topic.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.app_name == other.app_name && self.formats.iter().any(|format| other.formats.contains(format))
    }

    pub(super) fn is_plain(&self) -> bool {
        self.formats.contains(&Format::Plain)
    }

    /// A device wants it.
    pub(super) fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Only what devices asked for is left of it.
    pub(super) fn narrow(&mut self) {
        self.source = Source::Requested;
        self.formats.clone_from(&self.asked);
    }
}

impl Active {
    pub(super) fn is_starving(&self, now: Instant) -> bool {
        self.starving.at().is_some_and(|at| at <= now)
    }

    /// Bytes that it has still to send.
    pub(super) fn left(&self) -> u64 {
        self.seats.left(&self.plan.head.layout)
    }
}
