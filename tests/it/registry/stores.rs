//! Registries that send us elsewhere for a blob, to an address that is good for a while.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use axum::{body::Body, extract::Request, response::Response};
use wasmproxy::registry::RegistryError;

use super::servers::stand_in::{StandIn, with_ranges};
use super::{module, read, registry, resolved};
use crate::lab::{Direction, FaultProxy};

const SIZE: usize = 2_000_000;

/// A registry that signs an address for each request, a store that takes only the signature that was given last, and
/// what lies between the store and its clients.
struct Stores {
    registry: StandIn,
    store: StandIn,
    proxy: FaultProxy,
}

impl Stores {
    /// `answer` says what the store answers to the so-manieth request, from 1, if its signature is good.
    async fn start(answer: impl Fn(&Request, u32) -> Response + Clone + Send + Sync + 'static) -> Self {
        let signed = Arc::<AtomicU32>::default();
        let valid = signed.clone();
        let store = StandIn::start(move |request| match request.uri().query() {
            Some(query) if query == format!("signature={}", valid.load(SeqCst)) => answer(request, valid.load(SeqCst)),
            _ => status(403),
        })
        .await;
        let proxy = FaultProxy::to(&store.host).await;
        let address = format!("http://{}/blob", proxy.host);
        let registry = StandIn::start(move |_| {
            let address = format!("{address}?signature={}", signed.fetch_add(1, SeqCst) + 1);
            Response::builder().status(307).header("location", address).body(Body::empty()).unwrap()
        })
        .await;
        Self { registry, store, proxy }
    }

    async fn read(&self, bytes: &[u8]) -> (Vec<u8>, Result<(), RegistryError>) {
        match registry(&self.registry.host).open(&resolved(&self.registry.host, bytes)).await {
            Ok(mut reader) => read(&mut reader).await,
            Err(error) => (Vec::new(), Err(error)),
        }
    }
}

fn status(status: u16) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_transfer_that_breaks_in_the_store_goes_on_with_an_address_asked_anew() {
    let bytes = module(SIZE);
    let blob = bytes.clone();
    let stores = Stores::start(move |request, _| with_ranges(request, &blob)).await;
    stores.proxy.cut_after(Direction::ToClient, [500_000, 20, 700_000]);
    let (came, result) = stores.read(&bytes).await;
    result.unwrap();
    assert!(came == bytes);
    assert_eq!(stores.registry.seen().len(), 4, "once, and once for each cut");
    let signatures: Vec<_> = stores.store.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(signatures, (1..=4).map(|i| format!("/blob?signature={i}")).collect::<Vec<_>>());
    let ranges = stores.proxy.lines("range: bytes=");
    let ranges: Vec<usize> = ranges.iter().map(|range| range.strip_suffix('-').unwrap().parse().unwrap()).collect();
    assert!(ranges.len() == 3 && ranges[0] == ranges[1] && ranges[1] < ranges[2], "{ranges:?}");
}

#[tokio::test]
async fn what_a_store_refuses_for_good_is_said_without_the_address() {
    for (code, is_right) in [
        (403, (|error| matches!(error, RegistryError::Forbidden { .. })) as fn(&RegistryError) -> bool),
        (404, |error| matches!(error, RegistryError::NotFound { .. })),
        (410, |error| matches!(error, RegistryError::InvalidResponse { .. })),
    ] {
        let bytes = module(SIZE);
        let blob = bytes.clone();
        // It begins well.
        let answer = move |request: &Request, time| if time == 1 { with_ranges(request, &blob) } else { status(code) };
        let stores = Stores::start(answer).await;
        stores.proxy.cut_after(Direction::ToClient, [500_000]);
        let (came, result) = stores.read(&bytes).await;
        let error = result.unwrap_err();
        assert!(is_right(&error) && !error.is_retryable() && came.len() < SIZE, "{error:?}");
        assert!(!error.to_string().contains("signature"), "{error}");
        assert_eq!(stores.store.seen().len(), 2, "it is not asked again");
    }
}

#[tokio::test]
async fn a_store_with_another_blob_is_found_out() {
    let bytes = module(SIZE);
    let mut other = bytes.clone();
    other[SIZE - 1] ^= 1;
    let stores = Stores::start(move |request, _| with_ranges(request, &other)).await;
    stores.proxy.cut_after(Direction::ToClient, [500_000]);
    let (came, result) = stores.read(&bytes).await;
    assert!(matches!(result, Err(RegistryError::DigestMismatch { .. })), "{result:?}");
    assert!(came.len() < SIZE, "the last bytes are held back");
}
