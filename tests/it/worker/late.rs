//! Devices that join a pass under way, at places that the test knows.

use serde_json::json;
use wasmproxy::{
    protocol::{Chunk, ErrorCode},
    registry::Reference,
    worker::{AllowList, Worker},
};

use super::{
    channel::{CHUNK, Channel, Listener, Said, assembled, until, until_listening},
    gated::Gated,
};
use crate::modules::module;

const NAME: &str = "wasm/add:1";
const CHUNKS: usize = 20;

/// A pass of [`CHUNKS`] chunks, as far as the registry lets it.
struct Late {
    _channel: Channel,
    registry: Gated,
    worker: Worker,
    listener: Listener,
    asked: usize,
    heard: Vec<Chunk>,
}

impl Late {
    async fn start() -> Self {
        let mut channel = Channel::start().await;
        let registry = Gated::start(module(CHUNK * CHUNKS)).await;
        channel.config.registry.host.clone_from(&registry.host);
        channel.config.requests = Some(AllowList::new([format!("{}/wasm/**", registry.host)]).unwrap());
        let worker = channel.worker();
        until_listening(&worker).await;
        let listener = channel.listen().await;
        Self { _channel: channel, registry, worker, listener, asked: 0, heard: Vec::new() }
    }

    /// Lets so many chunks out, and waits until they are.
    async fn let_out(&self, chunks: usize) {
        self.registry.release(chunks * CHUNK);
        let reference = Reference::parse(NAME, &self.registry.host).unwrap();
        until(&self.worker, &reference, |artifact| artifact.published as usize >= chunks).await;
    }

    /// A device asks; when this ends the worker has heard it.
    async fn ask(&mut self, full: bool) {
        let device = if full { json!("press-4") } else { json!(null) };
        self.listener.ask(&json!({"app_name": NAME, "device": device}).to_string()).await;
        // Answered after what was asked before it.
        self.asked += 1;
        let other = format!("other/{}", self.asked);
        self.listener.ask(&json!({"app_name": other}).to_string()).await;
        loop {
            match self.listener.hear().await {
                Said::Full(chunk) | Said::Plain(chunk) => self.heard.push(chunk),
                Said::Error(notice) => {
                    assert_eq!((notice.app_name, notice.code), (other, ErrorCode::NotAllowed));
                    return;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Everything said since the first request, which is so many chunks.
    async fn hear_all(&mut self, chunks: usize) -> &[Chunk] {
        while self.heard.len() < chunks {
            match self.listener.hear().await {
                Said::Full(chunk) | Said::Plain(chunk) => self.heard.push(chunk),
                other => panic!("{other:?}"),
            }
        }
        &self.heard
    }
}

fn indexes(chunks: &[Chunk]) -> Vec<usize> {
    chunks.iter().map(|chunk| chunk.index as usize).collect()
}

#[tokio::test]
async fn whoever_joins_the_wrap_round_is_sent_once_for_all() {
    for full in [true, false] {
        let mut late = Late::start().await;
        late.ask(full).await;
        for (chunks, joining) in [(3, 1), (7, 5), (CHUNKS - 1, 0)] {
            late.let_out(chunks).await;
            for _ in 0..joining {
                late.ask(full).await;
            }
        }
        late.registry.release(CHUNKS * CHUNK);
        let heard = late.hear_all(CHUNKS + 7).await;
        assert_eq!(indexes(heard), (0..CHUNKS).chain(0..7).collect::<Vec<_>>());
        assert_eq!(assembled(heard), module(CHUNK * CHUNKS));
        if full {
            assert!(matches!(late.listener.hear().await, Said::Complete(_)));
        }
        assert_eq!(late.listener.rest().await, 0, "nothing else is said");
    }
}

#[tokio::test]
async fn who_joins_before_the_last_chunk_misses_all_others_and_gets_them() {
    let mut late = Late::start().await;
    late.ask(true).await;
    late.let_out(CHUNKS - 1).await;
    late.ask(true).await;
    late.registry.release(CHUNKS * CHUNK);
    let heard = late.hear_all(2 * CHUNKS - 1).await;
    assert_eq!(indexes(heard), (0..CHUNKS).chain(0..CHUNKS - 1).collect::<Vec<_>>());
}

#[tokio::test]
async fn who_asks_before_the_first_chunk_has_missed_nothing() {
    let mut late = Late::start().await;
    for _ in 0..5 {
        late.ask(true).await;
    }
    late.registry.release(CHUNKS * CHUNK);
    assert_eq!(indexes(late.hear_all(CHUNKS).await), (0..CHUNKS).collect::<Vec<_>>());
    assert!(matches!(late.listener.hear().await, Said::Complete(_)));
    assert_eq!(late.listener.rest().await, 0);
}

#[tokio::test]
async fn plain_and_full_devices_each_join_a_pass_of_their_own() {
    let mut late = Late::start().await;
    late.ask(true).await;
    late.let_out(5).await;
    late.ask(false).await;
    late.registry.release(CHUNKS * CHUNK);
    // The other pass may have said something before it was known that it was asked for.
    let (mut full, mut plain): (Vec<_>, Vec<_>) =
        std::mem::take(&mut late.heard).into_iter().partition(|chunk| chunk.whole.is_some());
    while plain.len() < CHUNKS || full.len() < CHUNKS {
        match late.listener.hear().await {
            Said::Plain(chunk) => plain.push(chunk),
            Said::Full(chunk) => full.push(chunk),
            Said::Complete(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(assembled(&plain), assembled(&full));
}
