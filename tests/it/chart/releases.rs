//! Releases that come and go, and the definition that outlives them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::PostParams,
    runtime::{conditions::is_deleted, wait::await_condition},
};
use wasmproxy::api::WasmProxy;

use crate::{
    admission::least,
    lab::{Administrator, ControlPlane, chart},
    waiting::soon,
};

const DEFINITION: &str = "wasmproxies.wasmproxy.io";

/// helm, at one cluster.
struct Helm(Administrator);

impl Helm {
    /// Installs a release of that name in a namespace of the same name; no Pod of it runs.
    async fn install(&self, release: &str, further: &[&str]) -> Result<String, String> {
        let chart = chart();
        let fixed = ["install", release, chart.to_str().unwrap(), "--namespace", release, "--create-namespace"];
        self.0.try_helm(&[&fixed[..], further].concat()).await
    }

    async fn upgrade(&self, release: &str, further: &[&str]) -> Result<String, String> {
        let chart = chart();
        let fixed = ["upgrade", release, chart.to_str().unwrap(), "--namespace", release];
        self.0.try_helm(&[&fixed[..], further].concat()).await
    }

    async fn uninstall(&self, release: &str) -> Result<String, String> {
        self.0.try_helm(&["uninstall", release, "--namespace", release]).await
    }
}

#[tokio::test]
async fn the_definition_outlives_its_release_and_the_next_one_takes_it_over_unless_it_is_not_to_be_kept() {
    let control_plane = ControlPlane::start().await;
    let helm = Helm(Administrator::of(&control_plane));
    let client = control_plane.client().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = definitions.get(DEFINITION).await.unwrap();
    let resources: Api<WasmProxy> = Api::default_namespaced(client);
    let resource = serde_json::from_value(least()).unwrap();
    let created = resources.create(&PostParams::default(), &resource).await.unwrap();
    let name = created.metadata.name.as_deref().unwrap();

    // Somebody has applied it: Helm does not take it without being told to.
    let refused = helm.install("first", &[]).await.unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm.install("first", &["--take-ownership", "--force-conflicts"]).await.unwrap_or_else(|error| panic!("{error}"));
    // Nor from a release that lives on, whatever it is told.
    for further in [&[][..], &["--take-ownership"]] {
        let refused = helm.install("second", further).await.unwrap_err();
        let sentence = "belongs to release first in namespace first, which runs.";
        assert!(refused.contains(sentence) && refused.contains("crds.enabled=false"), "{refused}");
    }

    let kept = helm.uninstall("first").await.unwrap();
    assert!(kept.contains(DEFINITION), "{kept}");
    let refused = helm.install("second", &[]).await.unwrap_err();
    assert!(refused.contains("invalid ownership metadata"), "{refused}");
    helm.install("second", &["--take-ownership"]).await.unwrap_or_else(|error| panic!("{error}"));
    let left = definitions.get(DEFINITION).await.unwrap();
    assert_eq!(left.metadata.uid, definition.metadata.uid);
    assert_eq!(resources.get(name).await.unwrap().metadata.uid, created.metadata.uid);

    helm.upgrade("second", &["--set=crds.keep=false"]).await.unwrap();
    helm.uninstall("second").await.unwrap();
    let uid = definition.metadata.uid.unwrap();
    soon("the end of the definition", await_condition(definitions, DEFINITION, is_deleted(&uid))).await.unwrap();
}
