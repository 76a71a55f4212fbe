//! What becomes of a transfer that has ended.

use tokio::time::Instant;

use super::{
    super::{
        delivery::Outcome,
        notices,
        progress::{Failure, FailureReason},
        pull::{Pull, PullError},
        schedule::Wish,
    },
    Channel,
};

impl Channel {
    /// A delivery has ended.
    pub(super) fn delivered(&mut self, wish: &Wish, outcome: Outcome) {
        let (now, tracker) = (Instant::now(), &self.link.tracker);
        let (reference, app_name) = (&wish.reference, wish.app_name.as_str());
        let took = match &outcome {
            Outcome::Sent(took) => Some(*took),
            _ => None,
        };
        self.schedule.end(wish, took, now);
        let failure = match outcome {
            Outcome::Sent(took) => {
                let seconds = took.as_secs_f64();
                tracing::info!(%reference, seconds, "published");
                let whole = self.says_all_of_it(wish);
                tracker.published(reference, app_name, whole);
                if whole {
                    self.declared.seen(app_name, now);
                }
                return self.settle();
            }
            Outcome::Unchanged => {
                self.declared.seen(app_name, now);
                return self.settle();
            }
            Outcome::Uncut(message) => Some(Failure { reason: FailureReason::UnsupportedArtifact, message }),
            Outcome::Failed(error) => error.failure(),
        };
        let Some(failure) = failure else {
            return tracker.broken_off(reference, app_name);
        };
        tracing::warn!(%reference, reason = ?failure.reason, "{}", failure.message);
        let (code, message) = notices::for_device(&failure);
        tracker.failed(reference, app_name, failure);
        self.declared.failed(app_name, now, fastrand::f64());
        self.refuse(app_name, wish.device.clone(), code, message);
    }

    /// A pull has ended.
    pub(super) fn pulled(&mut self, pull: &Pull, result: Result<(), PullError>) {
        let (code, message) = match result {
            Ok(()) => return,
            Err(PullError::Refused(code, message)) => (code, message),
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
