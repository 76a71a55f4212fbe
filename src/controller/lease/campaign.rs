//! A candidate's dealings with the API server.

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use kube::{
    Api, Client,
    api::PostParams,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{
    LeaderElection, LeaseLost, Terms,
    candidate::{Candidate, Step},
};
use crate::resource::{
    api_server::WATCH_SECONDS,
    status::Author,
    trouble::{Troubles, Wanted},
};

/// How long the release may take; whoever waits for it waits for the lease's end otherwise.
const RELEASE: Duration = Duration::from_secs(2);

/// Runs for the lease, holds it, and gives it back.
pub(in crate::controller) struct Campaign {
    api: Api<Lease>,
    election: LeaderElection,
    candidate: Candidate,
    wanted: Wanted,
    troubles: Troubles,
    /// What came of the last request that failed.
    why: String,
    /// A claim was sent: we may hold the lease without knowing.
    claimed: bool,
}

/// What came of a request.
enum Answer {
    /// What there is now, if anything.
    Lease(Option<Box<Lease>>),
    /// Another version is there than the one that was seen.
    Conflict,
    Failed(String),
}

impl Campaign {
    pub fn new(client: Client, election: LeaderElection) -> Self {
        let api = Api::namespaced(client, &election.namespace);
        let candidate = Candidate::new(election.identity.clone(), election.terms);
        let wanted = Wanted {
            verbs: "get, list, watch, create, update",
            resource: "leases.coordination.k8s.io".into(),
            namespace: Some(election.namespace.clone()),
        };
        Self { api, election, candidate, wanted, troubles: Troubles::default(), why: String::new(), claimed: false }
    }

    /// The terms of this election.
    pub fn terms(&self) -> Terms {
        self.election.terms
    }

    /// Returns once we lead.
    pub async fn win(&mut self) {
        let mut seen = self.watch();
        let mut waited_for = None;
        while !self.candidate.leads() {
            match self.candidate.step(Instant::now()) {
                Step::Wait(until) => {
                    self.announce(&mut waited_for);
                    tokio::select! {
                        () = sleep_until(until) => {}
                        Some(event) = seen.next() => self.heed(event),
                    }
                }
                Step::Look => self.look().await,
                // Nothing is lost that was never held.
                Step::Claim | Step::Lost => self.claim().await,
            }
        }
        let transitions = self.candidate.lease().and_then(|lease| lease.spec.as_ref()?.lease_transitions);
        info!(lease = self.name(), identity = self.election.identity, transitions, "this replica leads from now on");
    }

    /// Returns once we lead no more, which is when the work should have ended already: there is
    /// [`Terms::lease`] less [`Terms::renew`] left for it.
    pub async fn hold(&mut self) -> LeaseLost {
        loop {
            match self.candidate.step(Instant::now()) {
                Step::Wait(until) => sleep_until(until).await,
                Step::Look => self.look().await,
                Step::Claim => self.claim().await,
                Step::Lost => return self.loss(),
            }
        }
    }

    /// Lets others lead at once. Only once all work has ended.
    pub async fn release(mut self) {
        if !self.claimed {
            return;
        }
        match timeout(RELEASE, self.try_release()).await {
            Ok(true) => info!(lease = self.name(), "the lease is released"),
            Ok(false) => info!(lease = self.name(), "the lease was not ours any more"),
            Err(_) => {
                let after = self.election.terms.lease;
                warn!(
                    lease = self.name(),
                    why = self.why,
                    "the lease is not released: others take over after {after:?}"
                );
            }
        }
    }

    /// Whether the lease was ours. Only the second attempt can know what a renewal that was interrupted has left behind.
    async fn try_release(&mut self) -> bool {
        if !self.candidate.leads() {
            // A claim was interrupted, and may have been taken.
            self.look().await;
        }
        loop {
            let Some(lease) = self.candidate.release(now()) else { return false };
            match self.write(lease, RELEASE).await {
                Answer::Lease(Some(_)) => return true,
                Answer::Lease(None) => return false,
                Answer::Conflict => self.look().await,
                Answer::Failed(why) => {
                    self.why = why;
                    // A moment, for an API server that refuses connections.
                    tokio::time::sleep(self.election.terms.retry / 10).await;
                }
            }
        }
    }

    async fn look(&mut self) {
        let sent = Instant::now();
        let answer = match timeout(self.candidate.patience(sent), self.api.get_opt(&self.election.name)).await {
            Ok(Ok(lease)) => Answer::Lease(lease.map(Box::new)),
            Ok(Err(error)) => Answer::Failed(self.wanted.explain(&error)),
            Err(_) => Answer::Failed(UNANSWERED.to_owned()),
        };
        match answer {
            Answer::Lease(lease) => self.candidate.observe(lease.map(|lease| *lease), Instant::now()),
            Answer::Conflict => self.candidate.outrun(),
            Answer::Failed(why) => self.fail(sent, why),
        }
    }

    async fn claim(&mut self) {
        self.claimed = true;
        let sent = Instant::now();
        match self.write(self.candidate.claim(now()), self.candidate.patience(sent)).await {
            Answer::Lease(Some(lease)) => self.candidate.taken(*lease, sent),
            Answer::Lease(None) => self.candidate.observe(None, Instant::now()),
            Answer::Conflict => self.candidate.outrun(),
            Answer::Failed(why) => self.fail(sent, why),
        }
    }

    /// Makes the lease, or replaces the version that was seen.
    async fn write(&self, mut lease: Lease, patience: Duration) -> Answer {
        let parameters =
            PostParams { field_manager: Some(Author::Controller.manager().to_owned()), ..PostParams::default() };
        let is_new = lease.metadata.resource_version.is_none();
        lease.metadata.name = Some(self.election.name.clone());
        let call = async {
            if is_new {
                self.api.create(&parameters, &lease).await
            } else {
                self.api.replace(&self.election.name, &parameters, &lease).await
            }
        };
        match timeout(patience, call).await {
            Ok(Ok(lease)) => Answer::Lease(Some(Box::new(lease))),
            // Somebody has made it meanwhile, or written it, or deleted it.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Answer::Conflict,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 && !is_new => Answer::Lease(None),
            Ok(Err(error)) => Answer::Failed(self.wanted.explain(&error)),
            Err(_) => Answer::Failed(UNANSWERED.to_owned()),
        }
    }

    fn fail(&mut self, sent: Instant, why: String) {
        self.candidate.failed(sent);
        self.complain(&why);
        self.why = why;
    }

    fn complain(&mut self, why: &str) {
        let done = if self.candidate.leads() { "renewed" } else { "had" };
        if self.troubles.is_news(why) {
            warn!(lease = self.name(), "the lease cannot be {done}: {why}");
        } else {
            debug!(lease = self.name(), why, "the lease cannot be {done}");
        }
    }

    /// What happens to the lease, for a standby. Where it may not be watched, the end of each term is waited for.
    fn watch(&self) -> BoxStream<'static, Result<Event<Lease>, watcher::Error>> {
        let only = format!("metadata.name={}", self.election.name);
        let config = watcher::Config::default().fields(&only).timeout(WATCH_SECONDS);
        watcher(self.api.clone(), config).default_backoff().boxed()
    }

    fn heed(&mut self, event: Result<Event<Lease>, watcher::Error>) {
        match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => self.candidate.observe(Some(lease), Instant::now()),
            Ok(Event::Delete(_)) => self.candidate.observe(None, Instant::now()),
            Ok(Event::Init | Event::InitDone) => {}
            // Where not even a look comes to anything, that has been said.
            Err(error) if self.candidate.lease().is_some() => {
                if let Some(why) = self.wanted.explain_watch(&error) {
                    self.complain(&why);
                }
            }
            Err(error) => debug!(lease = self.name(), %error, "the lease cannot be watched"),
        }
    }

    /// A line for each holder that is waited for.
    fn announce(&self, waited_for: &mut Option<String>) {
        let holder = self.candidate.holder().map(str::to_owned);
        if let (Some(holder), true) = (&holder, holder != *waited_for) {
            let since = self.candidate.lease().and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
            let since = since.map(|time| time.0.to_string());
            info!(lease = self.name(), since, "waiting for the lease: held by {holder}");
            *waited_for = Some(holder.clone());
        }
    }

    fn loss(&self) -> LeaseLost {
        let lease = self.name();
        match self.candidate.holder() {
            Some(holder) if holder == self.election.identity => {
                LeaseLost::NotRenewed { lease, after: self.election.terms.renew, why: self.why.clone() }
            }
            holder => LeaseLost::Taken { lease, holder: holder.unwrap_or("nobody").to_owned() },
        }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.election.namespace, self.election.name)
    }
}

const UNANSWERED: &str = "the API server does not answer";

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}
