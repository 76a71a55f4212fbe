//! What a candidate knows of the lease, and what it is to do next. Pure: it is told what time it is, and of every answer.
//!
//! No clock is ever compared with another one: what other holders write as their time is for people. A holder is dead when
//! its record has not changed for as long as the record says, by *our* monotonic clock; and our own term counts from before
//! we sent the claim that was taken. So we give up before anybody else may begin, however far clocks are apart.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;

use super::Terms;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// See what the API server has.
    Look,
    /// Write [`Candidate::claim`], which begins or renews our term.
    Claim,
    /// Nothing before then, unless the lease is seen to change.
    Wait(Instant),
    /// End all work: our term is over.
    Lost,
}

/// A replica that leads, or would.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    terms: Terms,
    seen: Option<Seen>,
    /// When the claim was sent that was taken last.
    held: Option<Instant>,
    /// What was seen is known not to be what there is.
    outdated: bool,
    /// No request before this.
    rest: Option<Instant>,
}

/// The lease as it was seen last.
#[derive(Debug)]
struct Seen {
    /// None where there is none.
    lease: Option<Lease>,
    /// When whoever held it is dead, unless it changes before.
    free: Instant,
}

impl Candidate {
    pub fn new(identity: String, terms: Terms) -> Self {
        Self { identity, terms, seen: None, held: None, outdated: false, rest: None }
    }

    /// What to do at `now`.
    pub fn step(&self, now: Instant) -> Step {
        if let Some(deadline) = self.deadline()
            && (now >= deadline || self.holder() != Some(&self.identity) && self.record().is_some())
        {
            return Step::Lost;
        }
        if let Some(rest) = self.rest.filter(|rest| now < *rest) {
            return Step::Wait(self.deadline().map_or(rest, |deadline| rest.min(deadline)));
        }
        match &self.seen {
            Some(seen) if !self.outdated => {
                if self.held.is_none() && now < seen.free {
                    Step::Wait(seen.free)
                } else {
                    Step::Claim
                }
            }
            _ => Step::Look,
        }
    }

    /// The lease was seen like this, or not at all, at `now`.
    pub fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        self.outdated = false;
        let free = match (&self.seen, &lease) {
            // Nobody has shown a sign of life: that the object has another version, or is gone, is none.
            (Some(seen), Some(lease)) if seen.lease.as_ref().is_some_and(|seen| seen.spec == lease.spec) => seen.free,
            (Some(seen), None) => seen.free,
            // Nor does who empties it, by replacing it with a manifest, say that its holder has ended.
            (Some(seen), Some(lease)) if record(lease).is_none() => seen.free,
            (None, None) => now,
            (_, Some(lease)) => match holder(lease) {
                Some(holder) if holder != self.identity => now + self.term(lease),
                _ => now,
            },
        };
        self.seen = Some(Seen { lease, free });
    }

    /// A claim or a look has come to nothing: whether it was taken is not known.
    pub fn failed(&mut self, sent: Instant) {
        self.rest = Some(sent + self.terms.retry);
    }

    /// A claim was refused because somebody else has written since.
    pub fn outrun(&mut self) {
        self.outdated = true;
        self.rest = None;
    }

    /// The API server has taken the claim that was sent at `sent`, and has this now.
    pub fn taken(&mut self, lease: Lease, sent: Instant) {
        self.observe(Some(lease), sent);
        self.held = Some(sent);
        self.rest = Some(sent + self.terms.retry);
    }

    /// The lease as it should be for us to lead from now on. `time` is for people to read.
    pub fn claim(&self, time: MicroTime) -> Lease {
        let before = self.record().cloned();
        let ours = self.holder() == Some(&self.identity);
        let transitions = before.as_ref().map(|spec| spec.lease_transitions.unwrap_or_default());
        let acquired = before.as_ref().and_then(|spec| spec.acquire_time.clone()).filter(|_| ours);
        self.lease_with(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds(self.terms.lease)),
            acquire_time: acquired.or_else(|| Some(time.clone())),
            renew_time: Some(time),
            lease_transitions: Some(transitions.map_or(0, |count| if ours { count } else { count.saturating_add(1) })),
            ..before.unwrap_or_default()
        })
    }

    /// The lease as it should be for others to lead at once; none where it is not ours.
    pub fn release(&self, time: MicroTime) -> Option<Lease> {
        let before = self.lease()?.spec.clone().filter(|_| self.holder() == Some(&self.identity))?;
        Some(self.lease_with(LeaseSpec {
            holder_identity: Some(String::new()),
            // As little as may be, for candidates that do not know that nobody holds it.
            lease_duration_seconds: Some(1),
            acquire_time: Some(time.clone()),
            renew_time: Some(time),
            ..before
        }))
    }

    /// The longest that a request which is sent at `now` may take.
    pub fn patience(&self, now: Instant) -> Duration {
        let usual = self.terms.renew / 2;
        self.deadline().map_or(usual, |deadline| usual.min(deadline.saturating_duration_since(now)))
    }

    /// Whether we lead, unless [`Self::step`] says otherwise.
    pub fn leads(&self) -> bool {
        self.held.is_some()
    }

    /// Who held the lease when it was seen last.
    pub fn holder(&self) -> Option<&str> {
        self.lease().and_then(holder)
    }

    /// The lease as it was seen last.
    pub fn lease(&self) -> Option<&Lease> {
        self.seen.as_ref()?.lease.as_ref()
    }

    fn record(&self) -> Option<&LeaseSpec> {
        self.lease().and_then(record)
    }

    fn deadline(&self) -> Option<Instant> {
        self.held.map(|sent| sent + self.terms.renew)
    }

    fn lease_with(&self, spec: LeaseSpec) -> Lease {
        let metadata = self.lease().map_or_else(ObjectMeta::default, |lease| lease.metadata.clone());
        Lease { metadata, spec: Some(spec) }
    }

    /// For how long a record is good.
    fn term(&self, lease: &Lease) -> Duration {
        let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let said = said.and_then(|seconds| u64::try_from(seconds).ok());
        said.map_or(self.terms.lease, Duration::from_secs)
    }
}

/// What is written in it; none where nobody has written yet, as where a manifest has made it.
fn record(lease: &Lease) -> Option<&LeaseSpec> {
    lease.spec.as_ref().filter(|spec| **spec != LeaseSpec::default())
}

/// Who holds it; an empty name is nobody's.
fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// In whole seconds, and rather too many: others wait for so long.
fn seconds(duration: Duration) -> i32 {
    let rounded = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i32::try_from(rounded).unwrap_or(i32::MAX)
}

#[cfg(test)]
#[path = "candidate_tests.rs"]
mod tests;
