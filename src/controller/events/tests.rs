//! What is told, and when.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    narrator::{Board, Narrator},
    story::{Event, Story, events},
};
use crate::{
    api::{
        WasmProxy, WasmProxyStatus,
        conditions::{
            ConditionStatus::{self, False, True, Unknown},
            ConditionType::{self, ArtifactsPublished, BrokerConnected, Ready, RegistryReady, WorkerAvailable},
            Reason,
        },
    },
    resource::{
        api_server::ApiError,
        fixtures::{condition, refused, resource},
    },
};

type Said = (ConditionType, ConditionStatus, Reason);

/// A resource of which this is said.
fn saying(conditions: &[Said]) -> WasmProxy {
    let mut resource = resource(&json!({}));
    let conditions = conditions.iter().map(|(about, status, reason)| condition(*about, *status, *reason)).collect();
    resource.status = Some(WasmProxyStatus { conditions, ..WasmProxyStatus::default() });
    resource
}

const RUNS: Said = (WorkerAvailable, True, Reason::Succeeded);
const CONNECTED: Said = (BrokerConnected, True, Reason::Connected);
const UNREACHABLE: Said = (BrokerConnected, False, Reason::BrokerUnreachable);
const IS_READY: Said = (Ready, True, Reason::Succeeded);

/// What is told of a resource that was as `before`, and is as `after`.
fn told_between(before: &WasmProxy, after: &WasmProxy) -> Vec<Event> {
    events(&Story::of(before), &Story::of(after))
}

fn told(before: &[Said], after: &[Said]) -> Vec<(EventType, String)> {
    let events = told_between(&saying(before), &saying(after));
    events.into_iter().map(|event| (event.type_, event.reason)).collect()
}

fn normal(reason: &str) -> (EventType, String) {
    (EventType::Normal, reason.to_owned())
}

fn warning(reason: &str) -> (EventType, String) {
    (EventType::Warning, reason.to_owned())
}

#[test]
fn the_way_to_ready_is_told_in_its_order() {
    let fresh = resource(&json!({}));
    let after = saying(&[IS_READY, RUNS, CONNECTED, (RegistryReady, True, Reason::Succeeded)]);
    let reasons: Vec<_> = told_between(&fresh, &after).into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["WorkerStarted", "Connected", "Ready"]);
    assert!(told_between(&after, &after).is_empty());
}

#[test]
fn what_is_wrong_is_told_once_though_several_conditions_say_so() {
    let broken = [RUNS, UNREACHABLE, (Ready, False, Reason::BrokerUnreachable)];
    assert_eq!(told(&[RUNS, CONNECTED, IS_READY], &broken), [warning("BrokerUnreachable")]);
    // As the worker writes it, and then the controller.
    assert_eq!(told(&[RUNS, CONNECTED, IS_READY], &broken[..2]), [warning("BrokerUnreachable")]);
    assert_eq!(told(&broken[..2], &broken), []);
    let registry = (RegistryReady, False, Reason::RegistryUnreachable);
    let artifacts = (ArtifactsPublished, False, Reason::RegistryUnreachable);
    assert_eq!(told(&[], &[registry, artifacts]), [warning("RegistryUnreachable")]);
    assert_eq!(told(&[artifacts], &[registry, artifacts]), []);
}

#[test]
fn what_is_wrong_otherwise_than_before_is_told() {
    let unauthorized = (BrokerConnected, False, Reason::BrokerUnauthorized);
    assert_eq!(told(&[UNREACHABLE], &[unauthorized]), [warning("BrokerUnauthorized")]);
}

#[test]
fn what_is_not_known_yet_is_not_told() {
    let conditions = [
        (BrokerConnected, Unknown, Reason::Connecting),
        (RegistryReady, Unknown, Reason::NothingDeclared),
        (ArtifactsPublished, Unknown, Reason::Progressing),
        (Ready, Unknown, Reason::Progressing),
        (WorkerAvailable, False, Reason::Starting),
    ];
    assert_eq!(told(&[], &conditions), []);
}

#[test]
fn what_keeps_a_worker_is_told_and_that_it_is_suspended_is_no_warning() {
    for (reason, expected) in [
        (Reason::SecretNotFound, warning("SecretNotFound")),
        (Reason::ChannelConflict, warning("ChannelConflict")),
        (Reason::ChildConflict, warning("ChildConflict")),
        (Reason::InvalidSpec, warning("InvalidSpec")),
        (Reason::Suspended, normal("Suspended")),
    ] {
        let unknown = (BrokerConnected, Unknown, Reason::WorkerUnavailable);
        let after = [(Ready, False, reason), (WorkerAvailable, False, reason), unknown];
        assert_eq!(told(&[RUNS, CONNECTED, IS_READY], &after), [expected]);
    }
    let outdated = [RUNS, CONNECTED, (Ready, False, Reason::SecretNotFound)];
    assert_eq!(told(&[RUNS, CONNECTED, IS_READY], &outdated), [warning("SecretNotFound")]);
}

#[test]
fn what_is_well_and_yet_needs_somebody_is_a_warning() {
    assert_eq!(told(&[CONNECTED], &[(BrokerConnected, True, Reason::NoticesDenied)]), [warning("NoticesDenied")]);
    let unheard = (ArtifactsPublished, True, Reason::NoSubscribers);
    assert_eq!(told(&[], &[unheard]), [warning("NoSubscribers")]);
}

#[test]
fn a_registry_that_answers_is_told_of_where_it_did_not() {
    let answers = (RegistryReady, True, Reason::Succeeded);
    assert_eq!(told(&[], &[answers]), []);
    let failed = (RegistryReady, False, Reason::RegistryUnreachable);
    assert_eq!(told(&[failed], &[answers]), [normal("RegistryReady")]);
}

#[test]
fn what_is_unknown_for_a_moment_is_not_told_again() {
    let connected = Story::of(&saying(&[CONNECTED]));
    let connecting = Story::of(&saying(&[(BrokerConnected, Unknown, Reason::Connecting)]));
    let known = connected.clone().then(connecting);
    assert!(events(&known, &connected).is_empty());
    let stopped = Story::of(&saying(&[(BrokerConnected, Unknown, Reason::WorkerUnavailable)]));
    assert_eq!(events(&connected.clone().then(stopped), &connected).len(), 1, "it was away");
}

fn with_artifacts(artifacts: &Value) -> WasmProxy {
    let mut resource = resource(&json!({}));
    resource.status = serde_json::from_value(json!({"artifacts": artifacts.clone()})).unwrap();
    resource
}

fn artifact(digest: &str, completed: Option<&str>, source: &str) -> Value {
    json!({
        "reference": "registry.example/wasm/add:1.2", "digest": digest, "phase": "Published", "source": source,
        "chunks": {"total": 13, "published": 13}, "completedAt": completed,
    })
}

#[test]
fn each_publication_of_what_is_declared_is_told_with_its_digest() {
    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let out = Some("2026-11-01T10:00:07Z");
    let declared = with_artifacts(&json!([artifact(DIGEST, out, "Declared")]));
    let under_way = with_artifacts(&json!([artifact(DIGEST, None, "Declared")]));
    let requested = with_artifacts(&json!([artifact(DIGEST, out, "Requested")]));
    let events = told_between(&under_way, &declared);
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].type_, events[0].reason.as_str()), (EventType::Normal, "Published"));
    assert_eq!(events[0].note, "registry.example/wasm/add:1.2 is out: sha256:ba7816bf8f01, in 13 chunks");
    assert!(told_between(&declared, &declared).is_empty());
    assert!(told_between(&under_way, &requested).is_empty(), "devices could have anything told");
    let moved = with_artifacts(&json!([artifact("sha256:other", out, "Declared")]));
    let events = [told_between(&under_way, &declared), told_between(&declared, &moved)].concat();
    assert_ne!(events[0].field_path, events[1].field_path, "the recorder must not count them as one");
}

#[test]
fn a_request_that_was_handled_is_told_of_before_all_is_well() {
    let mut after = saying(&[IS_READY]);
    after.status.as_mut().unwrap().last_handled_reconcile_at = Some("now".to_owned());
    let reasons: Vec<_> = told_between(&saying(&[]), &after).into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["Reconciled", "Ready"]);
    assert!(told_between(&after, &after).is_empty());
}

#[test]
fn what_is_told_is_as_long_as_an_event_may_be() {
    let mut after = saying(&[UNREACHABLE]);
    after.status.as_mut().unwrap().conditions[0].message = "ö".repeat(2000);
    assert_eq!(told_between(&saying(&[]), &after)[0].note.len(), 1024);
}

/// Keeps what is told; fails as often as it is to.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(Vec<String>, Vec<u16>)>>);

impl Heard {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }
}

impl Board for Heard {
    async fn post(&self, event: &Event, _: &ObjectReference) -> Result<(), ApiError> {
        let (heard, failures) = &mut *self.0.lock().unwrap();
        if let Some(code) = failures.pop() {
            return Err(refused(&json!({"code": code})));
        }
        heard.push(event.reason.clone());
        Ok(())
    }
}

/// A narrator that has met a resource of which nothing is said.
fn scene() -> (Arc<Narrator>, Heard) {
    let (narrator, heard) = (Arc::new(Narrator::default()), Heard::default());
    narrator.meet(&saying(&[]));
    let (telling, board) = (narrator.clone(), heard.clone());
    tokio::spawn(async move { telling.run(&board).await });
    (narrator, heard)
}

const MOMENT: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_was_said_when_the_controller_came_is_not_told() {
    let (narrator, heard) = (Narrator::default(), Heard::default());
    narrator.meet(&saying(&[CONNECTED]));
    narrator.tell(&saying(&[CONNECTED, IS_READY]));
    narrator.meet(&saying(&[]));
    tokio::select! {
        () = narrator.run(&heard) => {}
        () = sleep(MOMENT) => {}
    }
    assert_eq!(heard.take(), ["Ready"]);
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_flaps_is_told_of_seldom_and_its_end_for_sure() {
    let (narrator, heard) = scene();
    for _ in 0..1000 {
        for said in [CONNECTED, UNREACHABLE] {
            narrator.tell(&saying(&[said]));
            sleep(Duration::from_secs(1)).await;
        }
    }
    narrator.tell(&saying(&[CONNECTED]));
    sleep(HOUR).await;
    let told = heard.take();
    assert!(told.len() < 10 + 2000 / 60 + 3, "{} events of 2000 changes", told.len());
    assert_eq!(told.last().map(String::as_str), Some("Connected"));
}

#[tokio::test(start_paused = true)]
async fn one_that_flaps_keeps_no_other_from_being_told_of() {
    let (narrator, heard) = scene();
    let mut other = saying(&[]);
    other.metadata.uid = Some("other".to_owned());
    narrator.meet(&other);
    for _ in 0..50 {
        for said in [CONNECTED, UNREACHABLE] {
            narrator.tell(&saying(&[said]));
            sleep(MOMENT).await;
        }
    }
    heard.take();
    let mut ready = saying(&[IS_READY]);
    ready.metadata.uid = other.metadata.uid;
    narrator.tell(&ready);
    sleep(MOMENT).await;
    assert_eq!(heard.take(), ["Ready"]);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_server_does_not_take_now_is_told_later_and_what_it_never_takes_is_dropped() {
    let (narrator, heard) = scene();
    heard.0.lock().unwrap().1 = vec![500, 429];
    narrator.tell(&saying(&[CONNECTED]));
    sleep(HOUR).await;
    assert_eq!(heard.take(), ["Connected"]);
    heard.0.lock().unwrap().1 = vec![403];
    narrator.tell(&saying(&[UNREACHABLE]));
    sleep(HOUR).await;
    assert!(heard.take().is_empty());
    narrator.tell(&saying(&[CONNECTED]));
    sleep(HOUR).await;
    assert_eq!(heard.take(), ["Connected"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_not_told_of() {
    let (narrator, heard) = scene();
    narrator.tell(&saying(&[CONNECTED]));
    narrator.forget("11f0");
    narrator.tell(&saying(&[CONNECTED, IS_READY]));
    sleep(HOUR).await;
    assert!(heard.take().is_empty());
}
