//! Names and labels, of one release and of several.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{attempt, command_line, identity, of_kind, render, text, values};
use crate::lab::{chart, helm, template};

/// Those that Kubernetes lets be as long as 253 characters.
const LONG: [&str; 5] = [
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
];

#[tokio::test]
async fn whatever_the_release_and_the_namespace_are_called_no_name_is_too_long() {
    // The longest that Helm and Kubernetes allow.
    let (release, namespace) = ("r".repeat(53), "n".repeat(63));
    for more in [values("everything"), values("in-process")] {
        let arguments = [
            "--name-template",
            &release,
            "--namespace",
            &namespace,
            &more,
            "--set=fullnameOverride=,extraObjects=null",
        ];
        let chart = chart();
        let rendered = helm(&[&["template", chart.to_str().unwrap()], &arguments[..]].concat()).await;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered.unwrap()).unwrap();
        for object in &objects {
            let longest = if LONG.contains(&text(object, "/kind")) { 253 } else { 63 };
            assert!(text(object, "/metadata/name").len() <= longest, "{}", identity(object));
            let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
            for (key, value) in labels {
                assert!(value.as_str().unwrap().len() <= 63, "{key} of {}", identity(object));
            }
        }
    }
}

#[tokio::test]
async fn the_release_is_in_the_name_and_the_chart_where_that_is_not_in_it() {
    let name = |objects: &[Value]| text(of_kind(objects, "Deployment")[0], "/metadata/name").to_owned();
    for (release, expected) in
        [("wasmproxy", "wasmproxy"), ("edge", "edge-wasmproxy"), ("my-wasmproxy-2", "my-wasmproxy-2")]
    {
        assert_eq!(name(&release_of(release, "edge", &[]).await), expected);
    }
    assert_eq!(name(&render(&["--set=nameOverride=edge"]).await), "wasmproxy-edge");
    assert_eq!(name(&render(&["--set=fullnameOverride=mine"]).await), "mine");
}

/// What the chart renders for a release of that name in that namespace.
async fn release_of(release: &str, namespace: &str, arguments: &[&str]) -> Vec<Value> {
    let rendered = template(&chart(), release, &[&["--namespace", namespace], arguments].concat()).await;
    serde_saphyr::from_multiple(&rendered).unwrap()
}

#[tokio::test]
async fn two_releases_in_one_cluster_share_nothing() {
    let identities = |objects: &[Value]| objects.iter().map(identity).collect::<BTreeSet<_>>();
    let lease = |objects: &[Value]| {
        let arguments = command_line(objects);
        arguments.iter().find(|argument| argument.starts_with("--leader-election-name=")).unwrap().to_string()
    };
    let second = ["--set=crds.enabled=false", "--set=namespaces={plant,b}"];
    let first = release_of("wasmproxy", "a", &["--set=namespaces={edge,a}"]).await;
    let beside = release_of("other", "a", &second).await;
    assert_eq!(identities(&first).intersection(&identities(&beside)).next(), None);
    assert_ne!(lease(&first), lease(&beside));
    // Nor do those that are called the same.
    let namesake = release_of("wasmproxy", "b", &second).await;
    assert_eq!(identities(&first).intersection(&identities(&namesake)).next(), None);
}

#[tokio::test]
async fn labels_of_ones_own_are_everywhere_but_where_they_could_never_change() {
    let objects = render(&[&values("everything")]).await;
    for object in objects.iter().filter(|object| text(object, "/kind") != "ConfigMap") {
        assert_eq!(text(object, "/metadata/labels/example.com~1common"), "everything", "{}", identity(object));
        assert_eq!(text(object, "/metadata/annotations/example.com~1common"), "everything", "{}", identity(object));
    }
    let deployment = of_kind(&objects, "Deployment")[0];
    let pod = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&pod["example.com/common"], &pod["example.com/pod"]), (&"everything".into(), &"everything".into()));
    let selected = deployment["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let keys: Vec<_> = selected.keys().map(|key| key.rsplit_once('/').unwrap().1).collect();
    assert_eq!(keys, ["component", "instance", "name"]);
    for (key, value) in selected {
        assert_eq!(&pod[key], value);
    }
}

#[tokio::test]
async fn labels_of_ones_own_do_not_displace_those_that_select() {
    let label = |object: &str| format!("--set={object}.app\\.kubernetes\\.io/name=mine");
    let objects = attempt(&[&label("commonLabels"), &label("podLabels")]).await.unwrap();
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pod["app.kubernetes.io/name"], "wasmproxy");
}
