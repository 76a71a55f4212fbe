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
const DEFINITION: &str = "crd/wasmproxies.wasmproxy.io";

/// What is in a folder of the repository.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
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

    /// Whether it knows the resource.
    async fn is_defined(&self) -> bool {
        !self.administrator.kubectl(&["get", "--ignore-not-found", DEFINITION]).await.is_empty()
    }

    /// Makes a resource, whose UID this returns.
    async fn resource(&self) -> String {
        let resource = self.administrator.file("resource.json", &least().to_string());
        self.administrator.kubectl(&["wait", "--for=condition=Established", DEFINITION]).await;
        self.administrator.kubectl(&["create", "--namespace", "edge", "--filename", resource.to_str().unwrap()]).await;
        self.uid().await
    }

    async fn uid(&self) -> String {
        let path = "jsonpath={.items[*].metadata.uid}";
        self.administrator.kubectl(&["get", "wasmproxies", "--namespace", "edge", "--output", path]).await
    }
}

/// Installs a release of the chart, makes it today's in each of the ways that there are, and takes it away.
async fn upgrade(cluster: &Cluster, release: &Path, values: &[&str]) {
    let [old, new] = [release.join("chart"), chart()].map(|chart| chart.to_str().unwrap().to_owned());
    cluster.helm("install", &[&[old.as_str()], values].concat()).await;
    if !cluster.is_defined().await {
        let definition = release.join("crd.yaml");
        cluster.administrator.kubectl(&["create", "--filename", definition.to_str().unwrap()]).await;
    }
    let resource = cluster.resource().await;
    cluster.helm("upgrade", &[&[new.as_str()], values].concat()).await;
    cluster.helm("rollback", &["1"]).await;
    // What is kept are the values of then, its defaults among them: those that are new are not there at all.
    cluster.helm("upgrade", &[&new, "--reuse-values"]).await;
    cluster.helm("rollback", &["1"]).await;
    cluster.helm("upgrade", &[&new, "--reset-then-reuse-values"]).await;
    assert_eq!(cluster.uid().await, resource, "it was deleted on the way");
    cluster.helm("uninstall", &[]).await;
    cluster.administrator.kubectl(&["delete", "--ignore-not-found", DEFINITION]).await;
}

#[tokio::test]
async fn every_release_is_upgraded_and_rolled_back_with_its_defaults_and_with_its_values() {
    let cluster = Cluster::start().await;
    let releases = entries(&repository().join("tests/releases"));
    let releases: Vec<_> = releases.iter().filter(|release| release.join("chart").exists()).collect();
    assert!(!releases.is_empty());
    for release in releases {
        upgrade(&cluster, release, &[]).await;
        let values = entries(&release.join("values"));
        assert!(!values.is_empty());
        for file in values {
            upgrade(&cluster, release, &["--values", file.to_str().unwrap()]).await;
        }
    }
}
