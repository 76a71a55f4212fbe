//! What a resource's status says, and what there is to tell where it says something else than before. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::runtime::events::EventType;

use crate::api::{
    ArtifactStatus, Source, WasmProxy,
    conditions::{ConditionStatus, ConditionType, Reason, find},
};

/// In the order in which they cause each other: what is said of one need not be said of those after it. `Reconciling` and
/// `Stalled` say nothing of their own.
const ORDER: [ConditionType; 5] = [
    ConditionType::WorkerAvailable,
    ConditionType::BrokerConnected,
    ConditionType::RegistryReady,
    ConditionType::ArtifactsPublished,
    ConditionType::Ready,
];

/// Something is under way: there will be more to tell.
const UNDER_WAY: [Reason; 4] = [Reason::Progressing, Reason::Starting, Reason::Connecting, Reason::NothingDeclared];

/// The most bytes of [`Event::note`] (events.k8s.io/v1).
const NOTE_MAX: usize = 1024;

/// What a resource's status says, as far as it is told.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Story {
    conditions: Vec<Said>,
    /// By reference.
    published: BTreeMap<String, Publication>,
    handled: Option<String>,
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    about: ConditionType,
    status: String,
    reason: String,
    message: String,
    generation: Option<i64>,
}

/// A declared artifact that is out.
#[derive(Debug, Clone, PartialEq)]
struct Publication {
    digest: Option<String>,
    completed: Time,
    chunks: u64,
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Whether somebody has to do something.
    pub type_: EventType,
    /// What has happened, for programs.
    pub reason: String,
    /// What was done when it happened, or found out.
    pub action: String,
    /// What has happened, for people. Never a credential.
    pub note: String,
    /// What of the resource it is about.
    pub field_path: Option<String>,
}

impl Story {
    /// What the status of a resource says.
    pub fn of(resource: &WasmProxy) -> Self {
        let Some(status) = &resource.status else { return Self::default() };
        let said = |about| Some(Said::of(about, find(&status.conditions, about)?));
        let published = status
            .artifacts
            .iter()
            .filter_map(|artifact| Some((artifact.reference.clone(), Publication::of(artifact)?)));
        Self {
            conditions: ORDER.into_iter().filter_map(said).collect(),
            published: published.collect(),
            handled: status.last_handled_reconcile_at.clone(),
        }
    }

    /// What is known once `next` is: what is only not known for a moment is known from before.
    pub fn then(self, next: Self) -> Self {
        let conditions = next.conditions.into_iter().map(|now| match self.said(now.about) {
            Some(before) if now.is_under_way() && now.generation == before.generation => before.clone(),
            _ => now,
        });
        Self { conditions: conditions.collect(), ..next }
    }

    fn said(&self, about: ConditionType) -> Option<&Said> {
        self.conditions.iter().find(|said| said.about == about)
    }
}

impl Said {
    fn of(about: ConditionType, condition: &Condition) -> Self {
        Self {
            about,
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            generation: condition.observed_generation,
        }
    }

    fn is(&self, status: ConditionStatus) -> bool {
        self.status == status.as_str()
    }

    fn is_for(&self, reason: Reason) -> bool {
        self.reason == reason.as_str()
    }

    fn is_under_way(&self) -> bool {
        !self.is(ConditionStatus::True) && UNDER_WAY.into_iter().any(|reason| self.is_for(reason))
    }

    fn warning(&self) -> Event {
        event(EventType::Warning, &self.reason, self.about.as_str(), &self.message)
    }

    fn normal(&self, reason: &str) -> Event {
        event(EventType::Normal, reason, self.about.as_str(), &self.message)
    }
}

impl Publication {
    fn of(artifact: &ArtifactStatus) -> Option<Self> {
        let completed = artifact.completed_at.clone().filter(|_| artifact.source == Source::Declared)?;
        let chunks = artifact.chunks.map_or(0, |chunks| chunks.total);
        Some(Self { digest: artifact.digest.clone(), completed, chunks })
    }

    fn event(&self, reference: &str) -> Event {
        let digest = self.digest.as_deref().map_or("", short);
        let Self { chunks, .. } = self;
        let note = format!("{reference} is out: {digest}, in {chunks} chunks");
        let field_path = Some(format!("spec.artifacts{{{reference}@{digest}}}"));
        Event { field_path, ..event(EventType::Normal, "Published", "Publish", &note) }
    }
}

/// What there is to tell of a resource of which `before` was known, and of which `after` is known now.
pub(super) fn events(before: &Story, after: &Story) -> Vec<Event> {
    let conditions = after.conditions.iter().filter_map(|now| condition_event(now, before, after));
    let is_new = |(reference, publication): &(&String, &Publication)| {
        before
            .published
            .get(*reference)
            .is_none_or(|before| (&before.digest, &before.completed) != (&publication.digest, &publication.completed))
    };
    let published = after.published.iter().filter(is_new).map(|(reference, publication)| publication.event(reference));
    let handled = (after.handled.is_some() && after.handled != before.handled).then(|| {
        let note = "every artifact of the spec was looked up anew, as requested, and streamed again or has failed";
        event(EventType::Normal, "Reconciled", "Reconcile", note)
    });
    let mut events: Vec<_> = conditions.collect();
    // Ready comes last: it is what all others lead to.
    let ready = events.iter().position(|event| event.reason == READY).unwrap_or(events.len());
    events.splice(ready..ready, published.chain(handled));
    events
}

/// All is well.
const READY: &str = "Ready";

fn condition_event(now: &Said, before: &Story, after: &Story) -> Option<Event> {
    let was = before.said(now.about);
    if was.is_some_and(|was| (&was.status, &was.reason) == (&now.status, &now.reason)) {
        return None;
    }
    if now.is(ConditionStatus::True) {
        let was_so = was.is_some_and(|was| was.is(ConditionStatus::True));
        let was_not = was.is_some_and(|was| was.is(ConditionStatus::False));
        return match now.about {
            ConditionType::BrokerConnected if now.is_for(Reason::NoticesDenied) => Some(now.warning()),
            ConditionType::ArtifactsPublished if now.is_for(Reason::NoSubscribers) => Some(now.warning()),
            ConditionType::WorkerAvailable if !was_so => Some(now.normal("WorkerStarted")),
            ConditionType::BrokerConnected if !was_so => Some(now.normal(Reason::Connected.as_str())),
            ConditionType::RegistryReady if was_not => Some(now.normal(ConditionType::RegistryReady.as_str())),
            ConditionType::Ready if !was_so => Some(now.normal(READY)),
            _ => None,
        };
    }
    if !now.is(ConditionStatus::False) || now.is_under_way() || is_told_otherwise(now, before, after) {
        return None;
    }
    Some(if now.is_for(Reason::Suspended) { now.normal(&now.reason) } else { now.warning() })
}

/// Whether another condition has said so, or says so now.
fn is_told_otherwise(now: &Said, before: &Story, after: &Story) -> bool {
    let same = |said: &&Said| said.about != now.about && said.is(ConditionStatus::False) && said.reason == now.reason;
    before.conditions.iter().any(|said| same(&said))
        || after.conditions.iter().take_while(|said| said.about != now.about).any(|said| same(&said))
}

fn event(type_: EventType, reason: &str, action: &str, note: &str) -> Event {
    let fits = |(at, char): &(usize, char)| at + char.len_utf8() <= NOTE_MAX;
    let note = note.char_indices().take_while(fits).map(|(_, char)| char).collect();
    Event { type_, reason: reason.to_owned(), action: action.to_owned(), note, field_path: None }
}

/// As much of a digest as people compare.
fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(0, |colon| colon + 1) + 12;
    digest.get(..end).unwrap_or(digest)
}
