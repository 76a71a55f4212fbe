//! What is running.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::family::{Family, Kind};

/// Always 1: what counts is in the labels.
pub const BUILD: Family =
    Family { name: "build", help: "What is running.", unit: None, kind: Kind::Info, labels: &["version", "revision"] };

/// The commit that it was built from, where whoever built it has said so: an image is not built where its history is.
const REVISION: Option<&str> = option_env!("WASMPROXY_REVISION");

/// Says what is running.
#[derive(Debug, Clone, Copy)]
pub struct Build;

impl Collector for Build {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let values = [env!("CARGO_PKG_VERSION"), REVISION.unwrap_or_default()];
        BUILD.samples(&mut encoder)?.put(&values, 1)
    }
}
