//! What becomes of a transfer that has ended.

use std::time::Duration;

use tokio::{
    task::{self, JoinError},
    time::Instant,
};

use super::{
    super::{
        delivery::Outcome,
        notices,
        progress::{Failure, FailureReason},
        pull::{Pull, PullError},
        schedule::{Active, Wish},
    },
    Channel, Ended,
};
use crate::protocol::{ErrorCode, ErrorNotice};

/// The least that a pass rests that has failed, so that requests for what cannot be had cost little.
const MIN_REST: Duration = Duration::from_secs(1);

impl Channel {
    /// A task has ended; returns what a device asked for and did not get, for our own doing.
    pub(super) fn ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) -> Option<Wish> {
        match ended {
            Ok((id, Ended::Delivery(outcome, took))) => {
                let pass = self.passes.remove(&id)?;
                self.delivered(&pass, outcome, took)
            }
            Ok((_, Ended::Pull(pull, result))) => {
                self.pulling -= 1;
                self.pulled(&pull, result);
                None
            }
            Err(error) => {
                tracing::error!(%error, "a transfer broke down");
                match self.passes.remove(&error.id()) {
                    Some(pass) => {
                        let message = format!("{} cannot be sent: please report this defect", pass.wish.reference);
                        self.delivered(&pass, Outcome::Uncut(message), Duration::ZERO)
                    }
                    None => {
                        self.pulling -= 1;
                        None
                    }
                }
            }
        }
    }

    fn delivered(&mut self, pass: &Active, outcome: Outcome, took: Duration) -> Option<Wish> {
        let (now, tracker) = (Instant::now(), &self.link.tracker);
        let Wish { reference, app_name, .. } = &pass.wish;
        let failure = match outcome {
            Outcome::Sent => {
                self.schedule.end(pass, took, now);
                tracing::info!(%reference, seconds = took.as_secs_f64(), "published");
                let target = self.target(&pass.wish);
                tracker.published(pass, target.as_deref());
                if target.is_some() {
                    self.declared.seen(app_name, now);
                }
                self.settle();
                return None;
            }
            Outcome::Unchanged => {
                self.schedule.end(pass, Duration::ZERO, now);
                self.declared.seen(app_name, now);
                self.settle();
                return None;
            }
            Outcome::Uncut(message) => Some(Failure { reason: FailureReason::UnsupportedArtifact, message }),
            Outcome::Failed(error) => error.failure(),
        };
        let Some(failure) = failure else {
            self.schedule.end(pass, Duration::ZERO, now);
            tracker.broken_off(pass);
            self.declared.look_again(app_name, now);
            return pass.seats.is_taken().then(|| pass.wish.clone());
        };
        self.schedule.end(pass, took.max(MIN_REST), now);
        tracing::warn!(%reference, reason = ?failure.reason, "{}", failure.message);
        let (code, message) = notices::for_device(&failure);
        let published = tracker.artifact(reference).is_some_and(|artifact| artifact.completed.is_some());
        tracker.failed(pass, failure);
        self.declared.failed(app_name, now, fastrand::f64());
        // A look at a tag that comes to nothing is nobody's business where the module is out.
        if pass.seats.is_taken() || !published {
            self.refuse(app_name, None, code, message);
        }
        None
    }

    /// A pull has ended.
    fn pulled(&mut self, pull: &Pull, result: Result<(), PullError>) {
        let (code, message) = match result {
            Ok(()) => return,
            Err(PullError::Refused(code, message)) => (code, message),
            Err(PullError::Changed(now, message)) => {
                let (app_name, device) = (&pull.app_name, Some(pull.device.clone()));
                let notice = notices::notice(app_name, ErrorCode::Changed, device, message);
                return self.say(&ErrorNotice { now: Some(now), ..notice });
            }
            Err(PullError::Send(error)) => match error.failure() {
                Some(failure) => {
                    tracing::warn!(reference = %pull.reference, device = %pull.device, "{}", failure.message);
                    notices::for_device(&failure)
                }
                None => return,
            },
        };
        self.refuse(&pull.app_name, Some(pull.device.clone()), code, message);
    }
}
