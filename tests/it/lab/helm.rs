//! Charts, as Helm makes manifests of them.

use std::path::{Path, PathBuf};

use super::{repository, tool};

/// The chart as it is now.
pub fn chart() -> PathBuf {
    repository().join("charts/wasmproxy")
}

/// The manifests of a release, with further arguments of `helm template`.
pub async fn template(chart: &Path, release: &str, arguments: &[&str]) -> String {
    let mut whole = vec!["template", release, chart.to_str().unwrap(), "--namespace", "wasmproxy-system"];
    whole.extend(arguments);
    tool("helm", Path::new("."), &whole).await
}
