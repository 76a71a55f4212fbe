//! The handle that everybody holds.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::Instrument as _;

use super::{
    connection::Connection,
    error::{ConfigError, PublishError},
    link::Unacknowledged,
    message::{Ack, Message, Publish},
    options::{Credentials, MqttOptions, Settled},
    shared::{Gate, Shared, Ticket, Way},
    state::ConnectionState,
    suspects::CONTROL,
};
use crate::tls::TlsOptions;

/// Messages that wait for the application before the connection waits too.
const MESSAGES: usize = 16;

/// What the broker shall do with our session when we go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// Keep it for as long as agreed: somebody will be back under this client id.
    Keep,
    /// Forget it, with all that waits in it.
    Discard,
}

/// An order to end the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    pub end: SessionEnd,
    pub deadline: Instant,
}

/// A handle to a connection, cheap to clone. When the last one is dropped, the connection says DISCONNECT and ends; the
/// broker keeps a persistent session.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    stop: Arc<watch::Sender<Option<Stop>>>,
    settled: Arc<watch::Sender<Settled>>,
    max_packet_size: usize,
}

/// Begins to connect and returns at once; from now on a task of its own keeps the connection up. Messages for the
/// subscriptions come out of the receiver. Take them promptly: where they pile up the connection waits, keep-alive included.
/// A receiver that is dropped means that nobody cares for messages.
///
/// # Errors
/// Only where no connection can ever come of the options. What goes wrong on the network shows in [`Client::state`].
///
/// # Panics
/// Outside of a tokio runtime.
pub fn connect(options: MqttOptions) -> Result<(Client, mpsc::Receiver<Message>), ConfigError> {
    let settled = options.settle()?;
    let shared = Arc::new(Shared::new(settled.options.window));
    let (messages, receiver) = mpsc::channel(MESSAGES);
    let (stop, stopped) = watch::channel(None);
    let max_packet_size = settled.options.max_packet_size;
    let (settled, renewed) = watch::channel(settled);
    tokio::spawn(Connection::new(renewed, shared.clone(), messages, stopped).run().in_current_span());
    Ok((Client { shared, stop: Arc::new(stop), settled: Arc::new(settled), max_packet_size }, receiver))
}

impl Client {
    /// Publishes and waits until the broker has acknowledged: with PUBACK at QoS 1, PUBCOMP at QoS 2; at QoS 0 until the
    /// message is written to the socket. What is not acknowledged when a connection breaks is sent again on the next.
    ///
    /// At most [`MqttOptions::window`] publishes are in flight; others wait their turn. Messages go out in the order in which
    /// these futures are first polled; a connection that breaks may change the order of those in flight.
    ///
    /// Dropping the future abandons the message: it may have been sent, and is not sent again after the next loss of the
    /// connection.
    ///
    /// # Errors
    /// Only where waiting and sending again cannot help.
    pub async fn publish(&self, publish: Publish) -> Result<Ack, PublishError> {
        publish.check()?;
        let _permit = self.shared.window.acquire().await.map_err(|_| PublishError::Closed)?;
        let mut gate = self.shared.gate.subscribe();
        let mut ticket = Ticket::new(&self.shared, &publish);
        loop {
            let mut turn = Some(self.shared.turn.lock().await);
            let way = way_out(&mut gate).await?;
            let size = self.check_size(&publish, &way)?;
            self.shared.suspects().admit(&publish.topic, size, Instant::now())?;
            if ticket.is_on_trial() {
                // Nothing else is sent meanwhile: it is our turn.
                tokio::select! {
                    _ = gate.changed() => {
                        ticket.acquit();
                        continue;
                    }
                    () = tokio::time::sleep(CONTROL) => {}
                }
            }
            let alone = ticket.send(size);
            let outcome = match way.outlet.publish(&publish).await {
                Ok(receipt) => {
                    turn.take_if(|_| !alone);
                    receipt.acknowledged().await
                }
                Err(lost) => Err(lost),
            };
            match outcome {
                Ok(ack) => {
                    ticket.answered();
                    return Ok(ack);
                }
                Err(Unacknowledged::Refused(error)) => {
                    ticket.answered();
                    return Err(error);
                }
                Err(Unacknowledged::Lost) => ticket.take_back(),
            }
            drop(turn);
            // The gate has been shut since, or is about to be: the way that failed is not taken again.
            gate.changed().await.map_err(|_| PublishError::Closed)?;
        }
    }

    /// The size of the packet in bytes, which both we and the broker allow.
    fn check_size(&self, publish: &Publish, way: &Way) -> Result<usize, PublishError> {
        let size = way.outlet.packet_size(publish);
        let limit = way.max_packet_size.min(self.max_packet_size);
        if size > limit { Err(PublishError::TooLarge { size, limit }) } else { Ok(size) }
    }

    /// Where the connection stands, now and later.
    pub fn state(&self) -> watch::Receiver<ConnectionState> {
        self.shared.state.subscribe()
    }

    /// Connects anew as somebody else, or trusting somebody else, to the same session: waits, though not for long, for the
    /// acknowledgement of what is in flight, ends the connection that stands, and sends again on the next what was not
    /// acknowledged. Messages for the subscriptions wait at the broker meanwhile. Whatever kept the last credentials from
    /// being accepted counts for nothing: the new ones are tried at once.
    ///
    /// Nothing happens where they are the same. Called again before that is done, the last word holds.
    ///
    /// # Errors
    /// Where no connection can ever come of them; then everything stays as it is.
    pub fn renew(&self, credentials: Option<Credentials>, tls: TlsOptions) -> Result<(), ConfigError> {
        let options = MqttOptions { credentials, tls, ..self.settled.borrow().options.clone() };
        if options == self.settled.borrow().options {
            return Ok(());
        }
        self.settled.send_replace(options.settle()?);
        Ok(())
    }

    /// Ends the connection: waits for the acknowledgement of what is in flight, says DISCONNECT, and returns when all is
    /// over, after `within` at the latest. Publishes that have not been sent by then end with [`PublishError::Closed`], and so
    /// do all later ones. Called again, it waits for the end that was ordered first.
    ///
    /// [`SessionEnd::Discard`] takes another connection, whose CONNACK says that the session is gone. Where that cannot be had
    /// `within` the time, the broker keeps the session; on MQTT 5 only where it did not hear DISCONNECT either.
    pub async fn disconnect(&self, end: SessionEnd, within: Duration) {
        let stop = Stop { end, deadline: Instant::now() + within };
        self.stop.send_if_modified(|ordered| {
            let first = ordered.is_none();
            ordered.get_or_insert(stop);
            first
        });
        // An error means that the task is gone, which is what we wait for.
        let _ = self.state().wait_for(|state| *state == ConnectionState::Closed).await;
    }
}

/// Waits for a connection.
async fn way_out(gate: &mut watch::Receiver<Gate>) -> Result<Way, PublishError> {
    match gate.wait_for(|gate| !matches!(gate, Gate::Shut)).await.as_deref() {
        Ok(Gate::Open(way)) => Ok(way.clone()),
        _ => Err(PublishError::Closed),
    }
}
