//! The same job in every version of MQTT, at every quality of service, in the open and over TLS.

use wasmproxy::mqtt::{ConnectionState, Qos, Version, VersionPreference};

use super::channel::{CHUNK, Channel, digest, until_published};
use crate::{
    lab::{BrokerConfig, Transport},
    modules::module,
};

async fn delivers(mut channel: Channel) {
    let pushed = channel.registry.push("wasm/add:1", module(CHUNK * 30 + 1)).await;
    channel.declare("wasm/add:1");
    let mut listener = channel.listen().await;
    let worker = channel.worker();
    assert_eq!(digest(&listener.hear_a_pass().await.0), pushed);
    let artifact = until_published(&worker, &channel.reference("wasm/add:1")).await;
    assert_eq!((artifact.published, artifact.total), (31, 31));
    let wanted = match channel.config.broker.version {
        VersionPreference::V311 => Version::V311,
        VersionPreference::Auto | VersionPreference::V5 => Version::V5,
    };
    let progress = worker.progress();
    let Some(ConnectionState::Connected { version, .. }) = &progress.borrow().broker else { panic!("not connected") };
    assert_eq!(*version, wanted);
}

#[tokio::test]
async fn a_module_is_delivered_in_every_version_at_every_quality_of_service() {
    for version in [VersionPreference::V311, VersionPreference::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut channel = Channel::start().await;
            (channel.config.broker.version, channel.config.broker.qos) = (version, qos);
            delivers(channel).await;
        }
    }
}

#[tokio::test]
async fn a_module_is_delivered_over_tls_to_a_user_with_a_password() {
    for version in [VersionPreference::V311, VersionPreference::V5] {
        let broker = BrokerConfig::default().transport(Transport::Tls).user("worker", "secret");
        let mut channel = Channel::start_with(broker).await;
        channel.config.broker.version = version;
        delivers(channel).await;
    }
}
