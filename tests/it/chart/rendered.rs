//! What the chart renders.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use super::{command_line, container, identity, of_kind, render, text, values};
use crate::{
    lab::{chart, helm, repository},
    standalone::program,
};

#[tokio::test]
async fn by_default_there_is_what_everybody_needs_and_nothing_else() {
    let mut identities: Vec<_> = render(&[]).await.iter().map(identity).collect();
    identities.sort();
    assert_eq!(
        identities,
        [
            "ClusterRole /wasmproxy-wasmproxy-system",
            "ClusterRole /wasmproxy-wasmproxy-system-admin",
            "ClusterRole /wasmproxy-wasmproxy-system-edit",
            "ClusterRole /wasmproxy-wasmproxy-system-view",
            "ClusterRoleBinding /wasmproxy-wasmproxy-system",
            "CustomResourceDefinition /wasmproxies.wasmproxy.io",
            "Deployment wasmproxy-system/wasmproxy",
            "Lease wasmproxy-system/wasmproxy",
            "Pod wasmproxy-system/wasmproxy-test",
            "PodDisruptionBudget wasmproxy-system/wasmproxy",
            "Role wasmproxy-system/wasmproxy-self",
            "RoleBinding wasmproxy-system/wasmproxy-self",
            "Service wasmproxy-system/wasmproxy",
            "ServiceAccount wasmproxy-system/wasmproxy",
        ]
    );
}

#[tokio::test]
async fn the_definition_is_the_one_that_the_program_prints() {
    let file = repository().join("crds/wasmproxies.wasmproxy.io.yaml");
    let printed: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let kept = |object: &Value| object["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep";
    for (option, is_kept) in [("--set=crds.keep=true", true), ("--set=crds.keep=false", false)] {
        let objects = render(&[option]).await;
        let definition = of_kind(&objects, "CustomResourceDefinition")[0];
        assert_eq!((&definition["spec"], kept(definition)), (&printed["spec"], is_kept));
        assert_eq!(definition["metadata"]["name"], printed["metadata"]["name"]);
    }
}

#[test]
fn chart_and_program_have_one_version() {
    let chart: Value = serde_saphyr::from_str(&fs::read_to_string(chart().join("Chart.yaml")).unwrap()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!((&chart["version"], &chart["appVersion"]), (&version.into(), &version.into()));
    assert!(text(&chart, "/annotations/artifacthub.io~1images").contains(&format!("wasmproxy:{version}\n")));
}

#[tokio::test]
async fn the_image_is_named_by_its_digest_or_its_tag_or_the_charts_version() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let repository = "ghcr.io/wasmproxy/wasmproxy";
    for (values, expected) in [
        ("image.tag=".to_owned(), format!("{repository}:{}", env!("CARGO_PKG_VERSION"))),
        ("image.tag=edge".to_owned(), format!("{repository}:edge")),
        (format!("image.tag=edge,image.digest={digest}"), format!("{repository}@{digest}")),
    ] {
        let objects = render(&["--set", &values]).await;
        let probe = &of_kind(&objects, "Pod")[0]["spec"]["containers"][0];
        assert_eq!((&container(&objects)["image"], &probe["image"]), (&json!(expected), &json!(expected)));
    }
}

/// What the program says of a command line, with no cluster to talk to and a cache that it may make.
async fn said_of(arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let cache_dir = format!("--cache-dir={}", cache.path().display());
    let arguments: Vec<_> = arguments
        .iter()
        .map(|argument| if argument.starts_with("--cache-dir=") { cache_dir.as_str() } else { argument })
        .collect();
    let output = program(&arguments).output().await.unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_program_takes_every_command_line() {
    for values in super::kinds_of_values() {
        let objects = super::render_with(values.as_deref()).await;
        let said = said_of(&command_line(&objects)).await;
        // It has read all of it, and looks for its cluster.
        assert!(said.contains("no cluster is configured"), "{values:?}: {said}");
    }
    let said = said_of(&["controller", "--workers=pods", "--typo"]).await;
    assert!(said.contains("--typo"), "{said}");
}

#[tokio::test]
async fn values_become_options() {
    let options = |objects: &[Value]| -> BTreeMap<String, String> {
        let pairs = command_line(objects).into_iter().filter_map(|option| option.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let everything = options(&render(&[&values("everything")]).await);
    let expected = [
        ("--cache-dir", "/var/cache/wasmproxy"),
        ("--cache-size", "2Gi"),
        ("--http-host", "0.0.0.0"),
        ("--http-port", "8080"),
        ("--leader-election", "true"),
        ("--leader-election-lease-duration", "30s"),
        ("--leader-election-name", "everything"),
        ("--leader-election-renew-deadline", "12s"),
        ("--leader-election-retry-period", "4s"),
        ("--log-format", "json"),
        ("--log-level", "debug"),
        ("--workers", "in-process"),
    ];
    assert_eq!(everything, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let pods = render(&["--set=workers.image=old:1,workers.rollout=3", "--set=namespaces={edge,plant}"]).await;
    assert_eq!((&options(&pods)["--worker-image"][..], &options(&pods)["--worker-rollout"][..]), ("old:1", "3"));
    let arguments = command_line(&pods);
    assert!(arguments.contains(&"--namespace=edge") && arguments.contains(&"--namespace=plant"), "{arguments:?}");
}

#[tokio::test]
async fn a_cache_is_there_for_workers_in_the_process_and_has_room_to_spare() {
    let volumes = |objects: &[Value]| of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["volumes"].clone();
    assert_eq!(volumes(&render(&[]).await), Value::Null);
    let objects = render(&[&values("in-process")]).await;
    let room = json!([{"name": "cache", "emptyDir": {"sizeLimit": "640Mi"}}]);
    assert_eq!(volumes(&objects), room);
    assert_eq!(container(&objects)["volumeMounts"], json!([{"name": "cache", "mountPath": "/var/cache/wasmproxy"}]));
    let none = render(&[&values("in-process"), "--set=workers.cache.enabled=false"]).await;
    assert_eq!((volumes(&none), &container(&none)["volumeMounts"]), (Value::Null, &Value::Null));
}

#[tokio::test]
async fn no_two_controllers_run_where_nobody_says_which_of_them_leads() {
    let strategy = |objects: &[Value]| of_kind(objects, "Deployment")[0]["spec"]["strategy"].clone();
    assert_eq!(strategy(&render(&[]).await)["type"], "RollingUpdate");
    assert_eq!(strategy(&render(&[&values("in-process")]).await), json!({"type": "Recreate"}));
}

/// Whoever leads writes the rest of it, and whatever applies the chart must have no say in that.
#[tokio::test]
async fn the_lease_of_the_election_goes_with_the_release_and_has_nothing_in_it() {
    let objects = render(&["--set=leaderElection.name=mine"]).await;
    let lease = of_kind(&objects, "Lease")[0];
    assert_eq!((text(lease, "/metadata/name"), &lease["spec"]), ("mine", &Value::Null));
    for none in ["leaderElection.createLease=false", "leaderElection.enabled=false,replicas=1"] {
        assert_eq!(of_kind(&render(&["--set", none]).await, "Lease"), [&Value::Null; 0], "{none}");
    }
}

#[tokio::test]
async fn a_disruption_budget_is_there_for_several_replicas_only() {
    let budget = async |option: &str| {
        let objects = render(&[option]).await;
        of_kind(&objects, "PodDisruptionBudget").first().map(|budget| budget["spec"].clone())
    };
    assert_eq!(budget("--set=replicas=1").await, None);
    assert_eq!(budget("--set=podDisruptionBudget.enabled=false").await, None);
    assert_eq!(budget("--set=replicas=2").await.unwrap()["maxUnavailable"], 1);
    let least = budget("--set=podDisruptionBudget.minAvailable=0").await.unwrap();
    assert_eq!((&least["minAvailable"], &least["maxUnavailable"]), (&json!(0), &Value::Null));
}

/// What `helm install` says at its end.
async fn notes(arguments: &[&str]) -> String {
    let chart = chart();
    let fixed = ["install", "wasmproxy", chart.to_str().unwrap(), "--dry-run=client", "--namespace=wasmproxy-system"];
    let said = helm(&[&fixed[..], arguments].concat()).await.unwrap();
    said.split_once("\nNOTES:\n").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_notes_say_what_to_type_next_and_warn_of_what_may_not_be_meant() {
    let usual = notes(&[]).await;
    assert!(usual.contains("kubectl rollout status deployment/wasmproxy -n wasmproxy-system"), "{usual}");
    assert!(usual.contains("all namespaces") && !usual.contains("WARNING") && !usual.contains("label"), "{usual}");
    for (arguments, said) in [
        ("workers.mode=in-process", "kubectl label secret NAME"),
        ("workers.mode=in-process", "resources.limits.memory, now 512Mi, has to be enough"),
        ("hostNetwork=true", "WARNING: hostNetwork is true: no node has room for two Pods with port 9191."),
        ("namespaces={edge,plant}", "the resources of edge, plant"),
        ("crds.enabled=false", "This cluster has none yet"),
        ("replicas=0", "WARNING: replicas is 0"),
        ("replicas=1,leaderElection.enabled=false", "WARNING: leaderElection.enabled is false"),
        ("podDisruptionBudget.minAvailable=2", "WARNING: podDisruptionBudget.minAvailable leaves none"),
        ("rbac.create=false", "WARNING: rbac.create is false"),
        ("serviceAccount.create=false", "WARNING: The controller's rights went to the service account default"),
        ("imagePullSecrets[0].name=registry", "WARNING: imagePullSecrets are for the controller"),
        ("workers.image=old:1", "WARNING: workers.image is set: workers stay at old:1"),
        ("workers.mode=in-process,workers.cache.enabled=false", "WARNING: workers.cache.enabled is false"),
    ] {
        let notes = notes(&["--set", arguments]).await;
        assert!(notes.contains(said), "{arguments}: {notes}");
    }
}
