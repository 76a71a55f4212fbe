//! What is not said in plain, because old devices may keep parts of something else.

use serde_json::json;
use wasmproxy::{protocol::ErrorCode, registry::Reference, worker::AllowList};

use super::{
    channel::{CHUNK, Channel, Said, assembled, until, until_listening},
    gated::Gated,
};
use crate::{lab::FaultProxy, modules::module};

#[tokio::test]
async fn after_a_plain_pass_that_went_round_old_devices_wait_for_another_module_and_others_do_not() {
    let mut channel = Channel::start().await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.config.registry.host.clone_from(&proxy.host);
    channel.config.requests = Some(AllowList::anything_under(&proxy.host).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let old = module(40 * CHUNK);
    channel.registry.push("wasm/add:1", old.clone()).await;

    // Slow enough to join.
    proxy.throttle(40_000);
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
    until(&worker, &reference, |artifact| artifact.published > 0).await;
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    worker.progress().wait_for(|progress| progress.totals.completed == 1).await.unwrap();
    proxy.heal();
    let mut heard = Vec::new();
    while heard.len() <= 40 {
        match listener.hear().await {
            Said::Plain(chunk) => heard.push(chunk),
            other => panic!("{other:?}"),
        }
    }
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
    channel.config.registry.host.clone_from(&registry.host);
    channel.config.requests = Some(AllowList::anything_under(&registry.host).unwrap());
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
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::DigestMismatch);
    listener.ask(ask).await;
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::Busy);
    listener.ask(&json!({"app_name": "wasm/add:1", "device": "press-4"}).to_string()).await;
    let (chunks, _) = listener.hear_a_pass().await;
    assert_eq!(assembled(&chunks), bytes);
}

/// The registry deceives in the middle of a plain pass, breaks off, and is honest from then on. Meanwhile `other` is
/// said. Whether an old device that has heard everything then completes something, and what.
async fn completed_by_an_old_device(others: &[&str]) -> Option<Vec<u8>> {
    let mut channel = Channel::start().await;
    let bytes = module(20 * CHUNK);
    let registry = Gated::start(bytes.clone()).await;
    channel.config.registry.host.clone_from(&registry.host);
    channel.config.requests = Some(AllowList::anything_under(&registry.host).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let ask = r#"{"app_name": "wasm/add:1"}"#;
    // First write wins, as in an old device.
    let mut gathered = std::collections::BTreeMap::new();

    registry.deceive(10 * CHUNK);
    listener.ask(ask).await;
    for _ in 0..10 {
        let Said::Plain(chunk) = listener.hear().await else { panic!() };
        gathered.entry(chunk.index).or_insert(chunk);
    }
    registry.break_off();
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::RegistryUnavailable);
    registry.release(bytes.len());
    for other in others {
        listener.ask(other).await;
        loop {
            match listener.hear().await {
                Said::Error(_) | Said::Complete(_) => break,
                _ => {}
            }
        }
    }
    // Past the rest after what failed.
    for _ in 0..3 {
        listener.ask(ask).await;
        loop {
            match listener.hear().await {
                Said::Plain(chunk) if chunk.app_name == "wasm/add:1" => {
                    gathered.entry(chunk.index).or_insert(chunk);
                    if gathered.len() == 20 {
                        let chunks: Vec<_> = gathered.into_values().collect();
                        return Some(assembled(&chunks));
                    }
                }
                Said::Error(notice) if notice.code == ErrorCode::Busy => return None,
                Said::Error(_) => break,
                _ => {}
            }
        }
    }
    None
}

#[tokio::test]
async fn a_full_pass_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    let completed = completed_by_an_old_device(&[r#"{"app_name": "wasm/add:1", "device": "press-4"}"#]).await;
    assert!(completed.is_none_or(|bytes| bytes == module(20 * CHUNK)), "an old device has a corrupt module");
}

#[tokio::test]
async fn another_name_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    let completed = completed_by_an_old_device(&[r#"{"app_name": "wasm/other:1"}"#]).await;
    assert!(completed.is_none_or(|bytes| bytes == module(20 * CHUNK)), "an old device has a corrupt module");
}

#[tokio::test]
async fn a_pull_in_between_does_not_let_an_old_device_complete_what_is_corrupt() {
    let bytes = module(20 * CHUNK);
    let digest = wasmproxy::digest::Digest::of(&bytes);
    let pull = json!({"app_name": "wasm/add:1", "device": "d", "digest": digest, "chunk_size": CHUNK, "chunks": [[0, 0]]});
    let mut channel = Channel::start().await;
    let registry = Gated::start(bytes.clone()).await;
    channel.config.registry.host.clone_from(&registry.host);
    channel.config.requests = Some(AllowList::anything_under(&registry.host).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    let mut listener = channel.listen().await;
    let ask = r#"{"app_name": "wasm/add:1"}"#;
    registry.deceive(10 * CHUNK);
    listener.ask(ask).await;
    for _ in 0..10 {
        assert!(matches!(listener.hear().await, Said::Plain(_)));
    }
    registry.break_off();
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::RegistryUnavailable);
    registry.release(bytes.len());
    listener.ask(&pull.to_string()).await;
    assert!(matches!(listener.hear().await, Said::Device(..)));
    listener.ask(ask).await;
    assert!(!matches!(listener.hear().await, Said::Plain(_)), "old devices complete their corrupt parts");
    #[cfg(any())]
    assert_eq!(listener.hear_an_error().await.code, ErrorCode::DigestMismatch);
}

#[tokio::test]
async fn an_old_device_that_came_in_the_middle_of_a_pass_does_not_mix_it_with_the_next_module() {
    let mut channel = Channel::start().await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.config.registry.host.clone_from(&proxy.host);
    channel.config.requests = Some(AllowList::anything_under(&proxy.host).unwrap());
    let worker = channel.worker();
    until_listening(&worker).await;
    let listener = channel.listen().await;
    channel.registry.push("wasm/add:1", module(40 * CHUNK)).await;
    proxy.throttle(40_000);
    listener.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
    until(&worker, &reference, |artifact| artifact.published > 0).await;
    // It has just booted: it hears the tail, and asks for nothing yet.
    let mut late = channel.listen().await;
    worker.progress().wait_for(|progress| progress.totals.completed == 1).await.unwrap();
    proxy.heal();
    let mut new = module(40 * CHUNK);
    new.iter_mut().skip(8).for_each(|byte| *byte ^= 1);
    channel.registry.push("wasm/add:1", new.clone()).await;
    late.ask(r#"{"app_name": "wasm/add:1"}"#).await;
    // First write wins, as in an old device.
    let mut gathered = std::collections::BTreeMap::new();
    while gathered.len() < 40 {
        match late.hear().await {
            Said::Plain(chunk) => drop(gathered.entry(chunk.index).or_insert(chunk)),
            // It has to wait.
            Said::Error(notice) if notice.code == ErrorCode::Busy => return,
            other => panic!("{other:?}"),
        }
    }
    assert!(assembled(&gathered.into_values().collect::<Vec<_>>()) == new, "neither the old module nor the new one");
}
