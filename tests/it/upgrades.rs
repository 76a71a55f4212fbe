//! A release of the chart becomes today's, with the values that were recorded with it: `tests/releases/VERSION`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    admission::least,
    lab::{Administrator, ControlPlane, chart, repository},
};

/// What everything is installed as.
const NAMESPACE: &str = "wasmproxy-system";

/// A chart as it was published.
struct Release {
    chart: PathBuf,
    /// Files that it was installed with, besides none.
    values: Vec<PathBuf>,
}

fn releases() -> Vec<Release> {
    let folders = fs::read_dir(repository().join("tests/releases")).unwrap().map(|entry| entry.unwrap().path());
    let release = |folder: PathBuf| {
        let values = fs::read_dir(folder.join("values")).unwrap().map(|entry| entry.unwrap().path());
        Release { chart: folder.join("chart"), values: values.collect() }
    };
    let releases: Vec<_> = folders.filter(|path| path.join("chart").exists()).map(release).collect();
    assert!(!releases.is_empty());
    releases
}

/// A cluster that has never seen us.
struct Cluster {
    _plane: ControlPlane,
    administrator: Administrator,
}

impl Cluster {
    async fn start() -> Self {
        let plane = ControlPlane::bare().await;
        let administrator = Administrator::of(&plane);
        for namespace in [NAMESPACE, "edge", "plant"] {
            administrator.kubectl(&["create", "namespace", namespace]).await;
        }
        Self { _plane: plane, administrator }
    }

    /// `helm VERB wasmproxy ARGUMENT...`
    async fn helm(&self, verb: &str, arguments: &[&str]) {
        let mut whole = vec![verb, "wasmproxy", "--namespace", NAMESPACE];
        whole.extend(arguments);
        self.administrator.helm(&whole).await;
    }

    /// Makes a resource, whose UID this returns.
    async fn resource(&self) -> String {
        let resource = self.administrator.file("resource.json", &least().to_string());
        self.administrator.kubectl(&["wait", "--for=condition=Established", "crd/wasmproxies.wasmproxy.io"]).await;
        self.administrator.kubectl(&["create", "--namespace", "edge", "--filename", resource.to_str().unwrap()]).await;
        self.uid().await
    }

    async fn uid(&self) -> String {
        let path = "jsonpath={.items[*].metadata.uid}";
        self.administrator.kubectl(&["get", "wasmproxies", "--namespace", "edge", "--output", path]).await
    }
}

async fn upgrade(cluster: &Cluster, old: &Path, values: &[&str]) {
    let [old, new] = [old, &chart()].map(|chart| chart.to_str().unwrap().to_owned());
    cluster.helm("install", &[&[old.as_str()], values].concat()).await;
    let resource = cluster.resource().await;
    cluster.helm("upgrade", &[&[new.as_str()], values].concat()).await;
    cluster.helm("rollback", &["1"]).await;
    // New values are not there in what is kept, nor are the new chart's defaults.
    cluster.helm("upgrade", &[&new, "--reuse-values"]).await;
    cluster.helm("rollback", &["1"]).await;
    cluster.helm("upgrade", &[&new, "--reset-then-reuse-values"]).await;
    assert_eq!(cluster.uid().await, resource, "it was deleted on the way");
    cluster.administrator.kubectl(&["delete", "wasmproxies", "--namespace", "edge", "--all"]).await;
    cluster.helm("uninstall", &[]).await;
}

#[tokio::test]
async fn every_release_is_upgraded_and_rolled_back_with_its_defaults_and_with_its_values() {
    let cluster = Cluster::start().await;
    for release in releases() {
        assert!(release.values.len() > 2);
        upgrade(&cluster, &release.chart, &[]).await;
        for values in &release.values {
            upgrade(&cluster, &release.chart, &["--values", values.to_str().unwrap()]).await;
        }
    }
}
