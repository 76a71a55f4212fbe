//! Registries that are busy, slow or silent, and tokens that end in the middle: what is waited for, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    http::response::Builder,
    response::{IntoResponse, Response},
};
use futures::{StreamExt as _, stream};
use tempfile::TempDir;
use wasmproxy::registry::{Cache, Registry, RegistryError, RegistryOptions};

use super::{
    manifest, module, options, pull, read, registry, resolve,
    servers::stand_in::{StandIn, header},
};
use crate::lab::{self, FaultProxy};

/// Short, so that nobody waits long for what never comes.
const TIMEOUT: Duration = Duration::from_millis(300);

fn impatient(host: &str) -> Registry {
    Registry::new(RegistryOptions { timeout: TIMEOUT, ..options(host) }).unwrap()
}

/// The same, with a cache.
fn impatient_with_cache(host: &str) -> (Registry, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Some(Cache::open(dir.path(), 1 << 30).unwrap());
    (Registry::new(RegistryOptions { timeout: TIMEOUT, cache, ..options(host) }).unwrap(), dir)
}

fn status(status: u16) -> Builder {
    Response::builder().status(status)
}

/// Where a request for a blob has it begin, and the head of the answer.
fn part(request: &Request, blob: &[u8]) -> (usize, Builder) {
    let range = header(request, "range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
    match range.map(|start| start.parse::<usize>().unwrap()) {
        None => (0, status(200)),
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
            (start, status(206).header("content-range", range))
        }
    }
}

/// A byte now and then.
fn trickle(bytes: impl Iterator<Item = u8> + Send + 'static) -> Body {
    let slowly = stream::iter(bytes).then(async |byte| {
        tokio::time::sleep(TIMEOUT / 10).await;
        Ok::<_, std::convert::Infallible>(vec![byte])
    });
    Body::from_stream(slowly)
}

/// A JSON document that has no end.
fn endless_document() -> Response {
    Response::new(trickle(std::iter::once(b'{').chain(std::iter::repeat(b' '))))
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_for_a_manifest_and_a_blob() {
    for code in [408, 429, 500, 502, 503, 504] {
        let bytes = module(1000);
        let (json, blob, asked) = (manifest(&bytes), bytes.clone(), AtomicU32::new(0));
        let asked = Arc::new(asked);
        let server = StandIn::start(move |request| {
            let is_blob = request.uri().path().contains("/blobs/");
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 | 1 | 3 => status(code).header("retry-after", "0").body(Body::empty()).unwrap(),
                _ if is_blob => blob.clone().into_response(),
                _ => json.clone().into_response(),
            }
        })
        .await;
        assert!(pull(&registry(&server.host), "add:1").await.unwrap() == bytes);
        assert_eq!(server.seen().len(), 5, "{code}");
    }
}

#[tokio::test]
async fn a_registry_that_stays_busy_is_given_up_and_one_that_refuses_at_once() {
    for (code, requests) in [(503, 6), (403, 1), (404, 1), (418, 1)] {
        let server = StandIn::start(move |_| status(code).body(Body::empty()).unwrap()).await;
        let error = resolve(&registry(&server.host), "add:1").await.unwrap_err();
        assert_eq!((error.is_retryable(), server.seen().len()), (requests > 1, requests), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_in_a_manifest_is_made_again() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(1000)).await;
    let proxy = FaultProxy::start(&server.host(), [0, 100, 300]).await;
    assert!(pull(&registry(&proxy.host), "add:1").await.unwrap() == module(1000));
    assert_eq!(proxy.connections(), 4);
}

#[tokio::test]
async fn a_transfer_that_falls_silent_goes_on_by_another_connection() {
    let server = lab::Registry::start().await;
    // More than fits into the buffers between us and the registry.
    let bytes = module(64 << 20);
    server.push("add:1", bytes.clone()).await;
    let proxy = FaultProxy::start(&server.host(), []).await;
    let registry = impatient(&proxy.host);
    let one = resolve(&registry, "add:1").await.unwrap();
    let mut reader = registry.open(&one).await.unwrap();
    let mut came = reader.next().await.unwrap().unwrap().to_vec();
    proxy.stall();
    let (rest, result) = read(&mut reader).await;
    result.unwrap();
    came.extend(rest);
    assert!(came == bytes);
    // A busy machine may fall silent by itself, too.
    assert!(!proxy.lines("range: bytes=").is_empty());
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = resolve(&impatient(&listener.local_addr().unwrap().to_string()), "add:1").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn a_manifest_that_trickles_is_given_up() {
    let server = StandIn::start(|_| endless_document()).await;
    let error = resolve(&impatient(&server.host), "add:1").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn a_token_that_trickles_is_given_up() {
    let server = StandIn::start(|request| {
        if request.uri().path() == "/token" {
            return endless_document();
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", header(request, "host").unwrap());
        status(401).header("www-authenticate", challenge).body(Body::empty()).unwrap()
    })
    .await;
    let error = resolve(&impatient(&server.host), "add:1").await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn a_blob_that_trickles_is_given_up_with_and_without_a_cache() {
    let bytes = module(1 << 20);
    let (json, blob) = (manifest(&bytes), bytes.clone());
    let server = StandIn::start(move |request| {
        if request.uri().path().contains("/manifests/") {
            return json.clone().into_response();
        }
        let (start, answer) = part(request, &blob);
        answer.body(trickle(blob.clone().into_iter().skip(start))).unwrap()
    })
    .await;
    let (with_cache, _dir) = impatient_with_cache(&server.host);
    for registry in [impatient(&server.host), with_cache] {
        let before = server.seen().len();
        let error = pull(&registry, "add:1").await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("too slowly"), "{error}");
        assert_eq!(server.seen().len() - before, 1 + 6);
    }
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_transfer_is_replaced_and_the_transfer_goes_on() {
    // The distribution project's registries say 401 of a token that has ended, Amazon's says 403 without a challenge.
    for refusal in [401, 403] {
        let bytes = module(1_000_000);
        let (json, blob) = (manifest(&bytes), bytes.clone());
        let valid = Arc::new(AtomicU32::new(1));
        let current = valid.clone();
        let server = StandIn::start(move |request| {
            let current = current.load(Ordering::SeqCst);
            if request.uri().path() == "/token" {
                return format!(r#"{{"token": "{current}"}}"#).into_response();
            }
            let shown = header(request, "authorization");
            if shown != Some(&format!("Bearer {current}")) {
                let challenge = format!("Bearer realm=\"http://{}/token\"", header(request, "host").unwrap());
                return match (shown, refusal) {
                    (Some(_), 403) => status(403).body(Body::empty()).unwrap(),
                    _ => status(401).header("www-authenticate", challenge).body(Body::empty()).unwrap(),
                };
            }
            if request.uri().path().contains("/manifests/") {
                return json.clone().into_response();
            }
            let (start, answer) = part(request, &blob);
            answer.body(Body::from(blob[start..].to_vec())).unwrap()
        })
        .await;
        let proxy = FaultProxy::start(&server.host, [700_000]).await;
        let registry = registry(&proxy.host);
        let one = resolve(&registry, "add:1").await.unwrap();
        let mut reader = registry.open(&one).await.unwrap();
        valid.store(2, Ordering::SeqCst);
        let (came, result) = read(&mut reader).await;
        result.unwrap();
        assert!(came == bytes);
        let tokens = server.seen().into_iter().filter(|seen| seen.path.starts_with("/token")).count();
        assert_eq!(tokens, 2, "{refusal}");
    }
}

#[tokio::test]
async fn what_stays_forbidden_is_forbidden() {
    let server = StandIn::start(|request| {
        let path = request.uri().path();
        if path == "/token" {
            return r#"{"token": "1"}"#.into_response();
        }
        let challenge = format!("Bearer realm=\"http://{}/token\"", header(request, "host").unwrap());
        match header(request, "authorization") {
            Some(_) => status(403).body(Body::empty()).unwrap(),
            None => status(401).header("www-authenticate", challenge).body(Body::empty()).unwrap(),
        }
    })
    .await;
    let registry = registry(&server.host);
    for requests in [3, 3 + 4] {
        let error = resolve(&registry, "add:1").await.unwrap_err();
        assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
        assert_eq!(server.seen().len(), requests);
    }
}
