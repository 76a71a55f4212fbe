//! Coming back as somebody else, without losing what is in flight.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinError, time::timeout};
use tracing::info;

use super::{
    super::{
        drive::Course, fault::Fault, interrupt::Interrupt, link::Link, options::Settled, shared::Gate,
        state::ConnectionState,
    },
    Connection, Driving,
};

/// How long what is in flight may take to be acknowledged before we come back with other credentials.
const PARTING: Duration = Duration::from_secs(10);

/// How long a connection that is coming about has for that, before the same; and how long its driver may take to notice that
/// it is interrupted.
const MOMENT: Duration = Duration::from_secs(2);

impl Connection {
    /// Ends a connection in order to come back, or lets it end: waits, though not for long, for what is in flight. `None`
    /// where it does not even notice that it is interrupted.
    pub(super) async fn part(
        &self,
        driving: &mut Driving,
        interrupt: &Interrupt,
    ) -> Option<Result<(Link, Course), JoinError>> {
        let mut gate = self.shared.gate.subscribe();
        let stands = tokio::select! {
            ended = &mut *driving => return Some(ended),
            opened = timeout(MOMENT, gate.wait_for(|gate| matches!(gate, Gate::Open(_)))) => opened.is_ok(),
        };
        self.shared.turn_gate(Gate::Shut);
        // Where none has come about, nobody acknowledges what is left of the last one.
        let patience = if stands { PARTING } else { Duration::ZERO };
        tokio::select! {
            ended = &mut *driving => return Some(ended),
            _ = timeout(patience, self.shared.settled()) => {}
        }
        interrupt.interrupt();
        let Ok(ended) = timeout(MOMENT, &mut *driving).await else {
            driving.abort();
            return None;
        };
        Some(ended.map(|(link, course)| {
            let fault = if course.fault.spares_link() { Fault::Interrupted } else { course.fault };
            (link, Course { fault, ..course })
        }))
    }

    /// Takes back what is left of a connection that we have parted with, and the credentials for the next.
    pub(super) fn come_back(&mut self, ended: Option<Result<(Link, Course), JoinError>>) {
        match ended {
            Some(Ok((link, course))) => {
                self.take_back(link, &course);
            }
            // What it held is sent again.
            Some(Err(_)) | None => self.shared.turn_gate(Gate::Shut),
        }
        self.renew();
    }

    /// Takes the latest credentials for all connections to come.
    pub(super) fn renew(&mut self) {
        self.settled = self.renewed.borrow_and_update().clone();
        self.options = Arc::new(self.settled.options.clone());
        if let Some(link) = &mut self.link {
            link.renew(&self.settled);
        }
        // Where there still is a reason for it, the next connection meets that again.
        self.cleaner = None;
        self.backoff.reset();
        self.shared.suspects().pardon();
        (self.accused, self.on_trial) = (None, false);
        info!(broker = %self.options.url, "connecting with other credentials");
        self.shared.change(ConnectionState::Connecting { failure: None, attempts: 0 });
    }
}

/// Waits for other credentials.
pub(super) async fn renewed(renewed: &mut watch::Receiver<Settled>) {
    if renewed.changed().await.is_err() {
        // Nobody is left who could bring some.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::{
        super::super::{
            message::{Publish, Qos},
            shared::Ticket,
        },
        *,
    };
    use crate::mqtt::connection::tests::connection;

    #[tokio::test(start_paused = true)]
    async fn no_acknowledgement_is_waited_for_where_no_connection_comes_about() {
        let connection = connection();
        // Sent on the last connection, and kept for the next.
        let publish = Publish::new("topic", "x", Qos::AtLeastOnce);
        let mut ticket = Ticket::new(&connection.shared, &publish);
        ticket.send(10);
        let (mut driving, began) = (tokio::spawn(pending()), Instant::now());
        assert!(connection.part(&mut driving, &Interrupt::default()).await.is_none());
        assert_eq!(began.elapsed(), 2 * MOMENT);
    }
}
