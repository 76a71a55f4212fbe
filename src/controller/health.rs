//! What the controller says when it is asked how it is.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::telemetry::heartbeat::Heartbeat;

/// How a running controller is: for probes, and for whoever waits for it.
///
/// It is ready once it knows of every resource, whether it leads or stands by. It stays ready when the API server is away
/// later: workers go on, nobody reaches the controller through a Service that a probe could keep traffic from, and replicas
/// that are all unready would only look like a second outage. It is alive while its two loops turn: the one that takes in what
/// is watched, and, in a leader, the one that hands out reconciliations. Nobody outside can hold up either.
#[derive(Debug, Clone)]
pub struct Health {
    pub(super) watching: Heartbeat,
    pub(super) reconciling: Heartbeat,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    leads: bool,
    /// One for each watch; none before there are any.
    caches: Vec<Cache>,
    /// The objects that workers have are known.
    children: bool,
}

#[derive(Debug)]
struct Cache {
    /// What is in it: `resources in namespace edge`.
    what: String,
    knowledge: Knowledge,
}

/// How much a watch has said.
#[derive(Debug, PartialEq, Eq)]
enum Knowledge {
    Nothing,
    /// It was refused, for this reason.
    Refused(String),
    /// Everything, at some time at least.
    Everything,
}

impl State {
    fn ready(&self) -> Result<(), String> {
        if self.caches.is_empty() {
            return Err("the controller has not begun".to_owned());
        }
        let open = self.caches.iter().filter_map(|cache| match &cache.knowledge {
            Knowledge::Nothing => Some(format!("{} are not known yet", cache.what)),
            Knowledge::Refused(why) => Some(format!("{} are not known: {why}", cache.what)),
            Knowledge::Everything => None,
        });
        let open: Vec<_> = open.collect();
        match open.as_slice() {
            [] if self.children => Ok(()),
            [] => Err("the objects of workers are not known yet".to_owned()),
            open => Err(open.join("; ")),
        }
    }
}

/// How long a loop may take for a turn: much more than what any machine is held up by, and a little more than what a
/// reconciliation may take.
const LIMIT: Duration = Duration::from_secs(30);

impl Default for Health {
    fn default() -> Self {
        Self::with_limit(LIMIT)
    }
}

impl Health {
    /// With another limit than 30 s for a turn of a loop.
    pub fn with_limit(limit: Duration) -> Self {
        Self {
            watching: Heartbeat::new("the loop that takes in what is watched", limit),
            reconciling: Heartbeat::new("the loop that hands out reconciliations", limit),
            state: Arc::default(),
        }
    }

    /// Whether it should go on, or be started anew.
    ///
    /// # Errors
    /// One line that says what is stuck.
    pub fn alive(&self) -> Result<(), String> {
        self.watching.check()?;
        self.reconciling.check()
    }

    /// Whether it knows of every resource, and could lead.
    ///
    /// # Errors
    /// One line that says what it does not know, and why.
    pub fn ready(&self) -> Result<(), String> {
        self.state.borrow().ready()
    }

    /// Returns once it is ready.
    pub async fn until_ready(&self) {
        let _ = self.state.subscribe().wait_for(|state| state.ready().is_ok()).await;
    }

    /// Whether it leads: from before it does anything until after all work has ended.
    pub fn leads(&self) -> bool {
        self.state.borrow().leads
    }

    /// Returns once [`Self::leads`] is `leads`.
    pub async fn until(&self, leads: bool) {
        // The sender is alive for as long as `self` is.
        let _ = self.state.subscribe().wait_for(|state| state.leads == leads).await;
    }

    pub(super) fn lead(&self, leads: bool) {
        self.state.send_modify(|state| state.leads = leads);
    }

    /// These are to be watched, and nothing is known yet.
    pub(super) fn begin(&self, what: Vec<String>) {
        let caches = what.into_iter().map(|what| Cache { what, knowledge: Knowledge::Nothing }).collect();
        self.state.send_modify(|state| state.caches = caches);
    }

    /// A watch was refused; what it has said before is still good.
    pub(super) fn refused(&self, watch: usize, why: &str) {
        self.learn(watch, |before| match before {
            Knowledge::Everything => None,
            _ => Some(Knowledge::Refused(why.to_owned())),
        });
    }

    /// A watch has said everything. Whether it was the last one to do so.
    pub(super) fn known(&self, watch: usize) -> bool {
        let news = self.learn(watch, |before| (*before != Knowledge::Everything).then_some(Knowledge::Everything));
        news && self.ready().is_ok()
    }

    /// It is known which objects workers have. Whether that was the last thing to know.
    pub(super) fn children_known(&self) -> bool {
        self.state.send_modify(|state| state.children = true);
        self.ready().is_ok()
    }

    /// Returns once each watch has said everything, or was refused: nothing more is to be had for now.
    pub(super) async fn settled(&self) {
        let is_settled = |state: &State| {
            !state.caches.is_empty() && state.caches.iter().all(|cache| cache.knowledge != Knowledge::Nothing)
        };
        let _ = self.state.subscribe().wait_for(is_settled).await;
    }

    fn learn(&self, watch: usize, next: impl FnOnce(&Knowledge) -> Option<Knowledge>) -> bool {
        self.state.send_if_modified(|state| {
            let Some(cache) = state.caches.get_mut(watch) else { return false };
            let Some(knowledge) = next(&cache.knowledge) else { return false };
            cache.knowledge = knowledge;
            true
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn health() -> Health {
        let health = Health::default();
        health.begin(vec!["resources in namespace a".into(), "resources in namespace b".into()]);
        health.children_known();
        health
    }

    #[test]
    fn it_is_ready_once_every_watch_has_said_everything() {
        assert_eq!(Health::default().ready(), Err("the controller has not begun".into()));
        let health = health();
        assert!(!health.known(0));
        assert_eq!(health.ready(), Err("resources in namespace b are not known yet".into()));
        assert!(health.known(1));
        assert_eq!(health.ready(), Ok(()));
        assert!(!health.known(1), "that is no news");
    }

    #[test]
    fn the_objects_of_workers_have_to_be_known_too() {
        let health = Health::default();
        health.begin(vec!["resources in all namespaces".into()]);
        assert!(!health.known(0));
        assert_eq!(health.ready(), Err("the objects of workers are not known yet".into()));
        assert!(health.children_known());
        assert_eq!(health.ready(), Ok(()));
    }

    #[test]
    fn a_namespace_that_is_refused_is_named_with_the_reason_and_the_others_go_on() {
        let health = health();
        health.known(0);
        assert_eq!(health.settled().now_or_never(), None);
        health.refused(1, "it is not allowed");
        assert_eq!(health.settled().now_or_never(), Some(()));
        assert_eq!(health.ready(), Err("resources in namespace b are not known: it is not allowed".into()));
    }

    #[test]
    fn an_outage_later_on_takes_nothing_back() {
        let health = health();
        health.known(0);
        health.known(1);
        health.refused(0, "the API server cannot be reached");
        assert_eq!(health.ready(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn either_loop_that_is_stuck_is_the_end() {
        for stuck in [0, 1] {
            let health = Health::default();
            let hearts = [&health.watching, &health.reconciling];
            hearts.iter().for_each(|heart| heart.beat());
            tokio::time::advance(LIMIT + Duration::from_secs(1)).await;
            hearts[1 - stuck].beat();
            let said = health.alive().unwrap_err();
            assert!(said.ends_with("has not turned for 31 s"), "{said}");
            hearts[stuck].beat();
            assert_eq!(health.alive(), Ok(()));
        }
    }
}
