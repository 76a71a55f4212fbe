//! What a worker's process answers to probes.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The longest that nothing may turn: longer than whatever is waited for, a broker that does not say goodbye among it.
const STUCK: Duration = Duration::from_secs(30);

/// Whether the process works, and whether it has read its resource. Whether the broker is there is the resource's business, in
/// `BrokerConnected`: a worker whose broker is away is not to be replaced.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    turned: Instant,
    ready: Result<(), String>,
}

impl Default for Health {
    fn default() -> Self {
        Self(Mutex::new(State { turned: Instant::now(), ready: Err("the resource has not been read yet".to_owned()) }))
    }
}

impl Health {
    /// Whether it works.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn alive(&self) -> Result<(), String> {
        let since = self.state().turned.elapsed();
        if since < STUCK { Ok(()) } else { Err(format!("it is stuck since {} s", since.as_secs())) }
    }

    /// Whether it has read its resource, and does what that says.
    ///
    /// # Errors
    /// What it waits for, in one line.
    pub fn ready(&self) -> Result<(), String> {
        self.state().ready.clone()
    }

    /// It turns.
    pub(super) fn beat(&self) {
        self.state().turned = Instant::now();
    }

    /// Says whether it is ready.
    pub(super) fn say(&self, ready: Result<(), String>) {
        self.state().ready = ready;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_turn_is_not_alive() {
        let health = Health::default();
        for _ in 0..3 {
            advance(STUCK - Duration::from_secs(1)).await;
            assert_eq!(health.alive(), Ok(()));
            health.beat();
        }
        advance(STUCK).await;
        assert_eq!(health.alive(), Err("it is stuck since 30 s".to_owned()));
    }
}
