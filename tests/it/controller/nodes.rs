//! Workers in Pods on a node: processes, nodes and Secrets that come and go under a real Deployment.

mod credentials;
mod departures;
mod outages;
mod sidecars;
mod upgrades;

use serde_json::{Value, json};

use super::floor::{CHUNK, Floor, Mode, message, ready, says};
use crate::modules::module;

/// Names of the Pods of the resource `line` begin like that.
const PODS: &str = "line-wasmproxy-";

/// A floor with two modules, of three chunks and of two.
async fn floor() -> Floor {
    let floor = Floor::start(Mode::Pods).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    floor
}

/// Declares these.
fn artifacts(references: &[&str]) -> Value {
    let artifacts: Vec<_> = references.iter().map(|reference| json!({"reference": reference})).collect();
    json!({"artifacts": artifacts})
}
