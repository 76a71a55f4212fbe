//! What a device does when all goes more or less well.

use serde_json::json;
use wasmproxy::{
    device::{Cause, Event, FetchOptions},
    mqtt::{Properties, Qos, VersionPreference},
    protocol::{ErrorCode, MAX_APP_NAME, request::Wanted},
};

use super::{APP, Channel, DEVICE, script::Module};

#[tokio::test]
async fn a_module_arrives_and_its_receipt_says_so() {
    for version in [VersionPreference::V311, VersionPreference::V5] {
        let mut channel = Channel::open().await;
        let module = Module::new(1, 2500, 1000);
        let mut fetch = channel.fetch_with(APP, FetchOptions { version, ..channel.options() });

        let request = channel.script.request().await;
        let full = request.full.unwrap();
        assert_eq!(request.app_name, APP);
        assert_eq!((full.device, full.missing), (Some(DEVICE.parse().unwrap()), None));
        channel.script.send(&module, module.chunks()).await;

        let (device, receipt) = channel.script.receipt().await;
        assert_eq!((device.to_string().as_str(), receipt.app_name.as_str()), (DEVICE, APP));
        assert_eq!(receipt.digest, module.head.digest);
        let fetched = fetch.end().await.unwrap();
        assert_eq!((fetched.whole.digest, fetched.whole.layout), (module.head.digest, module.head.layout));
        assert_eq!(fetched.receipt, Ok(()));
        assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
        assert_eq!(channel.files(), ["add.wasm"]);
    }
}

#[tokio::test]
async fn a_module_arrives_in_binary() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch_with(APP, FetchOptions { format: Wanted::Raw, ..channel.options() });
    assert_eq!(channel.script.request().await.full.unwrap().format, Some(Wanted::Raw));
    channel.script.send_raw(&module, module.chunks()).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn a_connection_that_carries_no_binary_asks_for_json() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let options = FetchOptions { format: Wanted::Raw, version: VersionPreference::V311, ..channel.options() };
    let mut fetch = channel.fetch_with(APP, options);
    assert_eq!(channel.script.request().await.full.unwrap().format, Some(Wanted::Json));
    channel.script.send(&module, module.chunks()).await;
    fetch.end().await.unwrap();
}

#[tokio::test]
async fn who_asked_for_binary_takes_json_too() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch_with(APP, FetchOptions { format: Wanted::Raw, ..channel.options() });
    assert_eq!(channel.script.request().await.full.unwrap().format, Some(Wanted::Raw));
    channel.script.send(&module, module.chunks()).await;
    fetch.end().await.unwrap();
}

#[tokio::test]
async fn a_module_may_be_a_byte_and_a_name_as_long_as_names_get() {
    let name = "ü".repeat(MAX_APP_NAME / 2);
    let mut channel = Channel::open().await;
    let module = Module::new(1, 1, 512_000).named(&name);
    let mut fetch = channel.fetch_with(&name, FetchOptions { qos: Qos::ExactlyOnce, ..channel.options() });
    assert_eq!(channel.script.request().await.app_name, name);
    channel.script.send(&module, [0]).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn chunks_may_come_in_any_order_and_more_than_once() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 100_000, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    let mut chunks: Vec<_> = module.chunks().chain(module.chunks()).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut chunks);
    channel.script.send(&module, chunks).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn what_is_missing_is_asked_for_by_number_and_comes_to_the_device_alone() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 9500, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module, [0, 1, 4, 8]).await;
    channel.script.complete(&module).await;
    assert_eq!(channel.script.request_by_number(&module).await, [2, 3, 5, 6, 7, 9]);
    channel.script.send_to_device(&module, [2, 3, 5, 6, 7, 9]).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn a_device_that_heard_only_the_end_fetches_everything_by_number() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 150_000, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.complete(&module).await;
    let mut asked = Vec::new();
    while asked.len() < 150 {
        let chunks = channel.script.request_by_number(&module).await;
        assert!(chunks.len() <= 64);
        channel.script.send_to_device(&module, chunks.clone()).await;
        asked.extend(chunks);
    }
    assert_eq!(asked, module.chunks().collect::<Vec<_>>());
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn only_the_module_of_the_digest_asked_for_is_taken() {
    let (module, other) = (Module::new(1, 2500, 1000), Module::new(2, 2500, 1000));
    let mut channel = Channel::open().await;
    let options = FetchOptions { digest: Some(module.head.digest), ..channel.options() };
    let mut fetch = channel.fetch_with(APP, options);
    channel.script.request_for_all().await;
    channel.script.send(&other, other.chunks()).await;
    channel.script.complete(&other).await;
    channel.script.send(&module, module.chunks()).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn a_reference_that_means_another_module_by_now_begins_anew() {
    let mut channel = Channel::open().await;
    let (old, new) = (Module::new(1, 5000, 1000), Module::new(2, 2500, 1000));
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&old, 0..4).await;
    channel.script.complete(&old).await;
    assert_eq!(channel.script.request_by_number(&old).await, [4]);
    channel.script.error(ErrorCode::Changed, "another one by now").await;
    fetch.sees(|event| *event == Event::BegunAnew(Cause::Changed)).await;
    channel.script.request_for_all().await;
    channel.script.send(&new, new.chunks()).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), new.bytes);
}

#[tokio::test]
async fn a_module_that_was_corrupted_once_is_asked_for_anew_by_number() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module.corrupt(), module.chunks()).await;
    fetch.sees(|event| *event == Event::BegunAnew(Cause::DigestMismatch)).await;
    assert!(!channel.file().exists());
    assert_eq!(channel.script.request_by_number(&module).await, [0, 1, 2]);
    channel.script.send_to_device(&module, module.chunks()).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}

#[tokio::test]
async fn who_is_busy_is_asked_again() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.error(ErrorCode::Busy, "too much is waiting").await;
    fetch.sees(|event| matches!(event, Event::Refused { notice, .. } if notice.code == ErrorCode::Busy)).await;
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    fetch.end().await.unwrap();
}

#[tokio::test]
async fn a_code_that_nobody_knows_yet_means_what_its_notice_says() {
    let mut channel = Channel::open().await;
    let mut fetch = channel.fetch();
    for retryable in [true, false] {
        channel.script.request_for_all().await;
        let notice = json!({
            "app_name": APP, "code": "out_to_lunch", "message": "\u{1b}[2Jback soon", "retryable": retryable, "device": DEVICE,
        });
        let topic = channel.script.topics.error.clone();
        channel.script.publish(&topic, notice.to_string().into(), Properties::default()).await;
    }
    fetch.sees(|event| matches!(event, Event::Refused { notice, .. } if notice.retryable)).await;
    let error = fetch.end().await.unwrap_err();
    assert_eq!(error.to_string(), "out_to_lunch:  [2Jback soon");
}

#[tokio::test]
async fn a_broker_that_restarts_costs_only_what_it_lost() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 5000, 1000);
    let mut fetch = channel.fetch();
    channel.script.request_for_all().await;
    channel.script.send(&module, 0..2).await;
    fetch.sees(|event| matches!(event, Event::Gathered { chunks: 2, .. })).await;
    channel.broker.stop();
    fetch.sees(|event| matches!(event, Event::NotConnected(_))).await;
    channel.broker.start_again().await;
    fetch.sees(|event| matches!(event, Event::Connected(_))).await;
    channel.script.connected().await;
    channel.script.complete(&module).await;
    assert_eq!(channel.script.request_by_number(&module).await, [2, 3, 4]);
    channel.script.send_to_device(&module, 2..5).await;
    fetch.end().await.unwrap();
    assert_eq!(std::fs::read(channel.file()).unwrap(), module.bytes);
}
