//! What becomes of what has ended: a look at the registry, a pass, an answer to a pull.

use std::time::Duration;

use tokio::{
    task::{self, JoinError},
    time::Instant,
};

use super::{
    super::{
        holds::Parts,
        notices,
        progress::{Failure, FailureReason, Source},
        publisher::SendError,
        pull::{Pull, PullError},
        wish::{Active, Plan, Ticket, Wish},
    },
    Channel, Ended,
    hearing::HELD,
    left_of,
};
use crate::protocol::{ErrorCode, ErrorNotice};

/// The least that a pass rests that has failed, so that requests for what cannot be had cost little.
const MIN_REST: Duration = Duration::from_secs(1);

impl Channel {
    /// A task has ended; returns what a device asked for and did not get, for our own doing.
    pub(super) fn ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) -> Option<Wish> {
        match ended {
            Ok((id, Ended::Look(looked, looked_at))) => {
                let ticket = self.looks.remove(&id)?;
                self.looked(&ticket, looked, looked_at);
                None
            }
            Ok((id, Ended::Pass(sent, parts, took))) => {
                let pass = self.passes.remove(&id)?;
                self.note_parts(&pass, parts);
                self.passed(&pass, sent, took)
            }
            Ok((_, Ended::Pull(pull, result))) => {
                self.pulling -= 1;
                self.pulled(&pull, result);
                None
            }
            Err(error) => {
                self.broke_down(&error);
                None
            }
        }
    }

    /// The registry has said what a wish means, or has not; it was asked then.
    fn looked(&mut self, ticket: &Ticket, looked: Result<Plan, SendError>, looked_at: Instant) {
        let tracker = &self.link.tracker;
        // A device must not be able to unsettle the channel by what it asks for: that is said of the artifact alone.
        match &looked {
            Ok(_) if ticket.wish.reference.host() == self.link.registry.host() => tracker.registry(None),
            Err(SendError::Registry(error)) if ticket.wish.source == Source::Declared => tracker.registry(Some(error)),
            Ok(_) | Err(_) => {}
        }
        match looked {
            Ok(plan) if self.is_published(ticket, &plan) => self.unchanged(ticket, &plan),
            Ok(plan) => {
                if self.schedule.found(ticket.id, plan, Instant::now()) {
                    self.refuse(&ticket.wish.app_name, None, ErrorCode::Busy, HELD);
                }
            }
            // It still waits, and goes to the next channel.
            Err(SendError::Stopped) => {}
            Err(error) => {
                // Whoever joined meanwhile is told too, and what was withdrawn is nobody's business any more.
                if let Some(ticket) = self.schedule.take(ticket.id)
                    && let Some(failure) = error.failure()
                {
                    self.failed(&ticket, &failure, looked_at.elapsed().max(MIN_REST), ticket.wish.is_asked());
                    self.done_again(&ticket.wish, looked_at);
                }
            }
        }
    }

    /// Whether nobody asked for it, once or again, and it is what was published there already.
    fn is_published(&mut self, ticket: &Ticket, plan: &Plan) -> bool {
        let target = self.target(&ticket.wish);
        let known = self.link.tracker.artifact(&ticket.wish.reference);
        !self.schedule.is_asked(ticket.id)
            && !self.again.wants_since(&ticket.wish.app_name, plan.looked_at)
            && known.zip(target).is_some_and(|(known, target)| known.is_published(plan.module.digest, &target))
    }

    fn unchanged(&mut self, ticket: &Ticket, plan: &Plan) {
        let (Wish { reference, app_name, .. }, now) = (&ticket.wish, Instant::now());
        self.schedule.take(ticket.id);
        self.link.tracker.unchanged(reference, app_name);
        self.declared.seen(app_name, now);
        self.done_again(&ticket.wish, plan.looked_at);
        self.settle();
    }

    /// A wish has come to its end for which the registry was asked then. Where its artifact is to be streamed again, and the
    /// registry was asked before that was said, it is looked at once more.
    fn done_again(&mut self, wish: &Wish, looked_at: Instant) {
        let app_name = &wish.app_name;
        if !self.again.wants(app_name) || self.target(wish).is_none() {
            return;
        }
        self.again.done(app_name, looked_at);
        if self.again.wants(app_name) {
            let rested = self.schedule.rested_at(app_name, &wish.formats);
            self.declared.look_at(app_name, rested.unwrap_or_else(Instant::now));
        }
        self.settle();
    }

    /// What a pass has left at old devices; those who wait for something else under its name are told so.
    fn note_parts(&mut self, pass: &Active, parts: Parts) {
        if self.schedule.note_parts(pass, parts, Instant::now()) {
            self.refuse(&pass.ticket.wish.app_name, None, ErrorCode::Busy, HELD);
        }
    }

    /// A pass has ended.
    fn passed(&mut self, pass: &Active, sent: Result<(), SendError>, took: Duration) -> Option<Wish> {
        let (now, ticket) = (Instant::now(), &pass.ticket);
        let Wish { reference, app_name, .. } = &ticket.wish;
        let failure = match sent {
            Ok(()) => {
                self.schedule.end(ticket, took, now);
                tracing::info!(%reference, took = %humantime::format_duration(Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX))), "published");
                let target = self.target(&ticket.wish);
                self.link.tracker.published(ticket, target.as_deref());
                if target.is_some() {
                    self.declared.seen(app_name, now);
                }
                self.done_again(&ticket.wish, pass.plan.looked_at);
                self.settle();
                return None;
            }
            Err(error) => error.failure().filter(|_| self.link.is_cut_so(&pass.plan.head)),
        };
        match failure {
            Some(failure) => {
                self.failed(ticket, &failure, took.max(MIN_REST), pass.seats.is_taken());
                self.done_again(&ticket.wish, pass.plan.looked_at);
                None
            }
            None => {
                self.schedule.end(ticket, Duration::ZERO, now);
                self.link.tracker.broken_off(ticket);
                self.declared.look_at(app_name, now);
                left_of(pass).and_then(|wish| self.begin_anew(wish))
            }
        }
    }

    /// What was broken off is asked for again, here or, where this channel ends, on the next one.
    fn begin_anew(&mut self, wish: Wish) -> Option<Wish> {
        if self.stop.is_cancelled() {
            return Some(wish);
        }
        self.ask_again(wish);
        None
    }

    /// A wish came to nothing; `awaited` where a device waits for it.
    fn failed(&mut self, ticket: &Ticket, failure: &Failure, rest: Duration, awaited: bool) {
        let (Wish { reference, app_name, .. }, now) = (&ticket.wish, Instant::now());
        self.schedule.end(ticket, rest, now);
        let (code, message) = notices::for_device(failure);
        let before = self.link.tracker.artifact(reference);
        let published = before.as_ref().is_some_and(|artifact| artifact.completed.is_some());
        let is_news = before.is_none_or(|artifact| artifact.failure.as_ref() != Some(failure));
        self.link.tracker.failed(ticket, failure.clone());
        self.declared.failed(app_name, now, fastrand::f64());
        // A look at a tag that comes to nothing is nobody's business where the module is out.
        let said = (awaited || !published) && self.refuse(app_name, None, code, message);
        // What devices ask for in vain is logged as seldom as it is said; what is declared, when it goes wrong otherwise.
        let is_worth_a_line = if ticket.wish.source == Source::Declared { is_news } else { said };
        if is_worth_a_line {
            tracing::warn!(%reference, reason = ?failure.reason, "{}", failure.message);
        }
    }

    /// A pull has ended.
    fn pulled(&mut self, pull: &Pull, result: Result<(), PullError>) {
        let (code, message, failure) = match result {
            Ok(()) => return,
            Err(PullError::Refused(code, message)) => (code, message, None),
            Err(PullError::Changed(now, message)) => {
                let (app_name, device) = (&pull.app_name, Some(pull.device.clone()));
                let notice = notices::notice(app_name, ErrorCode::Changed, device, message);
                self.say(&ErrorNotice { now: Some(now), ..notice });
                return;
            }
            Err(PullError::Send(error)) => {
                let Some(failure) = error.failure() else { return };
                self.link.tracker.counts().failed(failure.reason);
                let (code, message) = notices::for_device(&failure);
                (code, message, Some(failure))
            }
        };
        if self.refuse(&pull.app_name, Some(pull.device.clone()), code, message)
            && let Some(failure) = failure
        {
            tracing::warn!(reference = %pull.reference, device = %pull.device, "{}", failure.message);
        }
    }

    /// A task has panicked.
    fn broke_down(&mut self, error: &JoinError) {
        tracing::error!(%error, "a transfer broke down");
        let pass = self.passes.remove(&error.id());
        if let Some(pass) = &pass {
            self.note_parts(pass, Parts::Sound(pass.begun));
        }
        let look = self.looks.remove(&error.id()).inspect(|ticket| drop(self.schedule.take(ticket.id)));
        match pass.map(|pass| pass.ticket).or(look) {
            Some(ticket) => {
                let message = format!("{} cannot be sent: please report this defect", ticket.wish.reference);
                let failure = Failure { reason: FailureReason::UnsupportedArtifact, message };
                self.failed(&ticket, &failure, MIN_REST, true);
            }
            None => self.pulling -= 1,
        }
    }
}
