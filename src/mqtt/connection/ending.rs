//! The end: last words, and the session.

use std::{ops::ControlFlow, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::{
    super::{
        client::{SessionEnd, Stop},
        fault::Fault,
        link::{Beginning, Link, LinkEvent, Outlet},
        options::Session,
        shared::Gate,
        state::ConnectionState,
        version::Version,
    },
    Connection, Driving,
};

/// How long DISCONNECT may take once nothing is in flight. After acknowledgements out of order, as reconnects bring them, the
/// library waits for one that will never come before it says DISCONNECT; then the connection is closed without.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long we wait for acknowledgements where nobody is left who could say.
const FAREWELL: Duration = Duration::from_secs(5);

impl Connection {
    /// Ends a connection that stands or is coming about.
    pub(super) async fn end(&mut self, stop: Stop, mut driving: Driving, outlet: &Outlet) -> ControlFlow<(), Duration> {
        // The gate of one that is about to be left for other credentials is shut.
        let connected = matches!(*self.shared.gate.borrow(), Gate::Open(_))
            || matches!(*self.shared.state.borrow(), ConnectionState::Connected { .. });
        // Publishes that wait for the gate give up, and with it their permits; when all permits are back, nothing is in
        // flight.
        self.shared.turn_gate(Gate::Closed);
        self.reached |= connected;
        let said = if connected {
            // A connection that does not let us go must leave time for the one that ends the session.
            let left = stop.deadline.duration_since(Instant::now());
            let until = if self.discards(stop) { stop.deadline - left / 2 } else { stop.deadline };
            timeout_at(until, self.say_goodbye(&mut driving, outlet, stop)).await.unwrap_or_default()
        } else {
            None
        };
        driving.abort();
        self.discard_where_ordered(stop, said).await;
        ControlFlow::Break(())
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
    pub(super) async fn discard_where_ordered(&mut self, stop: Stop, said: Option<Version>) {
        if !self.discards(stop) {
            return;
        }
        // What lives in the old link would be sent on a connection that must not send anything.
        self.link = None;
        // There may be other credentials that we have not come back with yet.
        let settled = self.renewed.borrow().clone();
        let mut link = Link::new(said.unwrap_or(self.choice.next()), &settled, Beginning::Clean);
        let ended = timeout_at(stop.deadline, connect_and_leave(&mut link)).await;
        if ended != Ok(Fault::Finished) && said != Some(Version::V5) && self.reached {
            warn!(broker = %self.options.url, "could not end the session: the broker keeps it");
        }
    }

    /// Whether the broker shall forget a session that it may keep.
    fn discards(&self, stop: Stop) -> bool {
        stop.end == SessionEnd::Discard && self.options.session != Session::Clean
    }
}

/// Connects and disconnects, which on a clean session leaves nothing behind. Says how it ended:
/// [`Finished`](Fault::Finished) is as it should be.
pub(super) async fn connect_and_leave(link: &mut Link) -> Fault {
    loop {
        match link.next().await {
            Ok(LinkEvent::Connected { .. }) => link.outlet().disconnect(true, FAREWELL),
            Ok(_) => {}
            Err(fault) => return fault,
        }
    }
}

/// Waits for the order to end. That nobody is left who could give it is one too.
pub(super) async fn ordered(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(stop)) => *stop,
        _ => Stop { end: SessionEnd::Keep, deadline: Instant::now() + FAREWELL },
    }
}
