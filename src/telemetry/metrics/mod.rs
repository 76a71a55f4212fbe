//! Metrics: what Prometheus reads at `/metrics`, in the text format of [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/).
//!
//! - [`family`]: what a metric is called, and how its samples are written;
//! - [`build`]: what is running;
//! - [`Exposition`]: everything that a process says, put together by whoever starts it.
//!
//! Which metrics there are is up to those they tell of, in a file `metrics` of theirs. Nothing is global: who counts is given what
//! it counts in. Most of it is read only when somebody asks: from a worker's progress, from the caches of the controller.
//!
//! Names follow Prometheus' rules: `wasmproxy_`, what it is, its base unit, `_total` where it is counted. Every process counts from
//! zero, also what its resource's status goes on counting: that may be a little behind after a crash, and a counter that went back
//! by one chunk would look like all of them sent again. The values of labels are from small sets of words, and besides
//! those the names of resources. No device and no reference is among them: their number is up to others.

pub mod build;
pub mod family;

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{collector::Collector, encoding::text::encode, registry::Registry};

use build::Build;

/// What the name of every metric begins with.
pub const PREFIX: &str = "wasmproxy";

/// The media type of what [`Exposition::router`] answers.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a process.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Default for Exposition {
    /// What is running, and nothing else yet.
    fn default() -> Self {
        Self(Registry::with_prefix(PREFIX)).with(Build)
    }
}

impl Exposition {
    /// The same and what `collector` says, which is asked anew each time.
    #[must_use]
    pub fn with(mut self, collector: impl Collector) -> Self {
        self.0.register_collector(Box::new(collector));
        self
    }

    /// `/metrics`, to be merged into the router of the [probes](super::probes).
    pub fn router(self) -> Router {
        let this = Arc::new(self);
        Router::new().route("/metrics", get(move || std::future::ready(this.answer())))
    }

    fn answer(&self) -> Response {
        match self.text() {
            Some(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }

    /// What is said now, as `OpenMetrics`; nothing where a collector cannot say what it has.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        encode(&mut text, &self.0).ok().map(|()| text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_at_least_what_is_running() {
        let text = Exposition::default().text().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        let begin =
            "# HELP wasmproxy_build What is running.\n# TYPE wasmproxy_build info\nwasmproxy_build_info{version=\"";
        assert!(text.starts_with(&format!("{begin}{version}\"")), "{text}");
        assert!(text.ends_with("} 1\n# EOF\n"), "{text}");
    }
}
