//! Keeps a channel open, and opens it anew when the configuration needs another connection.

use tokio::sync::{oneshot, watch};

use super::{
    channel::{Channel, Legacy, OpenError},
    config::WorkerConfig,
    progress::RegistryState,
    tracker::Tracker,
};
use crate::mqtt::{ConnectFailure, ConnectionState, FailureKind, SessionEnd};

/// Why a channel is closed.
enum Closed {
    Stopped(SessionEnd),
    /// It was told something that needs another connection.
    Reconfigured,
}

/// Runs until it is stopped.
pub(super) async fn supervise(
    mut config: watch::Receiver<WorkerConfig>,
    tracker: Tracker,
    mut stop: oneshot::Receiver<SessionEnd>,
) {
    let mut legacy = Legacy::of(&config.borrow());
    loop {
        let current = config.borrow_and_update().clone();
        let opened = Channel::open(current.clone(), tracker.clone(), &mut legacy);
        let closed = match opened {
            Ok(mut channel) => {
                let closed = serve(&mut channel, &mut config, &mut stop).await;
                let end = match &closed {
                    Closed::Stopped(end) => *end,
                    Closed::Reconfigured => session_end(&current, &config.borrow()),
                };
                legacy = channel.close(end).await;
                closed
            }
            Err(error) => {
                report(&tracker, &current, &error);
                tokio::select! {
                    end = &mut stop => Closed::Stopped(end.unwrap_or(SessionEnd::Keep)),
                    Ok(()) = config.changed() => Closed::Reconfigured,
                }
            }
        };
        if let Closed::Stopped(_) = closed {
            tracker.forget_unserved();
            return;
        }
    }
}

async fn serve(
    channel: &mut Channel,
    config: &mut watch::Receiver<WorkerConfig>,
    stop: &mut oneshot::Receiver<SessionEnd>,
) -> Closed {
    loop {
        tokio::select! {
            end = &mut *stop => return Closed::Stopped(end.unwrap_or(SessionEnd::Keep)),
            Ok(()) = config.changed() => {
                let next = config.borrow_and_update().clone();
                if !channel.fits(&next) {
                    return Closed::Reconfigured;
                }
                channel.reconfigure(next);
            }
            () = channel.step() => {}
        }
    }
}

/// What becomes of the session that was kept for `old` when `new` takes over.
pub(crate) fn session_end(old: &WorkerConfig, new: &WorkerConfig) -> SessionEnd {
    let same = old.broker.url == new.broker.url
        && old.broker.client_id == new.broker.client_id
        && old.prefix == new.prefix
        && old.requests.is_some() == new.requests.is_some();
    if same { SessionEnd::Keep } else { SessionEnd::Discard }
}

fn report(tracker: &Tracker, config: &WorkerConfig, error: &OpenError) {
    tracing::error!("{error}");
    let message = error.to_string();
    tracker.update(|progress| {
        progress.declare(config);
        match error {
            OpenError::Broker(_) => {
                let failure = ConnectFailure { kind: FailureKind::Protocol, message };
                progress.broker = Some(ConnectionState::Connecting { failure: Some(failure), attempts: 0 });
            }
            OpenError::Registry(error) => progress.registry = RegistryState::Failed(error.into()),
        }
    });
}
