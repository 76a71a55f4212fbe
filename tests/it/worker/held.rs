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
