//! What a worker is to be told: out of its resource, the mounted Secrets, and what it was told before. Pure.

use super::secrets::Secrets;
use crate::{
    api::{
        Management, WasmProxy, WasmProxySpec,
        conditions::{ConditionStatus, ConditionType, Finding, Reason},
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
    let management = management(resource);
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

/// Who runs the worker of `resource`.
pub fn management(resource: &WasmProxy) -> Management {
    resource.spec.worker.as_ref().map(|worker| worker.management).unwrap_or_default()
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
