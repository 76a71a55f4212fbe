//! What a worker counts for its metrics alone. What its progress says anyway is not among it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{protocol::ErrorCode, worker::progress::FailureReason};

/// What a worker has counted since it started.
#[derive(Debug, Default)]
pub(in crate::worker) struct Counts {
    connections: AtomicU64,
    requests: [AtomicU64; Answer::ALL.len()],
    receipts: AtomicU64,
    failures: Mutex<BTreeMap<FailureReason, u64>>,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::worker) enum Answer {
    /// It is served, or will be.
    Accepted,
    /// It is not served now.
    Busy,
    /// It asks for what the channel does not bring.
    NotAllowed,
    /// It is none.
    BadRequest,
}

impl Answer {
    pub const ALL: [Self; 4] = [Self::Accepted, Self::Busy, Self::NotAllowed, Self::BadRequest];

    /// As devices are told it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Busy => "busy",
            Self::NotAllowed => "not_allowed",
            Self::BadRequest => "bad_request",
        }
    }
}

impl From<&ErrorCode> for Answer {
    fn from(code: &ErrorCode) -> Self {
        match code {
            ErrorCode::Busy => Self::Busy,
            ErrorCode::NotAllowed => Self::NotAllowed,
            _ => Self::BadRequest,
        }
    }
}

impl Counts {
    /// A connection to the broker has been made.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A device has asked for something.
    pub fn asked(&self, answer: Answer) {
        self.requests[answer as usize].fetch_add(1, Relaxed);
    }

    /// A device has said for the first time that it holds a module.
    pub fn received(&self) {
        self.receipts.fetch_add(1, Relaxed);
    }

    /// Something could not be sent.
    pub fn failed(&self, reason: FailureReason) {
        *self.failures().entry(reason).or_default() += 1;
    }

    /// Connections after the first.
    pub fn reconnects(&self) -> u64 {
        self.connections.load(Relaxed).saturating_sub(1)
    }

    /// Requests of one kind.
    pub fn requests(&self, answer: Answer) -> u64 {
        self.requests[answer as usize].load(Relaxed)
    }

    /// Devices that hold a module, once for each module.
    pub fn receipts(&self) -> u64 {
        self.receipts.load(Relaxed)
    }

    /// What could not be sent, by reasons that there were, called as in the conditions of a resource.
    pub fn failures_by_reason(&self) -> impl Iterator<Item = (String, u64)> {
        self.failures().clone().into_iter().map(|(reason, count)| (format!("{reason:?}"), count))
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<FailureReason, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
