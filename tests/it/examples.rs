//! The examples work.

use std::{fs, path::PathBuf};

use kube::{
    Api,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

use crate::lab::{ControlPlane, repository};

#[tokio::test]
async fn the_api_server_takes_every_example_of_a_resource() {
    let is_resource = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("kind: WasmProxy");
    let examples = fs::read_dir(repository().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<_> = examples.filter(is_resource).collect();

    let control_plane = ControlPlane::start_with(&examples).await;

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("wasmproxy.io", "v1alpha1", "WasmProxy"));
    let resources: Api<DynamicObject> = Api::all_with(control_plane.client().await, &kind);
    assert_eq!(resources.list(&Default::default()).await.unwrap().items.len(), examples.len());
}
