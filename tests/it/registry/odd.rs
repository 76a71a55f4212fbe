//! Registries that do what no good one does.

use std::time::Duration;

use axum::{body::Body, extract::Request, response::Response};
use futures::{future::join_all, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wasmproxy::{
    digest::Digest,
    registry::{Registry, RegistryError, RegistryOptions},
};

use super::servers::stand_in::{StandIn, with_ranges};
use super::{manifest, module, options, pull, read, refusal, registry, resolved};
use crate::lab::FaultProxy;

fn status(status: u16) -> axum::http::response::Builder {
    Response::builder().status(status)
}

/// A server that answers everybody with this head, from the status on, and this body, whatever they want. It ends with
/// the test.
async fn raw(head: &str, body: Vec<u8>) -> String {
    let answer = [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), &body].concat();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 4096]).await;
                let _ = client.write_all(&answer).await;
            });
        }
    });
    host
}

/// A body without end, and without a length.
fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, std::convert::Infallible>(module(64 * 1024))))
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_anew_up_to_the_byte_reached() {
    let bytes = module(2_000_000);
    let blob = bytes.clone();
    let server = StandIn::start(move |_| Response::new(Body::from(blob.clone()))).await;
    let proxy = FaultProxy::start(&server.host, [500_000, 400_000, 1_500_000]).await;
    let registry = registry(&proxy.host);
    let (came, result) = read(&mut registry.open(&resolved(&proxy.host, &bytes)).await.unwrap()).await;
    result.unwrap();
    assert!(came == bytes);
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn another_range_than_was_asked_for_is_refused() {
    let bytes = module(1000);
    for range in ["bytes 400-999/1000", "bytes */1000", "500-999/1000"] {
        let blob = bytes.clone();
        let answer =
            move |_: &Request| status(206).header("content-range", range).body(Body::from(blob.clone())).unwrap();
        let server = StandIn::start(answer).await;
        let result = registry(&server.host).open_at(&resolved(&server.host, &bytes), 500).await;
        assert!(matches!(result.err(), Some(RegistryError::InvalidResponse { .. })), "{range}");
    }
}

#[tokio::test]
async fn a_range_of_a_blob_of_another_size_is_refused() {
    let bytes = module(1000);
    for answer in [
        || status(206).header("content-range", "bytes 500-998/999").body(Body::from(vec![0; 499])).unwrap(),
        || status(206).header("content-range", "bytes 500-1000/*").body(Body::from(vec![0; 501])).unwrap(),
        || status(416).header("content-range", "bytes */500").body(Body::empty()).unwrap(),
    ] {
        let server = StandIn::start(move |_| answer()).await;
        let result = registry(&server.host).open_at(&resolved(&server.host, &bytes), 500).await;
        assert!(matches!(result.err(), Some(RegistryError::SizeMismatch { expected: 1000, .. })));
    }
}

#[tokio::test]
async fn lengths_that_cannot_be_are_refused() {
    let bytes = module(1000);
    for head in [
        "200 OK\r\ncontent-length: 999",
        "200 OK\r\ncontent-length: 1001",
        "200 OK\r\ncontent-length: 18446744073709551613",
        "206 Partial Content\r\ncontent-range: bytes 0-999/1000\r\ncontent-length: 1001",
    ] {
        let host = raw(head, bytes.clone()).await;
        let result = registry(&host).open(&resolved(&host, &bytes)).await;
        assert!(matches!(result.err(), Some(RegistryError::SizeMismatch { expected: 1000, .. })), "{head}");
    }
    let head = "206 Partial Content\r\ncontent-range: bytes 999-999/1000\r\ncontent-length: 18446744073709551613";
    let host = raw(head, bytes.clone()).await;
    let result = registry(&host).open_at(&resolved(&host, &bytes), 999).await;
    assert!(matches!(result.err(), Some(RegistryError::SizeMismatch { actual: u64::MAX, .. })));
}

#[tokio::test]
async fn lengths_that_are_none_are_no_answer() {
    // All at once: each is tried several times.
    join_all(["-5", "x", "99999999999999999999", "1000\r\ncontent-length: 1001", ""].map(async |length| {
        let host = raw(&format!("200 OK\r\ncontent-length: {length}"), module(1000)).await;
        let error = refusal(&registry(&host), "add:1").await;
        assert!(error.is_retryable(), "{length}: {error}");
    }))
    .await;
}

#[tokio::test]
async fn more_than_a_range_should_hold_is_refused() {
    let bytes = module(1000);
    let answer = |_: &Request| {
        let response = status(206).header("content-range", "bytes 500-999/1000");
        response.body(Body::from_stream(stream::iter([Ok::<_, std::convert::Infallible>(vec![0; 501])]))).unwrap()
    };
    let server = StandIn::start(answer).await;
    let mut reader = registry(&server.host).open_at(&resolved(&server.host, &bytes), 500).await.unwrap();
    let result = reader.next().await;
    assert!(matches!(result, Err(RegistryError::SizeMismatch { expected: 1000, .. })), "{result:?}");
}

#[tokio::test]
async fn an_endless_blob_ends_where_the_module_should() {
    let server = StandIn::start(|_| Response::new(endless())).await;
    let bytes = module(1_000_000);
    let registry = registry(&server.host);
    let (came, result) = read(&mut registry.open(&resolved(&server.host, &bytes)).await.unwrap()).await;
    assert!(matches!(result, Err(RegistryError::SizeMismatch { expected: 1_000_000, .. })), "{result:?}");
    assert!(came.len() < 1_000_000);
}

#[tokio::test]
async fn an_endless_manifest_is_given_up() {
    let server = StandIn::start(|_| Response::new(endless())).await;
    let error = refusal(&registry(&server.host), "add:1").await;
    assert!(matches!(error, RegistryError::InvalidResponse { .. }), "{error}");
}

#[tokio::test]
async fn a_manifest_is_read_up_to_four_mebibytes() {
    for (size, is_read) in [(4 << 20, true), ((4 << 20) + 1, false)] {
        let server = StandIn::start(move |_| Response::new(Body::from(vec![b' '; size]))).await;
        match refusal(&registry(&server.host), "add:1").await {
            RegistryError::UnsupportedArtifact { .. } => assert!(is_read, "nothing but spaces"),
            RegistryError::InvalidResponse { reason, .. } => assert!(!is_read && reason.contains("longer"), "{reason}"),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_manifest_is_read_to_a_depth() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let json = format!("{{\"layers\": {}1{}}}", open.repeat(100_000), close.repeat(100_000));
        let server = StandIn::start(move |_| Response::new(Body::from(json.clone()))).await;
        let error = refusal(&registry(&server.host), "add:1").await;
        assert!(matches!(error, RegistryError::UnsupportedArtifact { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_the_pinned_one_is_refused() {
    let json = manifest(&module(100));
    let actual = Digest::of(json.as_bytes());
    let server = StandIn::start(move |_| Response::new(Body::from(json.clone()))).await;
    let pinned = Digest::of(b"another");
    match refusal(&registry(&server.host), &format!("add@{pinned}")).await {
        RegistryError::DigestMismatch { expected, actual: found, .. } => {
            assert_eq!((expected, found), (pinned, actual));
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn each_refusal_says_whether_to_come_back_and_when() {
    // Longer than anybody waits by themselves.
    let asked = Duration::from_secs(31);
    for (code, retryable) in [(429, true), (500, true), (503, true), (403, false), (404, false), (418, false)] {
        let server =
            StandIn::start(move |_| status(code).header("retry-after", "31").body(Body::empty()).unwrap()).await;
        let error = refusal(&registry(&server.host), "add:1").await;
        assert_eq!(error.is_retryable(), retryable, "{error}");
        if let RegistryError::Unavailable { retry_after, .. } = error {
            assert_eq!(retry_after, Some(asked));
        }
    }
}

#[tokio::test]
async fn redirects_end_and_stay_within_tls() {
    for (target, reason) in
        [("/again", "without end"), ("http://localhost:1/x?secret", "without TLS"), ("http://", "nowhere")]
    {
        let server = StandIn::start(move |_| status(302).header("location", target).body(Body::empty()).unwrap()).await;
        let error = refusal(&registry(&server.host), "add:1").await.to_string();
        assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        assert!(server.seen().len() <= 6);
    }
}

#[tokio::test]
async fn a_token_service_without_tls_elsewhere_is_not_asked() {
    let server = StandIn::start(|_| {
        let challenge = "Bearer realm=\"http://localhost:1/token\"";
        status(401).header("www-authenticate", challenge).body(Body::empty()).unwrap()
    })
    .await;
    let error = refusal(&registry(&server.host), "add:1").await.to_string();
    assert!(error.contains("localhost:1") && error.contains("without TLS"), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_in_the_middle_of_a_transfer() {
    let bytes = module(1_000_000);
    let blob = bytes.clone();
    let is_busy = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let server = StandIn::start(move |_| match is_busy.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        1 => status(503).header("retry-after", "0").body(Body::empty()).unwrap(),
        _ => Response::new(Body::from(blob.clone())),
    })
    .await;
    let proxy = FaultProxy::start(&server.host, [500_000]).await;
    let registry = registry(&proxy.host);
    let (came, result) = read(&mut registry.open(&resolved(&proxy.host, &bytes)).await.unwrap()).await;
    result.unwrap();
    assert!(came == bytes);
    assert!(pull(&registry, "add:1").await.is_err(), "a blob is no manifest");
}

#[tokio::test]
async fn redirects_take_no_longer_together_than_one_answer() {
    let server = StandIn::start(|_| status(302).header("location", "/again").body(Body::empty()).unwrap()).await;
    let proxy = FaultProxy::to(&server.host).await;
    // Each of them in time, but not all.
    proxy.delay(Duration::from_millis(50));
    let options = RegistryOptions { timeout: Duration::from_millis(300), ..options(&proxy.host) };
    let error = refusal(&Registry::new(options).unwrap(), "add:1").await;
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn a_registry_without_ranges_is_known_for_it_once_it_was_asked_for_a_part() {
    let bytes = module(1000);
    let blob = bytes.clone();
    let without = StandIn::start(move |_| Response::new(Body::from(blob.clone()))).await;
    let blob = bytes.clone();
    let with = StandIn::start(move |request| with_ranges(request, &blob)).await;
    for (server, offset, expected) in [(&without, 0, true), (&without, 500, false), (&with, 500, true)] {
        let reader = registry(&server.host).open_at(&resolved(&server.host, &bytes), offset).await.unwrap();
        assert_eq!(reader.knows_ranges(), expected, "{offset}");
    }
}
