//! The examples work: those that are shipped, those in documents, and those of earlier releases.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::{
    admission::{least, merge},
    lab::{ControlPlane, repository},
};

/// The files of a folder of the repository that say this somewhere.
fn files_in(folder: &Path, words: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let paths: Vec<_> = paths.filter(|path| fs::read_to_string(path).unwrap().contains(words)).collect();
    assert!(!paths.is_empty(), "{}", folder.display());
    paths
}

/// Those that hold a resource.
fn resources_in(folder: &Path) -> Vec<PathBuf> {
    files_in(folder, "kind: WasmProxy")
}

/// The folder of each release.
fn releases() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("tests/releases")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Every object of a file of several.
pub fn objects(yaml: &str) -> Vec<Value> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    objects
}

/// Fails where the API server would not take the object as it is.
async fn offer(client: &Client, object: Value) {
    if let Err(error) = attempt(client, object.clone()).await {
        panic!("{error}\n{object:#}");
    }
}

/// Offers the object to the API server, which is strict about fields that it does not know, and keeps nothing.
async fn attempt(client: &Client, mut object: Value) -> kube::Result<DynamicObject> {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    let (group, version) = match text("apiVersion").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text("apiVersion")),
    };
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(&group, &version, &text("kind")));
    // Namespaces of examples are not there.
    let api: Api<DynamicObject> = match text("kind").as_str() {
        "Namespace" | "ClusterRole" | "ClusterRoleBinding" => Api::all_with(client.clone(), &kind),
        _ => Api::default_namespaced_with(client.clone(), &kind),
    };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
        metadata.remove("generation");
    }
    object.as_object_mut().unwrap().remove("status");
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    let parameters = PatchParams::apply("user").force().dry_run().validation(ValidationDirective::Strict);
    api.patch(&name, &parameters, &Patch::Apply(&object)).await
}

#[tokio::test]
async fn the_api_server_takes_every_example() {
    let client = ControlPlane::shared().await.client().await;
    for path in files_in(&repository().join("examples"), "apiVersion: ") {
        for object in objects(&fs::read_to_string(path).unwrap()) {
            offer(&client, object).await;
        }
    }
}

/// So that what a newcomer applies is what the documents speak of.
#[test]
fn examples_run_the_image_of_this_version() {
    let name = "ghcr.io/wasmproxy/wasmproxy:";
    for path in files_in(&repository().join("examples"), name) {
        for tag in fs::read_to_string(&path).unwrap().split(name).skip(1) {
            let tag = tag.split(|letter: char| letter.is_whitespace()).next();
            assert_eq!(tag, Some(env!("CARGO_PKG_VERSION")), "{}", path.display());
        }
    }
}

/// The blocks of a document that are fenced with this after the backticks.
pub fn blocks(document: &str, info: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join("docs").join(document)).unwrap();
    let fence = format!("```{info}\n");
    let blocks = text.split(&fence).skip(1);
    blocks.map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_api_server_takes_every_manifest_in_a_document() {
    let client = ControlPlane::shared().await.client().await;
    let manifests = ["reference.md", "operations.md"].map(|document| blocks(document, "yaml")).concat();
    assert!(!manifests.is_empty());
    // Values of the chart and configurations of others are no manifests.
    for object in manifests.iter().flat_map(|manifest| objects(manifest)).filter(|object| object["kind"].is_string()) {
        offer(&client, object).await;
    }
}

/// Each `yaml spec` is a part of a spec, beside the least that there has to be.
#[tokio::test]
async fn the_api_server_takes_every_part_of_a_spec_in_the_reference() {
    let client = ControlPlane::shared().await.client().await;
    let parts = blocks("reference.md", "yaml spec");
    assert!(parts.len() > 5, "{} parts", parts.len());
    for part in parts {
        let mut resource = least();
        merge(&mut resource, serde_saphyr::from_str(&part).unwrap());
        offer(&client, resource).await;
    }
}

/// Once it is supported this fails, and the example is to be a `yaml spec`.
#[tokio::test]
async fn what_the_reference_calls_not_supported_yet_is_refused_as_such() {
    let client = ControlPlane::shared().await.client().await;
    let parts = blocks("reference.md", "yaml not supported yet");
    assert!(!parts.is_empty());
    for part in parts {
        let mut resource = least();
        merge(&mut resource, serde_saphyr::from_str(&part).unwrap());
        let refused = attempt(&client, resource).await.expect_err(&part).to_string();
        assert!(refused.contains("not supported yet"), "{refused}\n{part}");
    }
}

#[tokio::test]
async fn the_api_server_takes_every_example_of_earlier_releases() {
    let client = ControlPlane::shared().await.client().await;
    for release in releases() {
        for folder in ["examples", "resources"] {
            for path in resources_in(&release.join(folder)) {
                for object in objects(&fs::read_to_string(path).unwrap()) {
                    offer(&client, object).await;
                }
            }
        }
    }
}

/// As where a controller is upgraded before its workers.
#[tokio::test]
async fn the_api_server_takes_what_workers_of_earlier_releases_say() {
    let client = ControlPlane::shared().await.client().await;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("wasmproxy.io", "v1alpha1", "WasmProxy"));
    let namespace = ControlPlane::shared().await.namespace("releases").await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &kind);
    let created = api.create(&PostParams::default(), &serde_json::from_value(least()).unwrap()).await.unwrap();
    let parameters = PatchParams::apply("worker").force().dry_run().validation(ValidationDirective::Strict);
    for path in releases().iter().flat_map(|release| resources_in(&release.join("resources"))) {
        let status = objects(&fs::read_to_string(&path).unwrap())[0]["status"].clone();
        let part = json!({"apiVersion": "wasmproxy.io/v1alpha1", "kind": "WasmProxy", "status": status});
        let said = api.patch_status(&created.name_any(), &parameters, &Patch::Apply(&part)).await;
        let kept = said.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(kept.data["status"], status, "{}", path.display());
    }
}
