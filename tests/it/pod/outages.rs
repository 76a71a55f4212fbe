//! A broker that is away, and an API server.

use serde_json::json;
use wasmproxy::api::conditions::ConditionType;

use super::floor::{NAME, Site};
use crate::{
    controller::floor::CHUNK,
    lab::FaultProxy,
    modules::module,
    old_device::{Access, OldDevice},
    waiting::soon,
};

/// The API server is away.
fn part(proxy: &FaultProxy) {
    proxy.refuse(true);
    proxy.cut();
}

#[tokio::test]
async fn a_deleted_resource_is_left_alone_though_its_broker_is_away() {
    let mut site = Site::start().await;
    let worker = site.worker().await;
    site.declare(&[]).await;
    site.until_published().await;
    site.broker.stop();
    site.until_says(ConditionType::BrokerConnected, "False", "BrokerUnreachable").await;
    site.delete(NAME).await;
    worker.until_unready("not there").await;

    site.broker.start_again().await;
    worker.stop().await;
    assert_eq!(site.broker.server().log().matches(" as wp").count(), 0, "nobody comes back");
}

#[tokio::test]
async fn what_is_deleted_while_the_api_server_is_away_ends_once_it_is_back() {
    let site = Site::start().await;
    let proxy = site.proxy().await;
    let worker = site.worker_through(&proxy).await;
    site.declare(&[]).await;
    site.until_published().await;
    part(&proxy);
    site.delete(NAME).await;
    proxy.heal();
    worker.until_unready("not there").await;
    site.until_disconnected(1).await;
}

#[tokio::test]
async fn a_suspended_worker_ends_its_session_though_the_api_server_does_not_answer_any_more() {
    let site = Site::start().await;
    let proxy = site.proxy().await;
    let worker = site.worker_through(&proxy).await;
    site.declare(&[]).await;
    site.until_published().await;
    // What happens to the resource still reaches the worker; whatever the worker asks from now on is not answered.
    proxy.deafen();
    site.apply(NAME, json!({"suspend": true})).await;
    site.until_disconnected(1).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_goes_on_without_the_api_server_and_its_last_state_arrives() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    let bytes = module(2 * CHUNK);
    site.registry.push("wasm/sub:1", bytes.clone()).await;
    let proxy = site.proxy().await;
    let access = Access { port: site.broker.port(), ..Access::default() };
    let mut device = OldDevice::connect(&access, "device", "channels/line/messages").await;
    let _worker = site.worker_through(&proxy).await;
    site.declare(&["wasm/add:1"]).await;
    site.until_published().await;

    part(&proxy);
    device.ask("wasm/sub:1").await;
    assert_eq!(soon("the module", device.gather("wasm/sub:1")).await, bytes);
    assert_eq!(site.get(NAME).await.status.unwrap().transfers.unwrap().chunks, 3, "nobody could say more");
    proxy.heal();
    assert_eq!(site.until_out(2).await.transfers.unwrap().chunks, 3 + 2);
}

#[tokio::test]
async fn a_worker_that_ends_without_the_api_server_keeps_its_session() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let proxy = site.proxy().await;
    let listener = site.listen(NAME).await;
    let worker = site.worker_through(&proxy).await;
    site.declare(&[]).await;
    site.until_published().await;
    proxy.stall_all();
    worker.stop().await;

    listener.ask("wasm/add:1").await;
    let _worker = site.worker().await;
    site.until_out(1).await;
}

#[tokio::test]
async fn an_api_server_that_is_away_at_first_is_waited_for() {
    let site = Site::start().await;
    let proxy = site.proxy().await;
    proxy.refuse(true);
    site.declare(&[]).await;
    let worker = site.worker_through(&proxy).await;
    worker.until_unready("the resource cannot be watched").await;
    proxy.heal();
    site.until_published().await;
    worker.until_ready().await;
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_found_out() {
    let site = Site::start().await;
    site.registry.push("wasm/add:1", module(CHUNK)).await;
    let proxy = site.proxy().await;
    let _worker = site.impatient_worker_through(&proxy).await;
    site.declare(&[]).await;
    site.until_published().await;
    proxy.stall();
    site.declare(&["wasm/add:1"]).await;
    site.until_published().await;
}
