//! One connection, from CONNECT to its end.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::mpsc, time::Instant};
use tracing::{debug, info, warn};

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
    /// Publishes could go out: after the gate was opened, or before, where the broker has kept those of the last connection.
    pub exposed: bool,
}

/// What is known of a connection while it lasts.
#[derive(Default)]
struct Standing {
    connected: Option<Instant>,
    exposed: bool,
}

/// How long the broker may leave us without an acknowledgement. What the application takes for a message is not counted.
struct Patience {
    limit: Duration,
    /// Pings wake us at least this often, unless something is being written.
    idle: Duration,
    waited: Duration,
}

impl Patience {
    fn new(options: &MqttOptions) -> Self {
        let MqttOptions { keep_alive, timeout, .. } = options;
        // A timer may be late.
        Self { limit: *keep_alive + *timeout, idle: *keep_alive + *timeout / 2, waited: Duration::ZERO }
    }

    /// The link has taken so long to say something.
    fn wait(&mut self, took: Duration) {
        self.waited += took;
        if took > self.idle {
            // It was writing, and its socket sees to it that bytes go out all the while.
            self.renew();
        }
    }

    /// Something has moved.
    fn renew(&mut self) {
        self.waited = Duration::ZERO;
    }

    fn is_exhausted(&self) -> bool {
        self.waited > self.limit
    }
}

/// What drives a link through one connection. It runs in a task of its own, because the link loses packets when it is
/// interrupted.
pub(super) struct Driver {
    pub link: Link,
    pub options: Arc<MqttOptions>,
    pub shared: Arc<Shared>,
    pub messages: mpsc::Sender<Message>,
    /// The last connection was lost while it was tried out what the broker hangs up on: that we are back is no news.
    pub on_trial: bool,
}

impl Driver {
    /// Connects, subscribes, opens the gate, and passes messages on until the connection ends. Hands the link back for the
    /// next one.
    pub async fn run(mut self) -> (Link, Course) {
        let mut standing = Standing::default();
        let Err(fault) = self.go_on(&mut standing).await;
        self.link.hang_up();
        let stood = standing.connected.map(|since| since.elapsed());
        (self.link, Course { fault, stood, exposed: standing.exposed })
    }

    async fn go_on(&mut self, standing: &mut Standing) -> Result<Infallible, Fault> {
        let mut max_packet_size = None;
        let mut patience = Patience::new(&self.options);
        loop {
            let began = Instant::now();
            let event = self.link.next().await?;
            patience.wait(began.elapsed());
            match event {
                LinkEvent::Connected { max_packet_size: announced, resumed } => {
                    standing.connected = Some(Instant::now());
                    standing.exposed = resumed;
                    patience.renew();
                    max_packet_size = announced;
                    if self.options.all_subscriptions().next().is_none() {
                        standing.exposed = true;
                        self.open(max_packet_size);
                    } else {
                        self.link.subscribe(self.options.all_subscriptions())?;
                    }
                }
                LinkEvent::Subscribed(denials) => {
                    self.check_granted(denials)?;
                    standing.exposed = true;
                    self.open(max_packet_size);
                }
                // An error means that nobody listens.
                LinkEvent::Message(message) => drop(self.messages.send(message).await),
                LinkEvent::Progress => patience.renew(),
                LinkEvent::Ping => self.shared.suspects().ping(),
                LinkEvent::Pong => self.shared.suspects().pong(),
                LinkEvent::Other => {}
            }
            if !self.link.awaits_acknowledgement() {
                self.shared.forget_abandoned(|| self.link.is_idle());
                patience.renew();
            } else if patience.is_exhausted() {
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
        if self.on_trial {
            debug!(broker = %self.options.url, protocol = %version, "connected again");
        } else {
            info!(broker = %self.options.url, protocol = %version, "connected");
        }
        self.shared.change(ConnectionState::Connected {
            version,
            since: SystemTime::now(),
            max_packet_size: announced,
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::mqtt::{Publish, Qos, Session, Version, VersionPreference, link::Beginning, shared::Ticket};

    /// How a connection goes with a broker that answers to CONNECT and hangs up.
    async fn course(session_present: u8, subscribes: bool, shared: &Arc<Shared>) -> Course {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut connect = [0; 2];
            socket.read_exact(&mut connect).await.unwrap();
            socket.read_exact(&mut vec![0; connect[1].into()]).await.unwrap();
            socket.write_all(&[0x20, 2, session_present, 0]).await.unwrap();
            socket.shutdown().await.unwrap();
            // Not reset before that is read.
            while socket.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        });
        let mut options = MqttOptions::new(url.parse().unwrap(), "client");
        options.version = VersionPreference::V311;
        options.session = Session::Persistent { expiry: Duration::from_secs(60) };
        options.subscriptions.extend(subscribes.then(|| ("filter".to_owned(), Qos::AtLeastOnce)));
        let settled = options.settle().unwrap();
        let driver = Driver {
            link: Link::new(Version::V311, &settled, Beginning::Configured),
            options: Arc::new(settled.options.clone()),
            shared: shared.clone(),
            messages: mpsc::channel(1).0,
            on_trial: false,
        };
        driver.run().await.1
    }

    fn patience() -> Patience {
        let mut options = MqttOptions::new("mqtt://localhost".parse().unwrap(), "client");
        (options.keep_alive, options.timeout) = (Duration::from_secs(30), Duration::from_secs(10));
        Patience::new(&options)
    }

    #[test]
    fn a_broker_that_answers_to_pings_alone_exhausts_our_patience() {
        let mut patience = patience();
        for took in [29, 1, 10] {
            patience.wait(Duration::from_secs(took));
            assert!(!patience.is_exhausted());
        }
        patience.wait(Duration::from_millis(1));
        assert!(patience.is_exhausted());
        patience.renew();
        assert!(!patience.is_exhausted());
    }

    #[test]
    fn a_link_that_writes_for_longer_than_pings_are_apart_is_only_slow() {
        let mut patience = patience();
        for took in [20, 36, 20, 300, 20] {
            patience.wait(Duration::from_secs(took));
            assert!(!patience.is_exhausted(), "{took}");
        }
    }

    #[tokio::test]
    async fn publishes_can_go_out_once_it_is_subscribed_or_a_session_is_resumed() {
        for (session_present, subscribes, exposed) in [(0, true, false), (1, true, true), (0, false, true)] {
            let course = course(session_present, subscribes, &Arc::new(Shared::new(1))).await;
            assert!(course.stood.is_some(), "{:?}", course.fault);
            assert_eq!(course.exposed, exposed, "{session_present} {subscribes}");
        }
    }

    #[tokio::test]
    async fn an_abandoned_publish_that_the_link_does_not_have_any_more_is_forgotten() {
        let shared = Arc::new(Shared::new(1));
        Ticket::new(&shared, &Publish::new("topic", "x", Qos::AtLeastOnce)).send(10);
        course(0, false, &shared).await;
        assert!(!shared.take_abandoned());
    }
}
