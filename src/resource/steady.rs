//! Keeps out of the status what is over in a moment. Pure, with the time as an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::mqtt::{ConnectionState, FailureKind};

/// A connection that was lost and is back within this time was not gone.
const MOMENT: Duration = Duration::from_secs(2);

/// What is to be said of a connection: that it stands, until it is known better.
///
/// A connection that breaks mostly stands again a moment later; where the broker hangs up on a message, it breaks with each
/// attempt to send that. To say so each time would unsettle whoever watches. An outage is said after [`MOMENT`], or as soon
/// as an attempt to connect has failed.
#[derive(Debug, Default)]
pub struct Steady {
    /// The connection that stood last, unless it is known to be gone.
    stood: Option<ConnectionState>,
    /// Since when it does not.
    lost: Option<Instant>,
}

impl Steady {
    /// What to say of a connection that is in this state now, and when to look again though nothing has changed.
    pub fn say(&mut self, state: Option<&ConnectionState>, now: Instant) -> (Option<ConnectionState>, Option<Instant>) {
        let is_broken = match state {
            Some(ConnectionState::Connecting { failure, .. }) => {
                failure.as_ref().is_none_or(|failure| failure.kind == FailureKind::Lost)
            }
            _ => false,
        };
        if is_broken && let Some(stood) = &self.stood {
            let until = *self.lost.get_or_insert(now) + MOMENT;
            if now < until {
                return (Some(stood.clone()), Some(until));
            }
        }
        self.lost = None;
        self.stood = state.filter(|state| matches!(state, ConnectionState::Connected { .. })).cloned();
        (state.cloned(), None)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::mqtt::{ConnectFailure, Version};

    const STANDS: ConnectionState =
        ConnectionState::Connected { version: Version::V311, since: SystemTime::UNIX_EPOCH, max_packet_size: None };

    fn failed(kind: FailureKind) -> ConnectionState {
        let failure = Some(ConnectFailure { kind, message: String::new() });
        ConnectionState::Connecting { failure, attempts: 1 }
    }

    /// What is said of each of these states, so many milliseconds after the one before.
    fn said(states: &[(u64, ConnectionState)]) -> Vec<ConnectionState> {
        let (mut steady, mut now) = (Steady::default(), Instant::now());
        let say = |(after, state): &(u64, ConnectionState)| {
            now += Duration::from_millis(*after);
            steady.say(Some(state), now).0.unwrap()
        };
        states.iter().map(say).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_back_in_a_moment_was_not_gone() {
        let lost = || failed(FailureKind::Lost);
        let states = [(0, STANDS), (0, lost()), (1999, lost()), (0, STANDS), (0, lost()), (1999, STANDS)];
        assert_eq!(said(&states), [STANDS; 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn other_credentials_are_no_outage() {
        let renewed = ConnectionState::Connecting { failure: None, attempts: 0 };
        assert_eq!(said(&[(0, STANDS), (0, renewed), (1999, STANDS)]), [STANDS; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_said_after_a_moment_and_until_it_is_over() {
        let lost = || failed(FailureKind::Lost);
        let states = [(0, STANDS), (0, lost()), (2000, lost()), (1, lost()), (60_000, lost()), (0, STANDS)];
        assert_eq!(said(&states), [STANDS, STANDS, lost(), lost(), lost(), STANDS]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_has_failed_is_said_at_once() {
        let (lost, refused) = (|| failed(FailureKind::Lost), || failed(FailureKind::Unreachable));
        let states = [(0, STANDS), (0, lost()), (250, refused()), (0, lost())];
        assert_eq!(said(&states), [STANDS, STANDS, refused(), lost()]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_says_that_a_connection_stands_that_never_did() {
        for state in [failed(FailureKind::Lost), ConnectionState::Connecting { failure: None, attempts: 0 }] {
            assert_eq!(said(&[(0, state.clone())]), [state]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_looked_for_in_time() {
        let (mut steady, now) = (Steady::default(), Instant::now());
        assert_eq!(steady.say(Some(&STANDS), now).1, None);
        for after in [0, 1000] {
            let later = now + Duration::from_millis(after);
            assert_eq!(steady.say(Some(&failed(FailureKind::Lost)), later).1, Some(now + MOMENT));
        }
    }
}
