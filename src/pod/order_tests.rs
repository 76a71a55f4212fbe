use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    api::WasmProxyStatus,
    mqtt,
    pod::mounts::{FileSystem, Mounts},
    resource::fixtures::{condition, resource},
};

/// A directory of Secrets, each with these keys.
fn mounted(secrets: &Value) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, keys) in secrets.as_object().unwrap() {
        let directory = root.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            std::fs::write(directory.join(key), value.as_str().unwrap()).unwrap();
        }
    }
    root
}

fn read(root: &Path, resource: &WasmProxy) -> Secrets {
    let mounts = Mounts { root: root.to_owned(), namespace: "edge".to_owned(), files: FileSystem };
    Secrets::read(&mounts, &resource.spec)
}

fn ordered(resource: &WasmProxy, secrets: &Value, before: Option<&Told>) -> Order {
    order(resource, read(mounted(secrets).path(), resource), before)
}

/// A resource with a broker at `host`, whose Secret is called `secret`.
fn guarded(host: &str, secret: &str) -> WasmProxy {
    resource(&json!({"broker": {"url": format!("mqtt://{host}"), "secretRef": {"name": secret}}}))
}

fn login(password: &str) -> Value {
    json!({"username": "worker", "password": password})
}

/// What was told to a worker of `broker.example` with the Secret `broker`.
fn before() -> Told {
    match ordered(&guarded("broker.example", "broker"), &json!({"broker": login("hunter2")}), None).work {
        Work::Do(told) => *told,
        other => panic!("{other:?}"),
    }
}

fn password(told: &Told) -> &str {
    told.config.broker.credentials.as_ref().and_then(|mqtt::Credentials { password, .. }| password.as_deref()).unwrap()
}

/// What is said of a condition.
fn says(order: &Order, about: ConditionType) -> Option<(ConditionStatus, Reason, &str)> {
    let finding = order.obstacles.findings.iter().find(|finding| finding.about == about)?;
    Some((finding.status, finding.reason, &finding.message))
}

fn waits(order: &Order) -> bool {
    matches!(&order.work, Work::Wait(_))
}

#[test]
fn with_all_its_secrets_a_worker_works() {
    let told = before();
    assert_eq!(password(&told), "hunter2");
    let order = ordered(&guarded("broker.example", "broker"), &json!({"broker": login("hunter2")}), None);
    assert!(order.obstacles.findings.is_empty(), "{order:?}");
}

#[test]
fn another_password_is_told_at_once() {
    let order = ordered(&guarded("broker.example", "broker"), &json!({"broker": login("hunter3")}), Some(&before()));
    let Work::Do(told) = order.work else { panic!("{order:?}") };
    assert_eq!(password(&told), "hunter3");
}

#[test]
fn what_is_new_is_said_by_what_has_changed() {
    let before = before();
    let Work::Do(mut rotated) =
        ordered(&guarded("broker.example", "broker"), &json!({"broker": login("hunter3")}), None).work
    else {
        panic!("it waits")
    };
    assert_eq!(before.news(&rotated), "worker gets new credentials");
    rotated.config.requested = Some("now".to_owned());
    assert_eq!(before.news(&rotated), "worker gets new credentials");
    let mut asked = before.clone();
    asked.config.requested = Some("now".to_owned());
    assert_eq!(before.news(&asked), "everything is looked at anew and streamed again, as requested");
    asked.spec.suspend = true;
    assert_eq!(before.news(&asked), "worker gets a new configuration");
}

#[test]
fn a_secret_that_is_missing_is_named_and_waited_for() {
    for (secrets, status, reason, beginning) in [
        (json!({}), ConditionStatus::Unknown, Reason::Starting, "Secret broker is not mounted at /"),
        (
            json!({"broker": {}}),
            ConditionStatus::False,
            Reason::SecretNotFound,
            "Secret broker does not exist in namespace edge: create it with the keys username and password",
        ),
        (
            json!({"broker": {"username": "worker"}}),
            ConditionStatus::False,
            Reason::SecretInvalid,
            "Secret broker in namespace edge lacks the key password: add it",
        ),
    ] {
        let order = ordered(&guarded("broker.example", "broker"), &secrets, None);
        assert!(waits(&order), "{order:?}");
        let (status_said, reason_said, message) = says(&order, ConditionType::BrokerConnected).unwrap();
        assert_eq!((status_said, reason_said), (status, reason));
        assert!(message.starts_with(beginning), "{message}");
        assert_eq!(order.obstacles.generation, 3);
        let registry = says(&order, ConditionType::RegistryReady).unwrap();
        assert_eq!((registry.0, registry.1), (ConditionStatus::Unknown, Reason::WorkerUnavailable));
        assert_eq!(says(&order, ConditionType::ArtifactsPublished), None, "what was published stays so");
    }
}

#[test]
fn what_waits_holds_no_credentials() {
    let mut resource = guarded("broker.example", "broker");
    resource.spec.registry.secret_ref = Some(crate::api::LocalObjectReference { name: "pull".to_owned() });
    let order = ordered(&resource, &json!({"broker": login("hunter2"), "pull": {}}), None);
    let (_, reason, message) = says(&order, ConditionType::RegistryReady).unwrap();
    assert_eq!(reason, Reason::SecretNotFound);
    assert!(message.contains("Secret pull") && message.contains(".dockerconfigjson"), "{message}");
    let Work::Wait(Some(config)) = order.work else { panic!("{order:?}") };
    assert_eq!(config.broker.credentials, None);
}

#[test]
fn a_worker_goes_on_with_what_it_has_while_broker_and_secret_have_the_same_names() {
    let secrets = [json!({}), json!({"broker": {}}), json!({"broker": {"username": "worker", "password": ""}})];
    for secrets in secrets {
        let mut resource = guarded("broker.example", "broker");
        resource.spec.artifacts = serde_json::from_value(json!([{"reference": "wasm/add:1"}])).unwrap();
        let order = ordered(&resource, &secrets, Some(&before()));
        let (_, _, message) = says(&order, ConditionType::BrokerConnected).unwrap();
        assert!(message.ends_with("; the worker goes on with what it held before"), "{message}");
        let Work::Do(told) = order.work else { panic!("{order:?}") };
        assert_eq!((password(&told), told.config.artifacts.len()), ("hunter2", 1), "the rest of the spec counts");
    }
}

#[test]
fn nobody_else_sees_what_it_had() {
    let mut trusting = guarded("broker.example", "broker");
    trusting.spec.broker.insecure_skip_verify = true;
    for resource in [guarded("other.example", "broker"), guarded("broker.example", "other"), trusting] {
        let order = ordered(&resource, &json!({}), Some(&before()));
        assert!(waits(&order), "{order:?}");
    }
}

#[test]
fn a_sidecar_is_told_to_mount_what_it_lacks() {
    let mut resource = guarded("broker.example", "broker");
    resource.spec.worker = Some(serde_json::from_value(json!({"management": "External"})).unwrap());
    let order = ordered(&resource, &json!({}), None);
    let (status, reason, message) = says(&order, ConditionType::BrokerConnected).unwrap();
    assert_eq!((status, reason), (ConditionStatus::False, Reason::SecretNotFound));
    assert!(message.ends_with(": mount it there"), "{message}");
}

#[test]
fn a_spec_that_cannot_be_used_leaves_the_worker_as_it_is() {
    let mut resource = guarded("broker.example", "broker");
    resource.spec.artifacts = serde_json::from_value(json!([{"reference": "a"}, {"reference": "a:latest"}])).unwrap();
    for (before, work) in [(Some(before()), Work::GoOn), (None, Work::Wait(None))] {
        let order = ordered(&resource, &json!({"broker": login("hunter2")}), before.as_ref());
        let (status, reason, message) = says(&order, ConditionType::ArtifactsPublished).unwrap();
        assert_eq!((status, reason), (ConditionStatus::False, Reason::InvalidSpec));
        assert!(message.contains("mean the same artifact"), "{message}");
        assert_eq!(order.work, work);
    }
}

#[test]
fn no_text_holds_a_credential() {
    let secrets = read(mounted(&json!({"broker": login("hunter2")})).path(), &guarded("broker.example", "broker"));
    assert!(!format!("{secrets:?}").contains("hunter2"));
    assert!(!format!("{:?}", before()).contains("hunter2"));
}

#[test]
fn a_process_stands_down_when_its_resource_wants_another_ones_worker() {
    let of = |management: &str| resource(&json!({"worker": {"management": management}}));
    for (management, run_by, expected) in [
        ("Managed", Some(Management::Managed), Duty::Work),
        ("Managed", Some(Management::External), Duty::HandOver),
        ("Managed", None, Duty::Work),
        ("External", Some(Management::Managed), Duty::HandOver),
        ("External", Some(Management::External), Duty::Work),
        ("External", None, Duty::Work),
    ] {
        assert_eq!(duty(&of(management), run_by), expected, "{management} {run_by:?}");
    }
}

#[test]
fn a_worker_pauses_while_its_resource_is_suspended_or_another_has_its_channel() {
    let suspended = resource(&json!({"suspend": true}));
    assert!(matches!(duty(&suspended, None), Duty::Pause(_)));
    let stalled = |status: ConditionStatus, reason: Reason| {
        let mut resource = resource(&json!({}));
        let conditions = vec![condition(ConditionType::Stalled, status, reason)];
        resource.status = Some(WasmProxyStatus { conditions, ..WasmProxyStatus::default() });
        duty(&resource, None)
    };
    assert!(matches!(stalled(ConditionStatus::True, Reason::ChannelConflict), Duty::Pause(_)));
    assert_eq!(stalled(ConditionStatus::False, Reason::ChannelConflict), Duty::Work);
    assert_eq!(stalled(ConditionStatus::True, Reason::ChildConflict), Duty::Work);
}
