use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::{FutureExt as _, future, poll};
use kube::{
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
    let _loop =
        AbortOnDropHandle::new(tokio::spawn(drive(controller(&store), ().into(), heart.clone(), reconcile, retry)));
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
    let mut stuck = Box::pin(drive(controller(&store), ().into(), heart.clone(), reconcile, retry));
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
    let _loop =
        AbortOnDropHandle::new(tokio::spawn(drive(controller(&store), ().into(), heart.clone(), reconcile, retry)));
    for _ in 0..LONGEST.as_secs() + 1 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(heart.check(), Ok(()));
    }
    assert_eq!(done.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_blocked_stops_the_heart() {
    let (store, mut writer) = store(&names(1));
    let heart = Heartbeat::new("the loop", Duration::from_millis(300));
    let reconcile = |_, _: Arc<()>| future::ready(Ok(Action::await_change()));
    let _loop =
        AbortOnDropHandle::new(tokio::spawn(drive(controller(&store), ().into(), heart.clone(), reconcile, retry)));

    // Who reads the store for ever keeps its writer waiting, and the writer those who come after it.
    let blocked = Arc::new(AtomicBool::new(true));
    let (reader, still) = (store.clone(), blocked.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let _ = reader.find(|_| {
            while still.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            true
        });
    });
    let writing = tokio::task::spawn_blocking(move || writer.apply_watcher_event(&Event::Apply(object("another"))));
    let found_out = async {
        while heart.check().is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let found_out = timeout(Duration::from_secs(60), found_out).await;
    blocked.store(false, Ordering::Relaxed);
    let _ = tokio::join!(reading, writing);
    assert!(found_out.is_ok(), "the heart beats on");
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_the_rest_is_handed_out_is_not_lost() {
    let (store, _writer) = store(&names(2));
    let late = ObjectRef::new("late").within("edge");
    let mut all: Vec<_> = everything(&store, stream::iter([late.clone()])).collect().now_or_never().unwrap();
    assert_eq!((all.len(), all.pop()), (3, Some(late)));
}
