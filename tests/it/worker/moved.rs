//! A tag that moves while its module is on its way.

use wasmproxy::{digest::Digest, protocol::Chunk, registry::Reference, worker::AllowList};

use super::channel::{CHUNK, Channel, Said, assembled, until};
use crate::{lab::FaultProxy, modules::module};

/// Every digest that these chunks say that they belong to.
fn digests(chunks: &[Chunk]) -> Vec<Digest> {
    let mut digests: Vec<_> = chunks.iter().map(|chunk| chunk.whole.unwrap().0).collect();
    digests.dedup();
    digests
}

fn chunk(said: Said) -> Chunk {
    match said {
        Said::Full(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tag_that_moves_in_the_middle_of_a_pass_mixes_nothing_and_the_next_pass_brings_the_new() {
    let mut channel = Channel::start().await;
    let before = module(CHUNK * 600);
    let after: Vec<_> = module(CHUNK * 601)[..CHUNK * 600].iter().rev().copied().collect();
    let after = [&before[..8], &after[8..]].concat();
    let old = channel.registry.push("wasm/add:1", before.clone()).await;
    let proxy = FaultProxy::to(&channel.registry.host()).await;
    channel.config.registry.host.clone_from(&proxy.host);
    channel.config.requests = AllowList::anything_under(&proxy.host).ok();
    let reference = Reference::parse("wasm/add:1", &proxy.host).unwrap();
    channel.declare("wasm/add:1").reference = reference.clone();
    let mut listener = channel.listen().await;

    // Twenty seconds for all of it, until the tag has moved.
    proxy.throttle(CHUNK as u64 * 30);
    let worker = channel.worker();
    until(&worker, &reference, |artifact| artifact.published >= 100).await;
    let new = channel.registry.push("wasm/add:1", after.clone()).await;
    // What is left is asked for when the tag means another module of the same size, and so is what a late device missed.
    proxy.cut();
    listener.ask(r#"{"app_name": "wasm/add:1", "device": "late"}"#).await;
    let before_that = listener.until_heard().await;
    proxy.throttle(None);

    let mut chunks: Vec<_> = before_that.into_iter().map(chunk).collect();
    let (rest, complete) = listener.hear_a_pass().await;
    chunks.extend(rest);
    assert!(proxy.lines("range: bytes=").iter().any(|range| range != "0-"), "the transfer was resumed");
    assert!(chunks.len() >= 700, "{}: and what the late device missed was read again", chunks.len());
    assert_eq!((digests(&chunks), complete.digest), (vec![old], old));
    assert!(assembled(&chunks) == before);

    let (chunks, complete) = listener.hear_a_pass().await;
    assert_eq!((digests(&chunks), complete.digest), (vec![new], new));
    assert!(assembled(&chunks) == after);
}
