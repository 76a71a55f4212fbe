//! What a device does when it cannot have the module: it says why, and leaves nothing behind.

use std::time::Duration;

use wasmproxy::{
    device::{Event, FetchError, FetchOptions, MAX_MISMATCHES, Stall},
    mqtt::{Credentials, FailureKind},
    protocol::ErrorCode,
};

use super::{APP, Channel, script::Module};
use crate::lab::BrokerConfig;

/// Soon enough for a test, and long enough for a broker on this machine.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_module_that_nobody_has_is_named_and_leaves_what_was_there() {
    let mut channel = Channel::open().await;
    std::fs::write(channel.file(), b"old").unwrap();
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.error(ErrorCode::NotFound, "the registry has no such module").await;
    let error = fetch.end().await.unwrap_err();
    assert_eq!(error.to_string(), "not_found: the registry has no such module");
    assert_eq!(channel.files(), ["add.wasm"]);
    assert_eq!(std::fs::read(channel.file()).unwrap(), b"old");
}

#[tokio::test]
async fn a_module_that_never_is_what_its_digest_says_is_not_written() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module.corrupt(), module.chunks()).await;
    for _ in 1..MAX_MISMATCHES {
        channel.script.request_by_number(&module).await;
        channel.script.send_to_device(&module.corrupt(), module.chunks()).await;
    }
    assert!(matches!(fetch.end().await, Err(FetchError::DigestMismatch(MAX_MISMATCHES))));
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_module_that_is_too_large_is_refused() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch_with(APP, FetchOptions { max_size: 2499, ..channel.options() });
    channel.script.request_for_all().await;
    channel.script.send(&module, [0]).await;
    // Anybody may have said so: it is asked about first.
    assert_eq!(channel.script.request_by_number(&module).await, [0]);
    channel.script.send_to_device(&module, [0]).await;
    assert!(matches!(fetch.end().await, Err(FetchError::TooLarge { size: 2500, max_size: 2499 })));
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_channel_on_which_nobody_answers_is_given_up() {
    let channel = Channel::open().await;
    let mut fetch = channel.fetch_with(APP, FetchOptions { timeout: SHORT, ..channel.options() });
    let error = fetch.end().await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut { after: SHORT, stall: Stall::Unanswered }), "{error}");
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_module_of_which_no_more_comes_is_given_up() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch_with(APP, FetchOptions { timeout: SHORT, ..channel.options() });
    channel.script.request_for_all().await;
    channel.script.send(&module, [1]).await;
    let error = fetch.end().await.unwrap_err();
    let stall = Stall::Incomplete { chunks: 1, total: 3 };
    assert!(matches!(&error, FetchError::TimedOut { stall: how, .. } if *how == stall), "{error}");
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_waited_for_and_given_up() {
    let mut channel = Channel::open().await;
    channel.broker.stop();
    let mut fetch = channel.fetch_with(APP, FetchOptions { timeout: SHORT, ..channel.options() });
    fetch.sees(|event| matches!(event, Event::NotConnected(_))).await;
    let error = fetch.end().await.unwrap_err();
    let FetchError::TimedOut { stall: Stall::NotConnected(Some(failure)), .. } = error else { panic!("{error}") };
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_wrong_password_is_said_at_once() {
    let broker = BrokerConfig::default().user("press-4", "right").start().await;
    let channel = Channel { broker, ..Channel::open().await };
    let credentials = Credentials { username: "press-4".to_owned(), password: Some("wrong".to_owned()) };
    let mut fetch = channel.fetch_with(APP, FetchOptions { credentials: Some(credentials), ..channel.options() });
    let error = fetch.end().await.unwrap_err();
    assert!(matches!(&error, FetchError::Connect(failure) if failure.kind == FailureKind::Unauthorized), "{error}");
    assert!(!error.to_string().contains("wrong"));
    assert!(channel.files().is_empty());
}

#[tokio::test]
async fn a_device_whose_topics_would_be_too_long_is_refused_before_anything_happens() {
    let channel = Channel::open().await;
    let device = "x".repeat(64).parse().unwrap();
    let prefix = wasmproxy::protocol::TopicPrefix::new("y".repeat(64)).unwrap();
    let mut fetch = channel.fetch_with(APP, FetchOptions { device, prefix, ..channel.options() });
    let error = fetch.end().await.unwrap_err();
    assert!(matches!(error, FetchError::Topic(_)) && error.is_usage(), "{error}");
}

#[tokio::test]
async fn a_fetch_that_is_dropped_leaves_nothing_behind() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module, [0]).await;
    fetch.sees(|event| matches!(event, Event::Gathered { .. })).await;
    assert_eq!(channel.files().len(), 1);
    fetch.running.abort();
    assert!((&mut fetch.running).await.unwrap_err().is_cancelled());
    assert!(channel.files().is_empty());
}
