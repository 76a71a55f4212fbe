//! What the binary format saves, and who notices.

use wasmproxy::{
    device::FetchOptions,
    protocol::{ChunkSize, request::Wanted},
};

use super::floor::{Floor, NAME};
use crate::{
    lab::{Direction, FaultProxy},
    modules::module,
    old_device::{Access, OldDevice},
    waiting::soon,
    worker::channel::Channel,
};

#[tokio::test]
async fn binary_takes_a_quarter_less_and_devices_of_old_notice_nothing() {
    let mut channel = Channel::start().await;
    channel.config.chunk_size = ChunkSize::new(64 << 10).unwrap();
    let floor = Floor::on(channel).await;
    let bytes = module(4 << 20);
    floor.channel.registry.push(NAME, bytes.clone()).await;
    let broker = floor.channel.broker.host();
    let access = Access { port: floor.channel.broker.port(), ..Access::default() };
    let mut old = OldDevice::connect(&access, "old", floor.channel.config.prefix.as_str()).await;

    let mut took = Vec::new();
    for format in [Wanted::Json, Wanted::Raw] {
        let proxy = FaultProxy::to(&broker).await;
        floor.fetch(FetchOptions { format, ..floor.through(&proxy) }).end().await.unwrap();
        assert_eq!(floor.fetched(), bytes);
        took.push(proxy.sent(Direction::ToClient));
    }
    assert!(took[1] * 100 <= took[0] * 76, "{took:?} bytes");

    // What comes after it on the topic says that nothing came before it.
    floor.channel.registry.push("wasm/last:1", module(100)).await;
    old.ask("wasm/last:1").await;
    soon("the last one", old.gather("wasm/last:1")).await;
    assert_eq!(old.heard, [""; 0]);
}
