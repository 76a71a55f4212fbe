//! What machines apply over and over: `deploy/`, the chart, and the manifests in `docs/gitops.md`.

use std::fs;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::Value;
use wasmproxy::controller::{WorkerMode, rights};

use crate::{
    chart::of_kind,
    examples::{blocks, objects},
    lab::{Administrator, ControlPlane, chart, repository, template},
};

fn manifest() -> String {
    repository().join("deploy/install.yaml").display().to_string()
}

/// The one block of its kind.
fn documented(info: &str) -> String {
    let mut blocks = blocks("gitops.md", info);
    assert_eq!(blocks.len(), 1, "{info}");
    blocks.remove(0)
}

/// Applies the manifest to a cluster that has never seen it, and once more, lets a release take it over, and deletes it.
async fn apply_and_delete(options: &[&str]) {
    let plane = ControlPlane::bare().await;
    let administrator = Administrator::of(&plane);
    let manifest = manifest();
    let whole = |verb| [&[verb, "--filename", &manifest], options].concat();
    administrator.kubectl(&whole("apply")).await;
    administrator.kubectl(&whole("apply")).await;
    // Fails where there is a difference.
    administrator.kubectl(&whole("diff")).await;
    let chart = chart().display().to_string();
    administrator.helm(&["install", "wasmproxy", &chart, "--namespace=wasmproxy-system", "--take-ownership"]).await;
    administrator.kubectl(&["delete", "--wait=false", "--filename", &manifest]).await;
}

#[tokio::test]
async fn the_manifest_is_taken_once_and_again_and_no_difference_is_left() {
    apply_and_delete(&[]).await;
}

#[tokio::test]
async fn the_manifest_is_taken_by_server_side_apply_once_and_again_and_no_difference_is_left() {
    apply_and_delete(&["--server-side"]).await;
}

#[tokio::test]
async fn no_difference_is_left_of_any_values_that_the_chart_is_tried_with() {
    let plane = ControlPlane::bare().await;
    let administrator = Administrator::of(&plane);
    for namespace in ["wasmproxy-system", "edge", "plant"] {
        administrator.kubectl(&["create", "namespace", namespace]).await;
    }
    let files = fs::read_dir(chart().join("ci")).unwrap().map(|entry| entry.unwrap().path());
    for values in files {
        let arguments = ["--skip-tests", "--values", values.to_str().unwrap()];
        let rendered = template(&chart(), "wasmproxy", &arguments).await;
        assert_eq!(rendered, template(&chart(), "wasmproxy", &arguments).await);
        let file = administrator.file("rendered.yaml", &rendered);
        let file = file.to_str().unwrap();
        administrator.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename", file]).await;
        administrator.kubectl(&["diff", "--server-side", "--filename", file]).await;
    }
}

#[test]
fn nothing_in_the_manifest_is_of_helm() {
    let text = fs::read_to_string(manifest()).unwrap();
    assert!(!text.to_lowercase().contains("helm"));
    let objects = objects(&text);
    assert_eq!(objects[0]["kind"], "Namespace");
    let level = &objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(level, "restricted");
}

#[tokio::test]
async fn the_overlay_that_is_documented_is_built_and_taken() {
    let plane = ControlPlane::bare().await;
    let administrator = Administrator::of(&plane);
    let published = "https://github.com/wasmproxy/wasmproxy/deploy?ref=v";
    let published = format!("{published}{}", env!("CARGO_PKG_VERSION"));
    let overlay = documented("yaml kustomization");
    assert!(overlay.contains(&published), "{overlay}");
    // Kustomize looks at nothing above the folder, unless that is a base.
    let base = administrator.folder("base");
    for file in ["install.yaml", "kustomization.yaml"] {
        fs::copy(repository().join("deploy").join(file), base.join(file)).unwrap();
    }
    let folder = administrator.folder("overlay");
    fs::write(folder.join("kustomization.yaml"), overlay.replace(&published, "../base")).unwrap();
    let built = administrator.kubectl(&["kustomize", folder.to_str().unwrap()]).await;

    let objects = objects(&built);
    let namespaced = objects.iter().filter_map(|object| object["metadata"]["namespace"].as_str());
    let subjects = objects.iter().flat_map(|object| object["subjects"].as_array().into_iter().flatten());
    let subjects: Vec<_> = subjects.map(|subject| subject["namespace"].as_str().unwrap()).collect();
    assert_eq!(subjects.len(), 2);
    assert!(namespaced.chain(subjects).all(|namespace| namespace == "edge-system"), "{built}");
    assert_eq!(of_kind(&objects, "Namespace")[0]["metadata"]["name"], "edge-system");
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    assert_eq!(deployment["replicas"], 3);
    let controller = &deployment["template"]["spec"]["containers"][0];
    let image = format!("registry.example/mirror/wasmproxy:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(controller["image"], image);
    assert!(controller["args"].as_array().unwrap().iter().any(|argument| argument == "--workers=in-process"));

    let granted: Vec<PolicyRule> = of_kind(&objects, "ClusterRole")
        .into_iter()
        .filter(|role| role["metadata"]["name"] == "wasmproxy-wasmproxy-system")
        .flat_map(|role| serde_json::from_value::<ClusterRole>(role.clone()).unwrap().rules.unwrap())
        .collect();
    for rule in rights::of_resources(&WorkerMode::InProcess) {
        assert!(granted.iter().any(|granted| covers(granted, &rule)), "{rule:?}");
    }
    administrator.kubectl(&["apply", "--kustomize", folder.to_str().unwrap()]).await;
}

/// Whether the one rule allows at least what the other does.
fn covers(granted: &PolicyRule, wanted: &PolicyRule) -> bool {
    let all = |granted: &Option<Vec<String>>, wanted: &Option<Vec<String>>| {
        wanted.iter().flatten().all(|item| granted.iter().flatten().any(|granted| granted == item))
    };
    all(&granted.api_groups, &wanted.api_groups)
        && all(&granted.resources, &wanted.resources)
        && wanted.verbs.iter().all(|verb| granted.verbs.contains(verb))
}

#[tokio::test]
async fn the_values_that_are_documented_for_argo_cd_and_flux_are_values_of_this_chart() {
    let application = objects(&documented("yaml argo-cd")).remove(0);
    let source = &application["spec"]["source"];
    assert_eq!((&source["chart"], &source["targetRevision"]), (&"wasmproxy".into(), &env!("CARGO_PKG_VERSION").into()));
    let flux = objects(&documented("yaml flux"));
    let release = of_kind(&flux, "HelmRelease")[0];
    assert_eq!(release["spec"]["chartRef"]["name"], of_kind(&flux, "OCIRepository")[0]["metadata"]["name"]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("values.json");
    for values in [&source["helm"]["valuesObject"], &release["spec"]["values"]] {
        assert!(values.is_object());
        fs::write(&file, values.to_string()).unwrap();
        let manifest = template(&chart(), "wasmproxy", &["--values", file.to_str().unwrap()]).await;
        assert!(manifest.contains("kind: ValidatingAdmissionPolicy\n"));
    }
}

#[tokio::test]
async fn the_command_for_argo_cd_adds_its_key_and_leaves_others_alone() {
    let administrator = Administrator::of(ControlPlane::shared().await);
    administrator.kubectl(&["create", "namespace", "argocd"]).await;
    administrator.kubectl(&["create", "configmap", "argocd-cm", "-n", "argocd", "--from-literal=url=https://cd"]).await;
    let commands = blocks("gitops.md", "sh");
    let command = commands.iter().find(|command| command.contains("argocd-cm")).unwrap();
    administrator.shell(command).await;
    let stored = administrator.kubectl(&["get", "configmap", "argocd-cm", "-n", "argocd", "-o", "json"]).await;
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored["data"]["url"], "https://cd");
    let script = fs::read_to_string(chart().join("files/argocd/health.lua")).unwrap();
    assert_eq!(stored["data"]["resource.customizations.health.wasmproxy.io_WasmProxy"], script);
}
