//! `Ready`, and what the controller says besides. Pure.
//!
//! Follows kstatus, by which `kubectl wait`, Flux and Argo CD read a resource: `Reconciling` and `Stalled` are there only
//! while they are True, and an object that nobody has looked at is not ready.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::core::error_boundary::InvalidObject;

use crate::{
    api::{
        WasmProxy, WasmProxyStatus,
        conditions::{ConditionStatus, ConditionType, Finding, Reason, find},
    },
    resource::{
        findings::{NO_WORKER, without_worker},
        report::WORKER_CONDITIONS,
    },
};

/// How it stands with the worker of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerState {
    /// It runs, and knows what the spec says.
    Running(Site),
    /// It runs, and does not know the latest, or lacks something: this keeps it.
    Outdated(Site, Problem),
    /// It is to run elsewhere, and does not yet, or no longer.
    Unavailable(Unavailable),
    /// It does not run: this keeps it.
    Absent(Problem),
    /// It does not run, because it is not to.
    Suspended,
}

/// Where a worker runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// In the controller's process.
    Process,
    /// In a Pod of its own.
    Pod,
    /// Wherever the resource's owner runs it.
    External,
}

/// How it stands with a worker outside this process that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// False where it does not come up by itself, else Unknown.
    pub status: ConditionStatus,
    /// Why it is not there.
    pub problem: Problem,
    /// Whether its process may run all the same, and have something to say.
    pub may_report: bool,
}

/// What keeps a worker, as the resource's owner should hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// For programs.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// The controller's part of the status.
pub fn summary(resource: &WasmProxy, worker: &WorkerState, now: &Time) -> WasmProxyStatus {
    let generation = resource.metadata.generation.unwrap_or_default();
    let before = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let ready = ready(worker, generation, before);
    let mut findings = vec![available(worker)];
    findings.extend(reconciling(&ready));
    findings.extend(stalled(&ready));
    let is_silent = is_silent(worker, before);
    if is_silent {
        findings.extend(without_worker(NO_WORKER));
    }
    findings.insert(0, ready);
    let said = findings.into_iter().map(|finding| finding.into_condition(generation, before, now));
    let kept = taken(before).filter(|_| !is_silent).cloned();
    WasmProxyStatus {
        observed_generation: Some(generation),
        conditions: said.chain(kept).collect(),
        ..WasmProxyStatus::default()
    }
}

/// The controller's part of the status of a resource that cannot be read, out of the conditions that it has. A worker that
/// runs goes on as it was.
pub fn unreadable(invalid: &InvalidObject, before: &[Condition], now: &Time) -> WasmProxyStatus {
    let generation = invalid.metadata.generation.unwrap_or_default();
    let message = format!("the resource cannot be read: {}; correct it, or upgrade the controller", invalid.error);
    let ready = finding(ConditionType::Ready, ConditionStatus::False, Reason::InvalidSpec, &message);
    let findings = stalled(&ready).into_iter().chain([ready]);
    let said = findings.map(|finding| finding.into_condition(generation, before, now));
    WasmProxyStatus {
        observed_generation: Some(generation),
        conditions: said.chain(taken(before).cloned()).collect(),
        ..WasmProxyStatus::default()
    }
}

/// Whether `part` is what the controller has said already in this status.
pub fn is_said(part: &WasmProxyStatus, status: &WasmProxyStatus) -> bool {
    let said = |condition| status.conditions.contains(condition);
    let transient = [ConditionType::Reconciling, ConditionType::Stalled];
    let withdrawn = |about| find(&status.conditions, about).is_some() && find(&part.conditions, about).is_none();
    status.observed_generation == part.observed_generation
        && part.conditions.iter().all(said)
        && !transient.into_iter().any(withdrawn)
}

/// Whether a worker has said anything in these conditions since they were last taken from one.
pub fn has_spoken(conditions: &[Condition]) -> bool {
    let said = WORKER_CONDITIONS.iter().filter_map(|about| find(conditions, *about));
    said.into_iter().any(|condition| !is_taken(condition))
}

/// The worker's conditions that nobody has taken back yet. They have to be said on: a condition that the controller lets go
/// of loses all its fields but the type, which the worker that said it last still holds, and is none any more.
fn taken(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    WORKER_CONDITIONS.iter().filter_map(|about| find(conditions, *about)).filter(|condition| is_taken(condition))
}

fn is_taken(condition: &Condition) -> bool {
    condition.reason == Reason::WorkerUnavailable.as_str()
}

/// Whether nobody knows what the worker's conditions say. They are taken from a worker whose process may still run only once,
/// when it goes: what it says after that is true, and taking it again and again would be a quarrel.
fn is_silent(worker: &WorkerState, before: &[Condition]) -> bool {
    match worker {
        WorkerState::Absent(_) | WorkerState::Suspended => true,
        WorkerState::Running(_) | WorkerState::Outdated(..) => false,
        WorkerState::Unavailable(unavailable) => {
            let was_available = find(before, ConditionType::WorkerAvailable)
                .is_some_and(|available| available.status == ConditionStatus::True.as_str());
            !unavailable.may_report || was_available || !has_spoken(before)
        }
    }
}

fn available(worker: &WorkerState) -> Finding {
    let about = ConditionType::WorkerAvailable;
    match worker {
        WorkerState::Running(site) | WorkerState::Outdated(site, _) => {
            let (reason, message) = match site {
                Site::Process => (Reason::Succeeded, "the worker runs in the controller's process"),
                Site::Pod => (Reason::Succeeded, "the worker's Pod is ready"),
                Site::External => (Reason::ExternalWorker, "an External worker reports"),
            };
            finding(about, ConditionStatus::True, reason, message)
        }
        WorkerState::Unavailable(Unavailable { status, problem, .. }) => {
            finding(about, *status, problem.reason, &problem.message)
        }
        WorkerState::Absent(problem) => finding(about, ConditionStatus::False, problem.reason, &problem.message),
        WorkerState::Suspended => finding(about, ConditionStatus::False, Reason::Suspended, SUSPENDED),
    }
}

const SUSPENDED: &str = "nothing is sent until spec.suspend is false";

fn ready(worker: &WorkerState, generation: i64, conditions: &[Condition]) -> Finding {
    let about = ConditionType::Ready;
    match worker {
        WorkerState::Suspended => finding(about, ConditionStatus::False, Reason::Suspended, SUSPENDED),
        WorkerState::Absent(problem)
        | WorkerState::Outdated(_, problem)
        | WorkerState::Unavailable(Unavailable { status: ConditionStatus::False, problem, .. }) => {
            finding(about, ConditionStatus::False, problem.reason, &problem.message)
        }
        WorkerState::Unavailable(Unavailable { problem, .. }) => {
            finding(about, ConditionStatus::Unknown, Reason::Progressing, &problem.message)
        }
        WorkerState::Running(_) => sum_up(generation, conditions),
    }
}

/// What is wrong comes first, then what is not known yet.
fn sum_up(generation: i64, conditions: &[Condition]) -> Finding {
    let about = ConditionType::Ready;
    let is_current = |condition: &&Condition| condition.observed_generation == Some(generation) && !is_taken(condition);
    let current = |about| find(conditions, about).filter(is_current);
    let broker = current(ConditionType::BrokerConnected);
    let registry = current(ConditionType::RegistryReady);
    let artifacts = current(ConditionType::ArtifactsPublished);
    let is = |condition: Option<&Condition>, status: ConditionStatus| {
        condition.is_some_and(|condition| condition.status == status.as_str())
    };
    let wrong = [broker, registry, artifacts].into_iter().flatten().find(|c| is(Some(c), ConditionStatus::False));
    if let Some(wrong) = wrong {
        return finding(about, ConditionStatus::False, reason_of(wrong), &wrong.message);
    }
    let nothing_asked = registry.is_some_and(|condition| condition.reason == Reason::NothingDeclared.as_str());
    let registry_is_fine = nothing_asked || is(registry, ConditionStatus::True);
    match artifacts {
        Some(artifacts)
            if is(broker, ConditionStatus::True) && registry_is_fine && is(Some(artifacts), ConditionStatus::True) =>
        {
            finding(about, ConditionStatus::True, reason_of(artifacts), &artifacts.message)
        }
        _ => {
            let open =
                [broker, registry, artifacts].into_iter().flatten().find(|c| is(Some(c), ConditionStatus::Unknown));
            let message = open.map_or("the worker has not reported yet", |condition| condition.message.as_str());
            finding(about, ConditionStatus::Unknown, Reason::Progressing, message)
        }
    }
}

/// A worker of another version may know reasons that we do not.
fn reason_of(condition: &Condition) -> Reason {
    let known = Reason::ALL.iter().find(|reason| reason.as_str() == condition.reason);
    known.copied().unwrap_or(Reason::Progressing)
}

fn reconciling(ready: &Finding) -> Option<Finding> {
    (ready.status == ConditionStatus::Unknown)
        .then(|| finding(ConditionType::Reconciling, ConditionStatus::True, Reason::Progressing, &ready.message))
}

/// Only what no retry can mend.
fn stalled(ready: &Finding) -> Option<Finding> {
    let hopeless = matches!(
        ready.reason,
        Reason::InvalidSpec
            | Reason::ChannelConflict
            | Reason::ChildConflict
            | Reason::UnsupportedArtifact
            | Reason::VerificationFailed
    );
    (ready.status == ConditionStatus::False && hopeless)
        .then(|| finding(ConditionType::Stalled, ConditionStatus::True, ready.reason, &ready.message))
}

fn finding(about: ConditionType, status: ConditionStatus, reason: Reason, message: &str) -> Finding {
    Finding { about, status, reason, message: message.to_owned() }
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
