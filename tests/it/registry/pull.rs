//! What registries hold, and how it is found.

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    registry::{Registry, RegistryError, RegistryOptions, Unsupported},
};

use super::{WASM, module, options, pull, read, refusal, registry, resolve};
use crate::lab::{self, FaultProxy};

#[tokio::test]
async fn a_module_is_resolved_by_tag_and_read_in_two_requests_and_small_pieces() {
    let server = lab::Registry::start().await;
    let bytes = module(16 << 20);
    server.push("wasm/add:1.2", bytes.clone()).await;
    let proxy = FaultProxy::start(&server.host(), []).await;
    let registry = registry(&proxy.host);

    let resolved = resolve(&registry, "wasm/add:1.2").await.unwrap();
    assert_eq!(resolved.reference.to_string(), format!("{}/wasm/add:1.2", proxy.host));
    assert_eq!(resolved.manifest_digest, server.manifest_digest("wasm/add:1.2").await);
    assert_eq!((resolved.digest, resolved.size), (Digest::of(&bytes), 16 << 20));
    assert_eq!(resolved.media_type, WASM);

    let (came, result) = read(&mut registry.open(&resolved).await.unwrap()).await;
    result.unwrap();
    assert!(came == bytes);
    let blob = format!("/v2/wasm/add/blobs/{} HTTP/1.1", resolved.digest);
    assert_eq!(proxy.lines("GET "), ["/v2/wasm/add/manifests/1.2 HTTP/1.1", &blob]);
}

#[tokio::test]
async fn a_module_is_resolved_by_digest_whatever_the_tag_says() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(1000)).await;
    let pinned = server.manifest_digest("add:1").await;
    server.push("add:1", module(2000)).await;
    let registry = registry(&server.host());
    for name in [format!("add@{pinned}"), format!("add:1@{pinned}")] {
        let resolved = resolve(&registry, &name).await.unwrap();
        assert_eq!((resolved.size, resolved.manifest_digest), (1000, pinned));
    }
}

#[tokio::test]
async fn an_index_leads_to_its_wasm_manifest() {
    let server = lab::Registry::start().await;
    let mut entries = Vec::new();
    for (tag, os, architecture, size) in [("a", "linux", "amd64", 100), ("b", "wasip1", "wasm", 200)] {
        server.push(&format!("add:{tag}"), module(size)).await;
        let digest = server.manifest_digest(&format!("add:{tag}")).await;
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
            "platform": { "os": os, "architecture": architecture },
        }));
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": entries });
    server.push_index("add:all", serde_json::from_value(index).unwrap()).await;
    let registry = registry(&server.host());
    let resolved = resolve(&registry, "add:all").await.unwrap();
    assert_eq!((resolved.size, resolved.manifest_digest), (200, server.manifest_digest("add:all").await));
    assert_eq!(pull(&registry, "add:all").await.unwrap(), module(200));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(100)).await;
    let registry = registry(&server.host());
    for name in ["add:2", "sub:1"] {
        let error = refusal(&registry, name).await;
        assert!(matches!(error, RegistryError::NotFound { .. }) && !error.is_retryable());
        let expected = format!("{}/{name} was not found: push it, or correct the reference", server.host());
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_is_no_module_is_refused() {
    let server = lab::Registry::start().await;
    server.push_layer("text:1", "text/plain", vec![b'x'; 100]).await;
    server.push_layer("plain:1", "application/octet-stream", module(100)).await;
    let registry = registry(&server.host());
    let why = |error| match error {
        RegistryError::UnsupportedArtifact { why, .. } => why,
        other => panic!("{other}"),
    };
    let text = why(refusal(&registry, "text:1").await);
    assert!(matches!(text, Unsupported::NotWasm(_)) && text.to_string().contains("text/plain"), "{text}");
    assert_eq!(pull(&registry, "plain:1").await.unwrap(), module(100));
}

#[tokio::test]
async fn a_module_over_the_limit_is_refused_before_it_is_read() {
    let server = lab::Registry::start().await;
    server.push("add:1", module(1001)).await;
    let within = RegistryOptions { max_module_size: 1001, ..options(&server.host()) };
    let beyond = RegistryOptions { max_module_size: 1000, ..options(&server.host()) };
    let resolve = async |options| resolve(&Registry::new(options).unwrap(), "add:1").await;
    assert!(resolve(within).await.is_ok());
    assert!(matches!(resolve(beyond).await, Err(RegistryError::TooLarge { size: 1001, limit: 1000, .. })));
}

#[tokio::test]
async fn a_module_is_read_from_an_offset() {
    let server = lab::Registry::start().await;
    let bytes = module(3_000_000);
    server.push("add:1", bytes.clone()).await;
    let registry = registry(&server.host());
    let resolved = resolve(&registry, "add:1").await.unwrap();
    for offset in [0, 1, 2_999_999, 3_000_000] {
        let mut reader = registry.open_at(&resolved, offset).await.unwrap();
        let mut came = Vec::new();
        while let Some(read) = reader.next().await.unwrap() {
            came.extend_from_slice(&read);
        }
        assert!(came == bytes[usize::try_from(offset).unwrap()..], "from {offset}");
    }
}
