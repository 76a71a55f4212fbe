//! From one connection to the next: the version to speak, the pause before, and the end.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};
use tracing::{Instrument as _, debug, info, warn};

use super::{
    client::{SessionEnd, Stop},
    drive::{Course, Driver},
    fault::Fault,
    link::{Beginning, Link, LinkEvent, Outlet},
    message::Message,
    options::{MqttOptions, Session, Settled},
    shared::{Gate, Shared},
    state::ConnectionState,
    suspects::Judgement,
    version::{Verdict, Version, VersionChoice},
};
use crate::backoff::Backoff;

/// The longest pause after a message that we cannot take: others wait behind it, and the next connection is likely to hold.
const OVERSIZED_PAUSE: Duration = Duration::from_secs(5);

/// So many times in a row a message that we cannot take is hoped to be the last. One that is retained comes back with each
/// subscription, until somebody clears it.
const HOPE: u32 = 8;

/// The pauses between connections.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));

/// A connection that held this long was a good one: the next loss starts from the beginning. One that breaks sooner (taken
/// over, cut at the same packet again) goes on doubling.
const STABLE: Duration = Duration::from_secs(30);

/// How long DISCONNECT may take once nothing is in flight. After acknowledgements out of order, as reconnects bring them, the
/// library waits for one that will never come before it says DISCONNECT; then the connection is closed without.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long we wait for acknowledgements where nobody is left who could say.
const FAREWELL: Duration = Duration::from_secs(5);

/// The task that keeps a connection up.
///
/// It never touches a link that is being driven: that one is in a task of its own, which ends when its connection does. So
/// this task is free to listen for orders at any time, and abandons a driver only when its link is of no use any more.
pub(super) struct Connection {
    settled: Settled,
    options: Arc<MqttOptions>,
    shared: Arc<Shared>,
    messages: mpsc::Sender<Message>,
    stop: watch::Receiver<Option<Stop>>,
    choice: VersionChoice,
    backoff: Backoff,
    /// What outlived the last connection.
    link: Option<Link>,
    /// What ends the broker's session before the next connection, where it holds a message that we cannot take.
    cleaner: Option<Link>,
}

type Driving = JoinHandle<(Link, Course)>;

impl Connection {
    pub fn new(
        settled: Settled,
        shared: Arc<Shared>,
        messages: mpsc::Sender<Message>,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let choice = VersionChoice::new(settled.options.version);
        let options = Arc::new(settled.options.clone());
        Self { settled, options, shared, messages, stop, choice, backoff: PAUSES, link: None, cleaner: None }
    }

    pub async fn run(mut self) {
        loop {
            let link = self.take_link();
            let outlet = link.outlet();
            let mut driving = self.drive(link);
            let pause = tokio::select! {
                ended = &mut driving => match ended {
                    Ok((link, course)) => self.learn(link, &course),
                    Err(panic) => self.recover(&panic.to_string()),
                },
                stop = ordered(&mut self.stop) => {
                    self.end(stop, driving, &outlet).await;
                    break;
                }
            };
            let cleaner = self.cleaner.take();
            tokio::select! {
                () = prepare(pause, cleaner, &self.options) => {}
                stop = ordered(&mut self.stop) => {
                    self.discard_where_ordered(stop, None).await;
                    break;
                }
            }
        }
        info!(broker = %self.options.url, "closed the connection");
    }

    /// The link for the next connection: the last one, if it speaks the version wanted and holds nothing that nobody waits
    /// for.
    fn take_link(&mut self) -> Link {
        let version = self.choice.next();
        let abandoned = self.shared.take_abandoned();
        match self.link.take() {
            Some(link) if link.version() == version && !abandoned => link,
            _ => Link::new(version, &self.settled, Beginning::Configured),
        }
    }

    fn drive(&self, link: Link) -> Driving {
        debug!(broker = %self.options.url, version = %link.version(), "connecting");
        let driver = Driver {
            link,
            options: self.options.clone(),
            shared: self.shared.clone(),
            messages: self.messages.clone(),
        };
        tokio::spawn(driver.run().in_current_span())
    }

    /// Draws the lessons of a connection that ended, and says how long to wait.
    fn learn(&mut self, link: Link, course: &Course) -> Duration {
        self.shared.turn_gate(Gate::Shut);
        self.choice.learn(if course.stood.is_some() { Verdict::Spoken } else { course.fault.verdict() });
        let blamed = course.exposed && course.fault.may_be_an_answer();
        let speaks = link.version() == Version::V5 && !matches!(course.fault, Fault::Forbidden(_));
        let judgement = self.shared.suspects().lost(blamed, speaks, Instant::now());
        // Whoever is sent alone, or never again, must not be in what the link sends by itself.
        if course.fault.spares_link() && judgement == Judgement::Innocent {
            self.link = Some(link);
        }
        let keeps_messages = matches!(self.options.session, Session::Persistent { .. });
        if matches!(course.fault, Fault::Oversized(_)) && keeps_messages {
            self.cleaner = Some(Link::new(self.choice.next(), &self.settled, Beginning::Clean));
        }
        if self.convicts(&judgement) {
            // What broke the connections is out of the way.
            self.backoff.reset();
        }
        self.pause(&course.fault, course.stood)
    }

    /// Whether somebody was convicted, which is said to people.
    fn convicts(&self, judgement: &Judgement) -> bool {
        let broker = &self.options.url;
        match judgement {
            Judgement::Innocent | Judgement::Doubt => return false,
            Judgement::TooLarge(size) => {
                warn!(%broker, size, "the broker closes the connection at messages of so many bytes: none is sent for a while");
            }
            Judgement::Denied(topic) => {
                warn!(%broker, topic, "the broker closes the connection at messages to this topic: none is sent for a while");
            }
        }
        true
    }

    /// The library has panicked: what it held is lost, and sent again.
    fn recover(&mut self, panic: &str) -> Duration {
        self.shared.turn_gate(Gate::Shut);
        self.pause(&Fault::Unusable(panic.to_owned()), None)
    }

    fn pause(&mut self, fault: &Fault, stood: Option<Duration>) -> Duration {
        if stood.is_some_and(|stood| stood >= STABLE) {
            self.backoff.reset();
        }
        let mut pause = self.backoff.fail(fastrand::f64());
        let oversized = matches!(fault, Fault::Oversized(_)) && self.backoff.failures() <= HOPE;
        if oversized {
            pause = pause.min(OVERSIZED_PAUSE);
        }
        let failure = fault.describe(&self.options);
        let broker = &self.options.url;
        // One line tells people what is wrong; further attempts that end the same way tell nothing new.
        if self.shared.state.borrow().fails_by(failure.kind) && !oversized {
            debug!(%broker, kind = ?failure.kind, ?pause, "{}", failure.message);
        } else {
            warn!(%broker, kind = ?failure.kind, ?pause, "{}", failure.message);
        }
        self.shared
            .state
            .send_replace(ConnectionState::Connecting { failure: Some(failure), attempts: self.backoff.failures() });
        pause
    }

    /// Ends a connection that stands or is coming about.
    async fn end(&mut self, stop: Stop, mut driving: Driving, outlet: &Outlet) {
        let connected = matches!(*self.shared.gate.borrow(), Gate::Open(_));
        // Publishes that wait for the gate give up, and with it their permits; when all permits are back, nothing is in
        // flight.
        self.shared.turn_gate(Gate::Closed);
        let said = if connected {
            timeout_at(stop.deadline, self.say_goodbye(&mut driving, outlet, stop)).await.unwrap_or_default()
        } else {
            None
        };
        driving.abort();
        self.discard_where_ordered(stop, said).await;
    }

    /// Waits for what is in flight, then for DISCONNECT; says in which version it was said.
    async fn say_goodbye(&self, driving: &mut Driving, outlet: &Outlet, stop: Stop) -> Option<Version> {
        let ended = tokio::select! {
            ended = &mut *driving => ended,
            _ = self.shared.window.acquire_many(self.shared.window_size) => {
                let left = stop.deadline.duration_since(Instant::now());
                outlet.disconnect(stop.end == SessionEnd::Discard, left.min(LAST_WORDS));
                driving.await
            }
        };
        let (link, course) = ended.ok()?;
        (course.fault == Fault::Finished).then(|| link.version())
    }

    /// Ends the session at the broker, where that is ordered. `said` is the version in which DISCONNECT was said.
    ///
    /// On MQTT 5 DISCONNECT ends the session, too. But nobody answers to it, and a broker may look at a new connection before
    /// it looks at the last words on the old one; the answer to a clean CONNECT says that the session is no more.
    async fn discard_where_ordered(&mut self, stop: Stop, said: Option<Version>) {
        if stop.end == SessionEnd::Keep || self.options.session == Session::Clean {
            return;
        }
        // What lives in the old link would be sent on a connection that must not send anything.
        self.link = None;
        let mut link = Link::new(said.unwrap_or(self.choice.next()), &self.settled, Beginning::Clean);
        let ended = timeout_at(stop.deadline, connect_and_leave(&mut link)).await;
        if ended != Ok(Fault::Finished) && said != Some(Version::V5) {
            warn!(broker = %self.options.url, "could not end the session: the broker keeps it");
        }
    }
}

impl Drop for Connection {
    /// However it comes about, nobody waits for a connection that nobody keeps up.
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Waits, then ends the broker's session where there is a reason to. Where that fails the next connection meets the reason
/// again, and so we come back here.
async fn prepare(pause: Duration, cleaner: Option<Link>, options: &MqttOptions) {
    sleep(pause).await;
    let Some(mut link) = cleaner else { return };
    match connect_and_leave(&mut link).await {
        Fault::Finished => warn!(
            broker = %options.url,
            "ended the session to be rid of a message that is too large: others that waited in it are lost"
        ),
        fault => debug!(broker = %options.url, "could not end the session: {}", fault.describe(options).message),
    }
}

/// Connects and disconnects, which on a clean session leaves nothing behind. Says how it ended:
/// [`Finished`](Fault::Finished) is as it should be.
async fn connect_and_leave(link: &mut Link) -> Fault {
    loop {
        match link.next().await {
            Ok(LinkEvent::Connected { .. }) => link.outlet().disconnect(true, FAREWELL),
            Ok(_) => {}
            Err(fault) => return fault,
        }
    }
}

/// Waits for the order to end. That nobody is left who could give it is one too.
async fn ordered(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(stop)) => *stop,
        _ => Stop { end: SessionEnd::Keep, deadline: Instant::now() + FAREWELL },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let settled = MqttOptions::new("mqtt://localhost".parse().unwrap(), "client").settle().unwrap();
        let (messages, _) = mpsc::channel(1);
        let (_, stopped) = watch::channel(None);
        Connection::new(settled, Arc::new(Shared::new(1)), messages, stopped)
    }

    #[test]
    fn nothing_is_blamed_for_a_connection_that_was_lost_before_publishes_could_go_out() {
        for exposed in [false, true] {
            let mut connection = connection();
            let id = connection.shared.suspects().enter("topic");
            connection.shared.suspects().send(id, 1_000_000);
            for _ in 0..2 {
                let link = connection.take_link();
                let fault = Fault::Lost("closed".to_owned());
                connection.learn(link, &Course { fault, stood: Some(Duration::from_secs(1)), exposed });
            }
            assert_eq!(connection.shared.suspects().isolates(), exposed);
        }
    }

    #[test]
    fn a_message_too_large_for_us_that_never_goes_away_is_met_ever_later() {
        let mut connection = connection();
        let pauses: Vec<_> =
            (0..20).map(|_| connection.pause(&Fault::Oversized(1), Some(Duration::from_secs(1)))).collect();
        assert!(pauses[..8].iter().all(|pause| *pause <= OVERSIZED_PAUSE), "{pauses:?}");
        assert!(pauses[8..].iter().all(|pause| *pause >= OVERSIZED_PAUSE * 3), "{pauses:?}");
    }
}
