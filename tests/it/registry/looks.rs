//! What a look at a reference costs.

use axum::{body::Body, http::Method, response::Response};
use wasmproxy::{digest::Digest, registry::Registry};

use super::{manifest, module, registry, resolve, servers::stand_in::StandIn};
use crate::lab::{self, FaultProxy};

async fn resolve_size(registry: &Registry, name: &str) -> u64 {
    resolve(registry, name).await.unwrap().size
}

#[tokio::test]
async fn a_tag_that_has_not_moved_costs_a_head_request_and_a_digest_nothing() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(1000)).await;
    server.push("add:2", module(2000)).await;
    let proxy = FaultProxy::start(&server.host(), []).await;
    let registry = registry(&proxy.host);
    let requests = || (proxy.lines("GET ").len(), proxy.lines("HEAD ").len());

    assert_eq!(resolve_size(&registry, "add:1").await, 1000);
    assert_eq!(requests(), (1, 0), "the first look");
    for _ in 0..2 {
        assert_eq!(resolve_size(&registry, "add:1").await, 1000);
    }
    assert_eq!(requests(), (1, 2), "it has not moved");
    let pinned = format!("add@{}", server.manifest_digest("add:1").await);
    server.push("add:1", module(3000)).await;
    assert_eq!(resolve_size(&registry, "add:1").await, 3000);
    assert_eq!(requests(), (2, 3), "it has moved");
    assert_eq!(resolve_size(&registry, &pinned).await, 1000);
    assert_eq!(requests(), (2, 3), "a digest that was seen means what it meant");
    assert_eq!(resolve_size(&registry, "add:2").await, 2000);
    assert_eq!(requests(), (3, 3), "another tag");
}

#[tokio::test]
async fn an_index_that_has_not_moved_costs_a_head_request_too() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(200)).await;
    let digest = server.manifest_digest("add:1").await;
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{ "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1 }],
    });
    server.push_index("add:all", serde_json::from_value(index).unwrap()).await;
    let proxy = FaultProxy::start(&server.host(), []).await;
    let registry = registry(&proxy.host);
    for _ in 0..2 {
        assert_eq!(resolve_size(&registry, "add:all").await, 200);
    }
    assert_eq!((proxy.lines("GET ").len(), proxy.lines("HEAD ").len()), (2, 1));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_head_is_asked_in_full() {
    let json = manifest(&module(100));
    let unhelpful: [fn() -> Response; 4] = [
        || Response::builder().status(405).body(Body::empty()).unwrap(),
        || Response::builder().status(404).body(Body::empty()).unwrap(),
        || Response::builder().status(501).body(Body::empty()).unwrap(),
        || Response::builder().header("docker-content-digest", "sha256:1").body(Body::empty()).unwrap(),
    ];
    for answer in unhelpful {
        let json = json.clone();
        let server = StandIn::start(move |request| match *request.method() {
            Method::HEAD => answer(),
            _ => Response::new(Body::from(json.clone())),
        })
        .await;
        let registry = registry(&server.host);
        for _ in 0..2 {
            assert_eq!(resolve_size(&registry, "add:1").await, 100);
        }
        assert_eq!(server.seen().len(), 3, "GET, HEAD, GET");
    }
}

#[tokio::test]
async fn a_tag_that_moves_back_is_known() {
    let (old, new) = (manifest(&module(100)), manifest(&module(200)));
    let current = std::sync::Arc::new(std::sync::Mutex::new(old.clone()));
    let served = current.clone();
    let server = StandIn::start(move |request| {
        let json = served.lock().unwrap().clone();
        let answer = Response::builder().header("docker-content-digest", Digest::of(json.as_bytes()).to_string());
        let is_head = request.method() == Method::HEAD;
        answer.body(if is_head { Body::empty() } else { Body::from(json) }).unwrap()
    })
    .await;
    let registry = registry(&server.host);
    for (json, size, requests) in [(&old, 100, 1), (&new, 200, 3), (&old, 100, 4)] {
        current.lock().unwrap().clone_from(json);
        assert_eq!(resolve_size(&registry, "add:1").await, size);
        assert_eq!(server.seen().len(), requests);
    }
}
