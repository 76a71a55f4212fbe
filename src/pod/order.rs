//! What a worker is to be told: out of its resource, the mounted Secrets, and what it was told before. Pure.

use super::secrets::Secrets;
use crate::{
    api::{
        Management, WasmProxy, WasmProxySpec,
        conditions::{ConditionStatus, ConditionType, Finding, Reason, find},
    },
    resource::{
        credentials::Credentials,
        findings::without_worker,
        obstacles::Obstacles,
        translate::{InvalidSpec, worker_config},
    },
    worker::WorkerConfig,
};

/// What a worker was told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Where it comes from.
    pub spec: WasmProxySpec,
    /// With these.
    pub credentials: Credentials,
    /// Which is this.
    pub config: WorkerConfig,
}

impl Told {
    /// What is new about `now`, for the log.
    pub fn news(&self, now: &Self) -> &'static str {
        let but_asked = WorkerConfig { requested: self.config.requested.clone(), ..now.config.clone() };
        if now.spec != self.spec {
            "worker gets a new configuration"
        } else if but_asked == self.config {
            "everything is looked at anew and streamed again, as requested"
        } else {
            "worker gets new credentials"
        }
    }
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub struct Order {
    /// What the worker is to do.
    pub work: Work,
    /// What is to be said besides.
    pub obstacles: Obstacles,
}

/// What the worker is to do.
#[derive(Debug, PartialEq)]
pub enum Work {
    /// This.
    Do(Box<Told>),
    /// Whatever it was told before.
    GoOn,
    /// Nothing, and to have no connection. What it would do is said where that is known; it holds no credentials.
    Wait(Option<Box<WorkerConfig>>),
}

/// What the worker of `resource` is to do. `before` is what it does, if anything.
pub fn order(resource: &WasmProxy, secrets: Secrets, before: Option<&Told>) -> Order {
    let spec = &resource.spec;
    let management = spec.management();
    let (credentials, mut short) = secrets.or_else_of(spec, before.map(|told| (&told.spec, &told.credentials)));
    let (work, findings) = match (worker_config(resource, credentials.clone().unwrap_or_default()), credentials) {
        (Ok(config), Some(credentials)) => {
            let told = Told { spec: spec.clone(), credentials, config };
            (Work::Do(Box::new(told)), short.findings(management, true))
        }
        (Ok(config), None) => (Work::Wait(Some(Box::new(config))), short.findings(management, false)),
        (Err(error), _) if before.is_some() => (Work::GoOn, vec![invalid_spec(&error)]),
        (Err(error), _) => (Work::Wait(None), vec![invalid_spec(&error)]),
    };
    let findings = match &work {
        Work::Do(_) | Work::GoOn => findings,
        Work::Wait(known) => with_the_rest(findings, known.is_some()),
    };
    Order { work, obstacles: Obstacles { generation: resource.metadata.generation.unwrap_or_default(), findings } }
}

/// What the resource wants of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// A worker.
    Work,
    /// None, for the time being, and nobody else's either. Why.
    Pause(&'static str),
    /// Somebody else's worker, which goes on where this one stops.
    HandOver,
}

/// What `resource` wants of a process that somebody runs whose business that is with this management; anybody, where nobody
/// knows.
///
/// Who comes next gets the rights of the one before, who then hears no more of the resource; and the two would take the
/// broker's session from each other. So each goes by itself as soon as it sees that it is not meant any more.
pub fn duty(resource: &WasmProxy, run_by: Option<Management>) -> Duty {
    if run_by.is_some_and(|run_by| run_by != resource.spec.management()) {
        Duty::HandOver
    } else if resource.spec.suspend {
        Duty::Pause("its resource is suspended")
    } else if has_rival(resource) {
        Duty::Pause("an older resource has its channel")
    } else {
        Duty::Work
    }
}

/// Whether the controller says that another resource has the channel. It says so until it knows better.
pub fn has_rival(resource: &WasmProxy) -> bool {
    let conditions = resource.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    find(conditions, ConditionType::Stalled).is_some_and(|stalled| {
        stalled.status == ConditionStatus::True.as_str() && stalled.reason == Reason::ChannelConflict.as_str()
    })
}

/// The conditions of a worker that waits. Of its artifacts there is something to say where they are known.
fn with_the_rest(mut findings: Vec<Finding>, artifacts_known: bool) -> Vec<Finding> {
    let mut said: Vec<_> = findings.iter().map(|finding| finding.about).collect();
    said.extend(artifacts_known.then_some(ConditionType::ArtifactsPublished));
    let rest = without_worker("the worker waits, see the other conditions");
    let rest = rest.into_iter().filter(|finding| !said.contains(&finding.about));
    findings.extend(rest);
    findings
}

fn invalid_spec(error: &InvalidSpec) -> Finding {
    let about = match error {
        InvalidSpec::Channel(_) | InvalidSpec::BrokerUrl(_) | InvalidSpec::Qos(_) => ConditionType::BrokerConnected,
        InvalidSpec::Reference { .. }
        | InvalidSpec::Twice { .. }
        | InvalidSpec::Interval(_)
        | InvalidSpec::Allow(_)
        | InvalidSpec::ChunkSize(_)
        | InvalidSpec::CacheSize(_)
        | InvalidSpec::Pace(_)
        | InvalidSpec::ModuleSize(_) => ConditionType::ArtifactsPublished,
    };
    Finding { about, status: ConditionStatus::False, reason: Reason::InvalidSpec, message: error.to_string() }
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
