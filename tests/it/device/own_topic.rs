//! Devices that never listen to what is sent to everyone.

use futures::future::join_all;
use wasmproxy::{
    device::{Asked, Event, FetchOptions, Listen},
    digest::Digest,
    protocol::{ErrorCode, request::Wanted},
};

use super::{
    APP, Channel, Fetch,
    floor::{Floor, NAME},
    script::Module,
};
use crate::lab::FaultProxy;

fn pulling(floor: &Floor) -> FetchOptions {
    FetchOptions { listen: Listen::OwnTopic, ..floor.options() }
}

#[tokio::test]
async fn everything_comes_by_number_and_no_pass_is_made_for_it() {
    let floor = Floor::open().await;
    let bytes = floor.push(201).await;
    for (format, device) in [(Wanted::Json, "text"), (Wanted::Raw, "binary")] {
        let mut ears = floor.ears("#").await;
        // Nothing is lost here, so nobody is impatient.
        let silence = FetchOptions::SILENCE;
        let options = FetchOptions { format, device: device.parse().unwrap(), silence, ..pulling(&floor) };
        floor.fetch(options).end().await.unwrap();
        assert_eq!(floor.fetched(), bytes);
        let heard = ears.all().await;
        assert_eq!(heard.asked(), [1, 64, 64, 64, 9], "what it is, then each part when the one before it is here");
        assert_eq!((heard.by_number, heard.to_everyone, heard.complete), (201, 0, 0));
        let [told] = &heard.errors[..] else { panic!("{heard:?}") };
        let now = told.now.expect("what the reference means");
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        assert_eq!((&told.code, now.digest, now.size), (&ErrorCode::Changed, digest, size));
    }
}

#[tokio::test]
async fn many_pull_at_once_and_none_of_them_causes_a_pass() {
    let floor = Floor::open().await;
    let bytes = floor.push(70).await;
    let mut ears = floor.ears("#").await;
    let fetch = async |index: usize| {
        let (device, file) = (format!("device-{index}"), floor.file(&index.to_string()));
        let options = FetchOptions { device: device.parse().unwrap(), ..pulling(&floor) };
        Fetch::begin(NAME, file, options).end().await.unwrap().whole.digest
    };
    let fetched = join_all((0..12).map(fetch)).await;
    assert!(fetched.iter().all(|digest| *digest == Digest::of(&bytes)));
    let heard = ears.all().await;
    assert_eq!((heard.to_everyone, heard.complete), (0, 0));
    assert!(heard.asked().iter().all(|chunks| (1..=64).contains(chunks)), "{:?}", heard.asked());
}

#[tokio::test]
async fn a_tag_that_moves_half_way_brings_the_new_module_whole() {
    let floor = Floor::open().await;
    floor.push(300).await;
    let proxy = FaultProxy::to(&floor.channel.broker.host()).await;
    proxy.throttle(64 << 10);
    let mut fetch = floor.fetch(FetchOptions { listen: Listen::OwnTopic, ..floor.through(&proxy) });
    fetch.sees(|event| matches!(event, Event::Gathered { .. })).await;
    // Nothing more passes, either way, until the tag has moved.
    proxy.stall();
    let moved = floor.push(90).await;
    proxy.heal();
    assert_eq!(fetch.end().await.unwrap().whole.digest, Digest::of(&moved));
    assert_eq!(floor.fetched(), moved);
}

#[tokio::test]
async fn a_worker_that_does_not_say_what_a_reference_means_is_asked_for_a_pass() {
    let mut channel = Channel::open().await;
    let module = Module::new(1, 2500, 1000);
    let mut fetch = channel.fetch_with(APP, FetchOptions { listen: Listen::OwnTopic, ..channel.options() });
    assert!(channel.script.request().await.full.unwrap().missing.is_some());
    fetch.sees(|event| *event == Event::Asked { what: Asked::Meaning, unheard: false }).await;
    channel.script.error(ErrorCode::Changed, "begin anew").await;
    channel.script.request_for_all().await;
    channel.script.send(&module, module.chunks()).await;
    channel.script.complete(&module).await;
    assert_eq!(channel.script.request_by_number(&module).await, [0, 1, 2]);
    channel.script.send_to_device(&module, module.chunks()).await;
    fetch.end().await.unwrap();
}
