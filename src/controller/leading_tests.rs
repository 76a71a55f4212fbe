use std::{
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use futures::{FutureExt as _, future, poll};
use kube::{
    Client, Config,
    core::DeserializeGuard,
    runtime::{reflector, reflector::store::Writer, watcher::Event},
};
use serde_json::json;
use tokio::time::{advance, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::resource::fixtures::resource;

const LIMIT: Duration = Duration::from_secs(30);

fn heart() -> Heartbeat {
    Heartbeat::new("the loop", LIMIT)
}

fn object(name: &str) -> Watched {
    let mut resource = resource(&json!({}));
    resource.metadata.name = Some(name.to_owned());
    DeserializeGuard(Ok(resource))
}

/// A store with these in it.
fn store(names: &[String]) -> (Store<Watched>, Writer<Watched>) {
    let (store, mut writer) = reflector::store();
    writer.apply_watcher_event(&Event::Init);
    for name in names {
        writer.apply_watcher_event(&Event::InitApply(object(name)));
    }
    writer.apply_watcher_event(&Event::InitDone);
    (store, writer)
}

fn controller(store: &Store<Watched>) -> Controller<Watched> {
    Controller::for_stream(stream::pending(), store.clone()).reconcile_on(everything(store, stream::pending()))
}

fn retry(_: Arc<Watched>, _: &Error, _: Arc<()>) -> Action {
    Action::await_change()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("resource-{index}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_loop_at_rest_turns() {
    let (store, _writer) = store(&[]);
    let heart = heart();
    let reconcile = |_, _: Arc<()>| future::ready(Ok(Action::await_change()));
    let _loop = AbortOnDropHandle::new(tokio::spawn(drive(
        controller(&store),
        ().into(),
        heart.clone(),
        Reconciles::default(),
        reconcile,
        retry,
    )));
    for _ in 0..100 {
        sleep(LIMIT / 3).await;
        assert_eq!(heart.check(), Ok(()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_nothing_drives_is_found_out() {
    let (store, _writer) = store(&[]);
    let heart = heart();
    let reconcile = |_, _: Arc<()>| future::ready(Ok(Action::await_change()));
    let mut stuck =
        Box::pin(drive(controller(&store), ().into(), heart.clone(), Reconciles::default(), reconcile, retry));
    assert!(poll!(&mut stuck).is_pending());
    advance(LIMIT + Duration::from_secs(1)).await;
    assert_eq!(heart.check(), Err("the loop has not turned for 31 s".into()));
}

#[tokio::test(start_paused = true)]
async fn reconciliations_that_hang_keep_their_places_for_a_while_and_are_no_reason_to_start_anew() {
    // One more than there are places, and all but the last one hang.
    let names = names(usize::from(CONCURRENCY) + 1);
    let (store, _writer) = store(&names);
    let (heart, done) = (heart(), Arc::new(Mutex::new(Vec::new())));
    let finished = done.clone();
    let begun = Mutex::new(0);
    let reconcile = move |watched: Arc<Watched>, _: Arc<()>| {
        let finished = finished.clone();
        let mut begun = begun.lock().unwrap();
        *begun += 1;
        let hangs = *begun <= CONCURRENCY;
        async move {
            if hangs {
                future::pending::<()>().await;
            }
            finished.lock().unwrap().push(watched.name_any());
            Ok(Action::await_change())
        }
    };
    let _loop = AbortOnDropHandle::new(tokio::spawn(drive(
        controller(&store),
        ().into(),
        heart.clone(),
        Reconciles::default(),
        reconcile,
        retry,
    )));
    for _ in 0..LONGEST.as_secs() + 1 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(heart.check(), Ok(()));
    }
    assert_eq!(done.lock().unwrap().len(), 1);
}

#[test]
fn a_store_that_is_blocked_stops_the_heart() {
    let (store, mut writer) = store(&names(1));
    let heart = Heartbeat::new("the loop", Duration::from_millis(300));
    let reconcile = |_, _: Arc<()>| future::ready(Ok(Action::await_change()));
    // A loop that blocks its thread may hold up the clock of its runtime, too: so nothing here is told the time by that.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    runtime.spawn(drive(controller(&store), ().into(), heart.clone(), Reconciles::default(), reconcile, retry));

    // Who reads the store for ever keeps its writer waiting, and the writer those who come after it.
    let blocked = AtomicBool::new(true);
    let reads = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = store.find(|_| {
                reads.wait();
                while blocked.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                true
            });
        });
        reads.wait();
        scope.spawn(|| writer.apply_watcher_event(&at_version("another", "1")));
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        while heart.check().is_ok() && std::time::Instant::now() < patience {
            thread::sleep(Duration::from_millis(20));
        }
        let check = heart.check();
        blocked.store(false, Ordering::Relaxed);
        assert!(check.is_err(), "the heart beats on");
    });
}

/// What an API server lists that has one object, in this version.
async fn api_server(name: &'static str, version: &'static str) -> Api<Watched> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let list = json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": {"resourceVersion": "100"},
        "items": [{"metadata": {"name": name, "namespace": "edge", "resourceVersion": version}}],
    });
    let answer = ([("content-type", "application/json")], list.to_string());
    let router = axum::Router::new().fallback(move || future::ready(answer.clone()));
    tokio::spawn(axum::serve(listener, router).into_future());
    crate::tls::install_provider();
    Api::all(Client::try_from(Config::new(url)).unwrap())
}

fn at_version(name: &str, version: &str) -> Event<Watched> {
    let mut object = object(name);
    let resource = object.0.as_mut().unwrap();
    resource.metadata.namespace = Some("edge".to_owned());
    resource.metadata.resource_version = Some(version.to_owned());
    Event::Apply(object)
}

#[tokio::test]
async fn whoever_comes_to_lead_waits_for_what_was_written_before() {
    let api = api_server("line", "10").await;
    let (store, mut writer) = store(&[]);
    let (sender, seen) = watch::channel(());
    let mut caught_up = Box::pin(catch_up(vec![api], &store, seen));
    for behind in [None, Some(at_version("line", "9")), Some(at_version("other", "11"))] {
        behind.iter().for_each(|event| writer.apply_watcher_event(event));
        sender.send_modify(|()| {});
        assert!(timeout(Duration::from_millis(200), &mut caught_up).await.is_err());
    }
    writer.apply_watcher_event(&at_version("line", "10"));
    sender.send_modify(|()| {});
    assert!(timeout(CATCH_UP - Duration::from_secs(1), caught_up).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_the_rest_is_handed_out_is_not_lost() {
    let (store, _writer) = store(&names(2));
    let late = ObjectRef::new("late").within("edge");
    let mut all: Vec<_> = everything(&store, stream::iter([late.clone()])).collect().now_or_never().unwrap();
    assert_eq!((all.len(), all.pop()), (3, Some(late)));
}
