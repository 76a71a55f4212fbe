//! What is said when a Secret is written that a `WasmProxy` names already.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::fence::{Fence, labelled, names, said, until};

/// Where the Secret is called `broker`.
async fn named() -> Fence {
    let fence = Fence::closed().await;
    fence.apply(json!({"metadata": {"name": "line"}, "spec": names("broker")})).await.unwrap();
    fence
}

async fn label(fence: &Fence, value: Option<&str>) -> kube::Result<()> {
    let patch = json!({"metadata": {"labels": {"wasmproxy.io/credentials": value}}});
    fence.secrets().patch("broker", &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

fn refused(answer: kube::Result<()>) -> String {
    match answer {
        Err(kube::Error::Api(status)) => said(&status),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn one_that_comes_later_needs_the_label_from_its_beginning() {
    let fence = named().await;
    let sentence = fence.until_secret_refused("broker").await;
    assert_eq!(
        sentence,
        "WasmProxy line (spec.broker.secretRef) sends what Secret broker holds to mqtt://broker.example and \
         registry.example. Where that is meant, create it with this in its metadata: labels: {wasmproxy.io/credentials: \
         \"true\"}; else suspend or delete that WasmProxy first"
    );
    let generated = json!({"metadata": {"name": null, "generateName": "broker-"}});
    for (name, patch) in [("other", json!({})), ("broker", labelled()), ("generated", generated)] {
        fence.try_secret(name, patch).await.unwrap_or_else(|status| panic!("{name}: {}", status.message));
    }
}

#[tokio::test]
async fn records_of_helm_are_kept_under_whatever_name() {
    let fence = named().await;
    fence.until_secret_refused("broker").await;
    fence.try_secret("broker", json!({"type": "helm.sh/release.v1"})).await.unwrap();
}

#[tokio::test]
async fn the_label_stays_while_it_is_named_by_one_that_is_not_suspended() {
    let fence = named().await;
    fence.until_secret_refused("broker").await;
    fence.secret("broker", labelled()).await.unwrap();
    for value in [None, Some("false")] {
        let sentence = refused(label(&fence, value).await);
        let end = "The Secret keeps the label wasmproxy.io/credentials=true until that WasmProxy is suspended, deleted, or names another";
        assert!(sentence.ends_with(end), "{sentence}");
    }
    let rotated = json!({"stringData": {"password": "new"}});
    fence.secrets().patch("broker", &PatchParams::default(), &Patch::Merge(&rotated)).await.unwrap();

    fence.change("line", json!({"spec": {"suspend": true}})).await.unwrap();
    until("the suspension to be known", async || label(&fence, None).await.ok()).await;
    let resumed = json!({"suspend": false, "broker": names("broker")["broker"]});
    fence.until_refused(json!({"metadata": {"name": "line"}, "spec": resumed})).await;
}

#[tokio::test]
async fn one_that_has_never_had_the_label_goes_on_being_rotated_and_is_deleted() {
    let fence = Fence::open().await;
    fence.secret("broker", json!({})).await.unwrap();
    fence.apply(json!({"metadata": {"name": "line"}, "spec": names("broker")})).await.unwrap();
    fence.close().await;
    // Both caches know what there is.
    fence.until_refused(json!({"metadata": {"name": "third"}, "spec": names("broker")})).await;
    fence.apply(json!({"metadata": {"name": "second"}, "spec": names("second")})).await.unwrap();
    fence.until_secret_refused("second").await;

    let rotated = json!({"stringData": {"password": "new"}});
    fence.secrets().patch("broker", &PatchParams::default(), &Patch::Merge(&rotated)).await.unwrap();
    label(&fence, Some("true")).await.unwrap();
    fence.secrets().delete("broker", &Default::default()).await.unwrap();
}
