//! Resources to test with.

use std::time::SystemTime;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use crate::{
    api::{
        WasmProxy,
        conditions::{ConditionStatus, ConditionType, Finding, Reason},
    },
    resource::api_server::ApiError,
    worker::{ArtifactProgress, Phase, Source},
};

/// A resource of generation 3 with these fields of its spec beside, or in the place of, the required ones.
pub fn resource(spec: &Value) -> WasmProxy {
    let mut whole = json!({
        "channel": {"id": "floor-1"},
        "broker": {"url": "mqtt://broker.example"},
        "registry": {"host": "registry.example"},
    });
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    serde_json::from_value(json!({
        "apiVersion": "wasmproxy.io/v1alpha1",
        "kind": "WasmProxy",
        "metadata": {"name": "factory-floor", "namespace": "edge", "uid": "11f0", "generation": 3},
        "spec": whole,
    }))
    .unwrap()
}

/// A condition of generation 3.
pub fn condition(about: ConditionType, status: ConditionStatus, reason: Reason) -> Condition {
    let message = format!("{about} is {reason}");
    Finding { about, status, reason, message }.into_condition(3, &[], &at(0))
}

/// A point in time.
pub fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

/// A declared artifact that is as far as `phase`.
pub fn artifact(phase: Phase) -> ArtifactProgress {
    let completed = (phase == Phase::Published).then_some(SystemTime::UNIX_EPOCH);
    ArtifactProgress { phase, completed, ..ArtifactProgress::new("wasm/add:1.2", Source::Declared) }
}

/// What the API server has answered, and why that is no success.
pub fn refused(status: &Value) -> ApiError {
    kube::Error::Api(serde_json::from_value(status.clone()).unwrap()).into()
}
