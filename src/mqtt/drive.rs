//! One connection, from CONNECT to its end.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use super::{
    fault::Fault,
    link::{Link, LinkEvent},
    message::Message,
    options::MqttOptions,
    shared::{Gate, Shared, Way},
    state::ConnectionState,
};

/// How a connection went.
pub(super) struct Course {
    /// Why it ended.
    pub fault: Fault,
    /// How long it stood, from CONNACK on; none without CONNACK.
    pub stood: Option<Duration>,
}

/// What drives a link through one connection. It runs in a task of its own, because the link loses packets when it is
/// interrupted.
pub(super) struct Driver {
    pub link: Link,
    pub options: Arc<MqttOptions>,
    pub shared: Arc<Shared>,
    pub messages: mpsc::Sender<Message>,
}

impl Driver {
    /// Connects, subscribes, opens the gate, and passes messages on until the connection ends. Hands the link back for the
    /// next one.
    pub async fn run(mut self) -> (Link, Course) {
        let mut connected = None;
        let Err(fault) = self.go_on(&mut connected).await;
        self.link.hang_up();
        (self.link, Course { fault, stood: connected.map(|since: Instant| since.elapsed()) })
    }

    async fn go_on(&mut self, connected: &mut Option<Instant>) -> Result<Infallible, Fault> {
        let mut max_packet_size = None;
        let mut last_progress = Instant::now();
        // Pings wake us at least this often.
        let patience = self.options.keep_alive + self.options.timeout;
        loop {
            match self.link.next().await? {
                LinkEvent::Connected { max_packet_size: announced } => {
                    *connected = Some(Instant::now());
                    last_progress = Instant::now();
                    max_packet_size = announced;
                    if self.options.all_subscriptions().next().is_none() {
                        self.open(max_packet_size);
                    } else {
                        self.link.subscribe(self.options.all_subscriptions())?;
                    }
                }
                LinkEvent::Subscribed(denials) => {
                    self.check_granted(denials)?;
                    self.open(max_packet_size);
                }
                // An error means that nobody listens.
                LinkEvent::Message(message) => drop(self.messages.send(message).await),
                LinkEvent::Progress => last_progress = Instant::now(),
                LinkEvent::Ping => self.shared.suspects().ping(),
                LinkEvent::Pong => self.shared.suspects().pong(),
                LinkEvent::Other => {}
            }
            if !self.link.awaits_acknowledgement() {
                last_progress = Instant::now();
            } else if last_progress.elapsed() > patience {
                // A broker that drops messages without a word never acknowledges them on this connection.
                return Err(Fault::Unresponsive);
            }
        }
    }

    fn check_granted(&self, denials: Vec<Option<String>>) -> Result<(), Fault> {
        let required = self.options.subscriptions.len();
        let answers = self.options.all_subscriptions().zip(denials).enumerate();
        let denied = answers.filter_map(|(index, ((filter, _), denial))| Some((index, filter, denial?)));
        for (index, filter, reason) in denied {
            if index < required {
                return Err(Fault::SubscriptionDenied { filter: filter.clone(), reason });
            }
            warn!(broker = %self.options.url, filter, reason, "the broker denied a subscription that we can do without");
        }
        Ok(())
    }

    fn open(&self, announced: Option<u32>) {
        let announced_size = announced.map_or(usize::MAX, |size| usize::try_from(size).unwrap_or(usize::MAX));
        let way = Way { outlet: self.link.outlet(), max_packet_size: self.options.max_packet_size.min(announced_size) };
        self.shared.turn_gate(Gate::Open(way));
        let version = self.link.version();
        info!(broker = %self.options.url, protocol = %version, "connected");
        self.shared.change(ConnectionState::Connected {
            version,
            since: SystemTime::now(),
            max_packet_size: announced,
        });
    }
}
