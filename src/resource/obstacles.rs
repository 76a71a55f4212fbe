//! What keeps a worker from its work and is known outside of it only: a Secret that is not there, a spec that cannot be used.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::{WasmProxyStatus, conditions::Finding};

/// Findings that are said in the place of those that a worker's progress means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// The generation of the resource that they are about; a worker may still act on an earlier one.
    pub generation: i64,
    /// At most one for each of the worker's conditions.
    pub findings: Vec<Finding>,
}

impl Obstacles {
    /// Puts them into a worker's part of the status. `before` are the conditions as they were.
    pub(super) fn say_in(self, part: &mut WasmProxyStatus, before: &[Condition], now: &Time) {
        let generation = self.generation;
        for finding in self.findings {
            let condition = finding.into_condition(generation, before, now);
            match part.conditions.iter_mut().find(|said| said.type_ == condition.type_) {
                Some(said) => *said = condition,
                None => part.conditions.push(condition),
            }
        }
    }
}
