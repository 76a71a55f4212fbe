//! What the registry is asked for.

use crate::{
    floor::Floor,
    limits::{REQUESTS_BY_DIGEST, REQUESTS_BY_TAG, REQUESTS_FIRST},
    tap::RegistryTap,
};

#[tokio::test]
async fn a_module_costs_its_manifest_and_its_blob_once_then_a_head_by_tag_and_nothing_by_digest() {
    let (mut floor, tap) = Floor::start_with(async |channel| {
        let tap = RegistryTap::to(channel.registry.host()).await;
        channel.take_from(&tap.host);
        tap
    })
    .await;
    floor.push(&["wasm/add:1"], 3).await;
    let pinned = format!("wasm/add@{}", floor.channel.registry.manifest_digest("wasm/add:1").await);

    floor.bring(&["wasm/add:1"]).await;
    assert_eq!(tap.requests(), REQUESTS_FIRST, "what nobody has asked for before");
    floor.bring(&["wasm/add:1"]).await;
    assert_eq!(tap.requests(), REQUESTS_BY_TAG, "from the cache, by tag");
    floor.bring(&[&pinned]).await;
    assert_eq!(tap.requests(), REQUESTS_BY_DIGEST, "from the cache, by digest");
}
