//! Transfers that are cut, anywhere.

use futures::{StreamExt, stream};
use wasmproxy::{
    registry::{Module, Registry, RegistryOptions},
    tls::TlsOptions,
};

use super::servers::stand_in::StandIn;
use super::{module, options, read, registry, resolved};
use crate::lab::{self, Direction, FaultProxy};

const SIZE: usize = 100_000;

/// Reads a module, and returns where its transfers began. It comes whole, whatever the proxy does.
async fn starts(proxy: &FaultProxy, bytes: &[u8]) -> Vec<u64> {
    let module = resolved(&proxy.host, bytes);
    // Nobody needs to be trusted over plain HTTP, and a thousand clients need not read whom the system trusts.
    let tls = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    let registry = Registry::new(RegistryOptions { tls, ..options(&proxy.host) }).unwrap();
    let (came, result) = read(&mut registry.open(&module).await.unwrap()).await;
    result.unwrap();
    assert!(came == bytes);
    let ranges = proxy.lines("range: bytes=");
    let resumed = ranges.iter().map(|range| range.strip_suffix('-').unwrap().parse().unwrap());
    let whole = vec![0; proxy.connections() - ranges.len()];
    whole.into_iter().chain(resumed).collect()
}

/// Places to cut an answer of `head` bytes before its body: every one up to a little behind the head, some in between,
/// those around what is read at once, and the last.
fn places(head: u64, end: u64) -> Vec<u64> {
    let reads = (head..end).step_by(16 * 1024).flat_map(|read| [read - 1, read, read + 1]);
    let spread = (0..end).step_by(1009);
    (0..head + 20).chain(reads).chain(spread).chain(end - 20..=end).collect()
}

/// Cuts the first transfer of a module everywhere; `check` sees the place, how many bytes of the module came before it, and
/// where transfers began.
async fn cut_everywhere(upstream: &str, bytes: &[u8], check: impl Fn(u64, u64, &[u64])) {
    let whole = FaultProxy::to(upstream).await;
    starts(&whole, bytes).await;
    let end = whole.sent(Direction::ToClient);
    let head = end - bytes.len() as u64;
    let cut = async |place: u64| {
        let proxy = FaultProxy::start(upstream, [place]).await;
        check(place, place.saturating_sub(head), &starts(&proxy, bytes).await);
        u64::from(place < end)
    };
    let cuts: u64 =
        stream::iter(places(head, end)).map(cut).buffer_unordered(128).collect::<Vec<_>>().await.iter().sum();
    assert!(cuts > 200, "{cuts}");
}

#[tokio::test]
async fn a_transfer_goes_on_wherever_it_was_cut() {
    let server = lab::Registry::start().await;
    let bytes = module(SIZE);
    server.push("add:1", bytes.clone()).await;
    cut_everywhere(&server.host(), &bytes, |place, came, starts| match starts {
        [0] => assert_eq!(came, SIZE as u64, "cut at {place}"),
        [0, 0] => assert!(came < 100, "cut at {place}, {came} bytes came and went"),
        [0, resumed] => assert!(*resumed <= came && came < SIZE as u64, "cut at {place}, resumed at {resumed}"),
        other => panic!("cut at {place}: {other:?}"),
    })
    .await;
}

#[tokio::test]
async fn a_transfer_begins_anew_wherever_it_was_cut_where_there_are_no_ranges() {
    let bytes = module(SIZE);
    let blob = bytes.clone();
    let server = StandIn::start(move |_| axum::response::Response::new(axum::body::Body::from(blob.clone()))).await;
    cut_everywhere(&server.host, &bytes, |place, came, starts| {
        assert!(starts.len() == if came == SIZE as u64 { 1 } else { 2 }, "cut at {place}: {starts:?}");
    })
    .await;
}

#[tokio::test]
async fn a_transfer_that_is_cut_again_and_again_ends_as_long_as_something_comes() {
    let server = lab::Registry::start().await;
    let bytes = module(2_000_000);
    server.push("add:1", bytes.clone()).await;
    // Far more cuts than attempts without progress.
    let proxy = FaultProxy::start(&server.host(), (0..20).map(|i| 50_000 + i * 7001)).await;
    let starts = starts(&proxy, &bytes).await;
    assert!(starts.len() > 12 && starts.is_sorted(), "{starts:?}");
}

#[tokio::test]
async fn an_end_without_a_farewell_is_no_worse() {
    let server = lab::Registry::start().await;
    let bytes = module(8 << 20);
    server.push("add:1", bytes.clone()).await;
    let proxy = FaultProxy::to(&server.host()).await;
    let module: Module = resolved(&proxy.host, &bytes);
    let mut reader = registry(&proxy.host).open(&module).await.unwrap();
    let mut came = reader.next().await.unwrap().unwrap().to_vec();
    proxy.cut();
    let (rest, result) = read(&mut reader).await;
    result.unwrap();
    came.extend(rest);
    assert!(came == bytes && proxy.connections() == 2);
}
