//! What is not said in plain, because old devices may keep parts of something else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wasmproxy::{
    digest::Digest,
    protocol::{Chunk, ErrorCode},
    registry::Reference,
    worker::Worker,
};

use super::{
    channel::{CHUNK, Channel, Said, assembled, until, until_listening},
    gated::Gated,
};
use crate::{lab::FaultProxy, modules::module};

/// A channel whose worker listens, and what stands between it and the registry.
async fn behind_a_proxy() -> (Channel, FaultProxy, Worker) {
    let mut channel = Channel::start().await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.take_from(&proxy.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    (channel, proxy, worker)
}

#[tokio::test]
async fn after_a_plain_pass_that_went_round_old_devices_wait_for_another_module_and_others_do_not() {
    let (channel, proxy, worker) = behind_a_proxy().await;
    let mut listener = channel.listen().await;
    let old = module(40 * CHUNK);
    channel.registry.push("wasm/add:1", old.clone()).await;

    // Slow enough to join: twenty seconds, until somebody has.
    proxy.throttle(2_000);
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
    until(&worker, &reference, |artifact| artifact.published > 0).await;
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let mut said = listener.until_heard().await;
    proxy.heal();
    while said.len() <= 40 {
        said.push(listener.hear().await);
    }
    worker.progress().wait_for(|progress| progress.totals.completed == 1).await.unwrap();
    let heard: Vec<_> = said
        .into_iter()
        .map(|said| match said {
            Said::Plain(chunk) => chunk,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(assembled(&heard), old);
    let _ = listener.rest().await;

    let new = module(40 * CHUNK + 1);
    channel.registry.push("wasm/add:1", new.clone()).await;
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let notice = listener.hear_an_error().await;
    assert_eq!((notice.code, notice.retryable), (ErrorCode::Busy, true));
    listener.ask(&json!({"app_name": "wasm/add:1", "device": "press-4"}).to_string()).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(assembled(&chunks), new, "devices that know digests hear it at once");
}

#[tokio::test]
async fn what_was_sent_before_it_could_be_verified_must_be_the_same_again_or_is_never_completed() {
    let mut channel = Channel::start().await;
    let bytes = module(20 * CHUNK);
    let registry = Gated::start(bytes.clone()).await;
    channel.take_from(&registry.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let ask = r#"{"app_name": "wasm/add:1"}"#;

    registry.deceive(10 * CHUNK);
    listener.ask(ask).await;
    for index in 0..10 {
        assert!(matches!(listener.hear().await, Said::Plain(chunk) if chunk.index == index));
    }
    registry.break_off();
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::RegistryUnavailable);

    // The registry is honest again: an old device would complete its corrupt part with the chunks that it lacks.
    registry.release(bytes.len());
    listener.ask(ask).await;
    for index in 0..10 {
        assert!(matches!(listener.hear().await, Said::Plain(chunk) if chunk.index == index));
    }
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::Busy, "it is served once the parts are gone");
    listener.ask(&json!({"app_name": "wasm/add:1", "device": "press-4"}).to_string()).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(assembled(&chunks), bytes);
}

/// The registry deceives in the middle of a plain pass, breaks off, and is honest from then on. Then `between` is asked for,
/// which is said in `heard` messages. Whether an old device that has heard everything completes something corrupt.
async fn completes_what_is_corrupt(between: Value, heard: usize) -> bool {
    let mut channel = Channel::start().await;
    let bytes = module(20 * CHUNK);
    let registry = Gated::start(bytes.clone()).await;
    channel.take_from(&registry.host);
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let mut device = OldDevice::default();

    registry.deceive(10 * CHUNK);
    listener.ask(ASK).await;
    for _ in 0..10 {
        device.take(&listener.hear().await);
    }
    registry.break_off();
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::RegistryUnavailable);
    registry.release(bytes.len());
    listener.ask(&between.to_string()).await;
    for _ in 0..heard {
        device.take(&listener.hear().await);
    }
    listener.ask(ASK).await;
    loop {
        match listener.hear().await {
            Said::Error(notice) => {
                assert_eq!(notice.code, ErrorCode::Busy);
                return false;
            }
            said if device.take(&said) => return true,
            _ => {}
        }
    }
}

const ASK: &str = r#"{"app_name": "wasm/add:1"}"#;

/// What it has of the module: the first write of an index wins.
#[derive(Default)]
struct OldDevice(BTreeMap<u32, Chunk>);

impl OldDevice {
    /// Hears something; whether it has all chunks by now.
    fn take(&mut self, said: &Said) -> bool {
        if let Said::Plain(chunk) = said
            && chunk.app_name == "wasm/add:1"
        {
            self.0.entry(chunk.index).or_insert_with(|| chunk.clone());
        }
        self.0.values().next().is_some_and(|chunk| chunk.total as usize == self.0.len())
    }
}

#[tokio::test]
async fn a_full_pass_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    assert!(!completes_what_is_corrupt(json!({"app_name": "wasm/add:1", "device": "press-4"}), 21).await);
}

#[tokio::test]
async fn another_name_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    assert!(!completes_what_is_corrupt(json!({"app_name": "wasm/other:1"}), 20).await);
}

#[tokio::test]
async fn a_pull_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    let digest = Digest::of(&module(20 * CHUNK));
    let pull =
        json!({"app_name": "wasm/add:1", "device": "d", "digest": digest, "chunk_size": CHUNK, "chunks": [[0, 0]]});
    assert!(!completes_what_is_corrupt(pull, 1).await);
}

#[tokio::test]
async fn an_old_device_that_came_in_the_middle_of_a_pass_does_not_mix_it_with_the_next_module() {
    let (channel, proxy, worker) = behind_a_proxy().await;
    let listener = channel.listen().await;
    channel.registry.push("wasm/add:1", module(40 * CHUNK)).await;
    proxy.throttle(4_000);
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
    until(&worker, &reference, |artifact| artifact.published > 0).await;
    // It has just booted: it hears the tail, and asks for nothing yet.
    let mut late = channel.listen().await;
    proxy.heal();
    worker.progress().wait_for(|progress| progress.totals.completed == 1).await.unwrap();
    let mut new = module(40 * CHUNK);
    new.iter_mut().skip(8).for_each(|byte| *byte ^= 1);
    channel.registry.push("wasm/add:1", new.clone()).await;
    late.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let mut device = OldDevice::default();
    loop {
        match late.hear().await {
            Said::Error(notice) => {
                assert_eq!(notice.code, ErrorCode::Busy, "it has to wait");
                assert!(!device.0.is_empty(), "it came too late");
                return;
            }
            said => assert!(!device.take(&said), "neither the old module nor the new one"),
        }
    }
}
