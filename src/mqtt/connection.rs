//! From one connection to the next: the version to speak, and the pause before.
//!
//! - `renewal`: coming back with other credentials; `ending`: the end.

mod ending;
mod renewal;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::{Instrument as _, debug, info, warn};

use self::{
    ending::{connect_and_leave, ordered},
    renewal::renewed,
};
use super::{
    client::Stop,
    drive::{Course, Driver},
    fault::Fault,
    link::{Beginning, Link},
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
    renewed: watch::Receiver<Settled>,
    choice: VersionChoice,
    backoff: Backoff,
    /// What outlived the last connection.
    link: Option<Link>,
    /// What ends the broker's session before the next connection, where it holds a message that we cannot take.
    cleaner: Option<Link>,
    /// A broker was there, and let us in.
    reached: bool,
    /// What people were told last that the broker hangs up on.
    accused: Option<Judgement>,
    /// The connection was lost while it was tried out what the broker hangs up on, which is nothing to tell people.
    on_trial: bool,
}

type Driving = JoinHandle<(Link, Course)>;

impl Connection {
    pub fn new(
        mut renewed: watch::Receiver<Settled>,
        shared: Arc<Shared>,
        messages: mpsc::Sender<Message>,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let settled = renewed.borrow_and_update().clone();
        let choice = VersionChoice::new(settled.options.version);
        let options = Arc::new(settled.options.clone());
        Self {
            settled,
            options,
            shared,
            messages,
            stop,
            renewed,
            choice,
            backoff: PAUSES,
            link: None,
            cleaner: None,
            reached: false,
            accused: None,
            on_trial: false,
        }
    }

    pub async fn run(mut self) {
        while let ControlFlow::Continue(pause) = self.connect().await {
            if self.rest(pause).await.is_break() {
                break;
            }
        }
        if self.reached {
            info!(broker = %self.options.url, "closed the connection");
        }
    }

    /// One connection; says how long to wait before the next.
    async fn connect(&mut self) -> ControlFlow<(), Duration> {
        let link = self.take_link();
        let (outlet, interrupt) = (link.outlet(), link.interrupt());
        let mut driving = self.drive(link);
        tokio::select! {
            ended = &mut driving => ControlFlow::Continue(match ended {
                Ok((link, course)) => self.learn(link, &course),
                Err(panic) => self.recover(&panic.to_string()),
            }),
            () = renewed(&mut self.renewed) => {
                let mut stop = self.stop.clone();
                tokio::select! {
                    ended = self.part(&mut driving, &interrupt) => {
                        self.come_back(ended);
                        ControlFlow::Continue(Duration::ZERO)
                    }
                    stop = ordered(&mut stop) => self.end(stop, driving, &outlet).await,
                }
            }
            stop = ordered(&mut self.stop) => self.end(stop, driving, &outlet).await,
        }
    }

    /// The time between two connections, which ends at once where the next is to be made with other credentials.
    async fn rest(&mut self, pause: Duration) -> ControlFlow<()> {
        let cleaner = self.cleaner.take();
        tokio::select! {
            () = prepare(pause, cleaner, &self.options) => {}
            () = renewed(&mut self.renewed) => self.renew(),
            stop = ordered(&mut self.stop) => {
                self.discard_where_ordered(stop, None).await;
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// The link for the next connection: the last one, if it speaks the version wanted and holds nothing that nobody waits
    /// for.
    fn take_link(&mut self) -> Link {
        let version = self.choice.next();
        let abandoned = self.shared.take_abandoned();
        match self.link.take() {
            Some(link) if link.version() == version && !abandoned => {
                link.interrupt().arm();
                link
            }
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
            on_trial: self.on_trial,
        };
        tokio::spawn(driver.run().in_current_span())
    }

    /// Draws the lessons of a connection that ended, and says how long to wait.
    fn learn(&mut self, link: Link, course: &Course) -> Duration {
        let judgement = self.take_back(link, course);
        self.on_trial = judgement != Judgement::Innocent;
        if self.convicts(judgement) {
            // What broke the connections is out of the way.
            self.backoff.reset();
        }
        self.pause(&course.fault, course.stood)
    }

    /// Takes back what is left of a connection; says who may be to blame for its end.
    fn take_back(&mut self, link: Link, course: &Course) -> Judgement {
        self.shared.turn_gate(Gate::Shut);
        self.reached |= course.stood.is_some();
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
        judgement
    }

    /// Whether somebody was convicted, which is said to people, though not again each time that it is tried anew.
    fn convicts(&mut self, judgement: Judgement) -> bool {
        let broker = &self.options.url;
        let news = self.accused.as_ref() != Some(&judgement);
        match &judgement {
            Judgement::Innocent | Judgement::Doubt => return false,
            Judgement::TooLarge(size) if news => {
                warn!(%broker, size, "the broker closes the connection at messages of so many bytes: none is sent for a while");
            }
            Judgement::Denied(topic) if news => {
                warn!(%broker, topic, "the broker closes the connection at messages to this topic: none is sent for a while");
            }
            Judgement::TooLarge(_) | Judgement::Denied(_) => debug!(%broker, ?judgement, "the same again"),
        }
        self.accused = Some(judgement);
        true
    }

    /// The library has panicked: what it held is lost, and sent again.
    fn recover(&mut self, panic: &str) -> Duration {
        self.shared.turn_gate(Gate::Shut);
        self.on_trial = false;
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
        if self.on_trial || (self.shared.state.borrow().fails_by(failure.kind) && !oversized) {
            debug!(%broker, kind = ?failure.kind, ?pause, "{}", failure.message);
        } else {
            warn!(%broker, kind = ?failure.kind, ?pause, "{}", failure.message);
        }
        self.shared
            .state
            .send_replace(ConnectionState::Connecting { failure: Some(failure), attempts: self.backoff.failures() });
        pause
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settled() -> Settled {
        MqttOptions::new("mqtt://localhost".parse().unwrap(), "client").settle().unwrap()
    }

    pub(in crate::mqtt::connection) fn connection() -> Connection {
        let (messages, _) = mpsc::channel(1);
        let (_, stopped) = watch::channel(None);
        let (_, renewed) = watch::channel(settled());
        Connection::new(renewed, Arc::new(Shared::new(1)), messages, stopped)
    }

    #[tokio::test(start_paused = true)]
    async fn other_credentials_are_tried_at_once_however_often_the_last_were_refused() {
        let (_stop, stopped) = watch::channel(None);
        let (renewals, renewed) = watch::channel(settled());
        let mut connection = connection();
        (connection.stop, connection.renewed) = (stopped, renewed);
        let refused = Fault::Unauthorized("bad user name or password".to_owned());
        let pause = (0..20).map(|_| connection.pause(&refused, None)).last().unwrap();
        let began = Instant::now();
        let _ = tokio::join!(connection.rest(pause), async { renewals.send_replace(settled()) });
        assert_eq!(began.elapsed(), Duration::ZERO, "and not after {pause:?}");
        assert!(connection.pause(&refused, None) < Duration::from_secs(1), "what was before does not count");
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
