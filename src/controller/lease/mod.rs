//! Leader election: of several replicas one acts, and the others are ready to.
//!
//! The replicas agree by a `Lease` of `coordination.k8s.io/v1`, on client-go's terms: whoever holds it renews it every two
//! seconds, gives up after ten seconds without success, and is taken for dead after fifteen without a change. Every write
//! has the version that was seen as its precondition, so of two candidates one succeeds.
//!
//! ```text
//!            standby                              leader
//!   look ─► wait for the term's end ─► claim ─► renew ─► renew ─► … ─► stop all work ─► release
//!              ▲    or a release        │                  │
//!              └──── outrun ◄───────────┘                  └─ deadline: stop all work ─► exit
//! ```
//!
//! - `candidate`: what to do next. Pure.
//! - `campaign`: does it, each request bounded in time.
//!
//! What this cannot give is what no lease can: a program that is frozen between a look at the clock and a write goes on where
//! it was when it thaws. For an MQTT session that is harmless: brokers let a client id have one connection, the later one. And
//! a lease that somebody deletes tells a replica which starts at that moment that nobody leads.
//!
//! # What it may do
//!
//! `get`, `list`, `watch` and `update` on the one `lease`, and `create` on `leases` in its namespace.

mod campaign;
mod candidate;

use std::time::Duration;

pub(super) use campaign::Campaign;

/// How a replica takes part in an election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderElection {
    /// The namespace of the lease.
    pub namespace: String,
    /// The name of the lease. Controllers that share it share their work.
    pub name: String,
    /// Who we are: never used by anybody else, nor by an earlier run.
    pub identity: String,
    /// For how long a leader leads.
    pub terms: Terms,
}

/// For how long a leader leads. All replicas should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

/// Terms by which two replicas could lead at once, or none for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTerms {
    /// A leader would give up when others lead already.
    #[error("the renew deadline must be shorter than the lease duration: all work ends between the two")]
    Deadline,
    /// A single request that fails would be the end.
    #[error("the retry period must be at most half of the renew deadline, and not zero")]
    Retry,
    /// A Lease is kept in whole seconds.
    #[error("the lease duration must be one second at least")]
    Lease,
}

impl Terms {
    /// Client-go's: 15 s, 10 s, 2 s.
    pub const DEFAULT: Self =
        Self { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) };

    /// `lease` is how long others wait for a sign of life before they take over, kept in the Lease in whole seconds, and
    /// `renew` when a leader gives up that could not renew. `retry` is the time between two renewals, and between two attempts.
    ///
    /// # Errors
    /// Where they do not fit together.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, InvalidTerms> {
        if lease < Duration::from_secs(1) {
            return Err(InvalidTerms::Lease);
        }
        if renew >= lease {
            return Err(InvalidTerms::Deadline);
        }
        if retry.is_zero() || retry > renew / 2 {
            return Err(InvalidTerms::Retry);
        }
        Ok(Self { lease, renew, retry })
    }

    /// How long a leader's end may take: two seconds, so that another one leads within three; and well within what is left
    /// of a term that could not be renewed.
    pub(super) fn grace(self) -> Duration {
        Duration::from_secs(2).min(self.lease.saturating_sub(self.renew) / 2)
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a leader leads no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseLost {
    /// The API server was away for too long.
    #[error("lease {lease} could not be renewed for {} s, and another replica may lead now: {why}", after.as_secs_f32())]
    NotRenewed {
        /// Its namespace and name.
        lease: String,
        /// The renew deadline.
        after: Duration,
        /// What came of the last attempt.
        why: String,
    },
    /// Somebody wrote another name into it.
    #[error("lease {lease} was taken from us, and is held by {holder} now")]
    Taken {
        /// Its namespace and name.
        lease: String,
        /// Who leads now.
        holder: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_do_not_fit_together_are_refused() {
        let seconds = Duration::from_secs;
        assert_eq!(Terms::new(seconds(15), seconds(10), seconds(2)), Ok(Terms::DEFAULT));
        assert_eq!(Terms::new(seconds(10), seconds(10), seconds(2)), Err(InvalidTerms::Deadline));
        assert_eq!(Terms::new(seconds(15), seconds(10), seconds(6)), Err(InvalidTerms::Retry));
        assert_eq!(Terms::new(seconds(15), seconds(10), seconds(0)), Err(InvalidTerms::Retry));
        assert_eq!(Terms::new(seconds(0), seconds(0), seconds(0)), Err(InvalidTerms::Lease));
    }

    #[test]
    fn all_work_ends_within_two_seconds_and_before_another_may_lead() {
        assert_eq!(Terms::DEFAULT.grace(), Duration::from_secs(2));
        let short = Terms::new(Duration::from_secs(3), Duration::from_secs(2), Duration::from_millis(500)).unwrap();
        assert_eq!(short.grace(), Duration::from_millis(500));
    }
}
