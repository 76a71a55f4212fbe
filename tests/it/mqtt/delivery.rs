//! What is published arrives, or is refused with a reason.

use std::time::Duration;

use futures::future::join_all;
use wasmproxy::mqtt::{MqttOptions, Properties, Publish, PublishError, Qos, VersionPreference, connect};

use super::{CHUNK, VERSIONS, connected, options, publish, receive, receive_all, soon, subscriber};
use crate::lab::{Broker, BrokerConfig};

#[tokio::test]
async fn chunks_are_acknowledged_and_arrive_intact_at_every_qos_in_both_versions() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let (listener, mut messages) = connect(subscriber(&broker.url(), version, qos)).unwrap();
            connected(&listener).await;
            let (client, _) = connect(options(&broker.url(), "publisher", version)).unwrap();
            let publishing = join_all((0..24).map(|number| client.publish(publish(number, CHUNK, qos))));
            let (acks, twice) = tokio::join!(publishing, receive_all(&mut messages, 24, CHUNK));
            assert!(acks.iter().all(Result::is_ok), "{version:?} {qos:?}: {acks:?}");
            assert_eq!(twice, 0, "{version:?} {qos:?}");
        }
    }
}

#[tokio::test]
async fn messages_arrive_in_the_order_in_which_they_were_published() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let (listener, mut messages) = connect(subscriber(&broker.url(), version, Qos::AtLeastOnce)).unwrap();
        connected(&listener).await;
        // Not connected yet: all wait for the same moment.
        let (client, _) = connect(options(&broker.url(), "publisher", version)).unwrap();
        let publishing = join_all((0..200).map(|number| client.publish(publish(number, 100, Qos::AtLeastOnce))));
        let receiving = async {
            for number in 0..200 {
                assert_eq!(receive(&mut messages).await.topic, format!("t/{number}"));
            }
        };
        tokio::join!(publishing, receiving);
    }
}

#[tokio::test]
async fn properties_and_the_retain_flag_are_passed_on() {
    let broker = Broker::start().await;
    let retained = ["-p", &broker.port().to_string(), "-t", "t/retained", "-m", "kept", "-r"].map(str::to_owned);
    assert!(std::process::Command::new("mosquitto_pub").args(retained).status().unwrap().success());
    let (listener, mut messages) = connect(subscriber(&broker.url(), VersionPreference::V5, Qos::AtLeastOnce)).unwrap();
    let message = receive(&mut messages).await;
    assert!(message.retain && message.payload == "kept" && message.properties == Properties::default());

    let properties = Properties {
        content_type: Some("application/wasm".into()),
        user: vec![("app_name".into(), "a".into()), ("chunk_idx".into(), "1".into())],
        message_expiry: Some(Duration::from_secs(300)),
    };
    let published = Publish { properties: properties.clone(), ..Publish::new("t/1", "x", Qos::AtLeastOnce) };
    let ack = soon("an acknowledgement", listener.publish(published)).await.unwrap();
    assert!(!ack.no_subscribers);
    let message = receive(&mut messages).await;
    assert!(!message.retain);
    assert_eq!(message.properties, properties);

    let unheard = Publish::new("nobody/listens", "x", Qos::AtLeastOnce);
    assert!(soon("an acknowledgement", listener.publish(unheard)).await.unwrap().no_subscribers);
}

#[tokio::test]
async fn messages_that_cannot_pass_are_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let acl = dir.path().join("acl");
    std::fs::write(&acl, "topic readwrite t/#\n").unwrap();
    let broker = BrokerConfig::default().line("max_packet_size 100000").line(format!("acl_file {}", acl.display()));
    let broker = broker.start().await;
    let (client, _) = connect(options(&broker.url(), "client", VersionPreference::V5)).unwrap();
    assert_eq!(connected(&client).await.1, Some(100_000));
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let forbidden = soon("a refusal", client.publish(Publish::new("secret", "x", qos))).await;
        assert_eq!(forbidden, Err(PublishError::NotAuthorized { topic: "secret".into() }));
    }
    let large = soon("a refusal", client.publish(publish(1, 100_000, Qos::AtLeastOnce))).await;
    assert!(matches!(large, Err(PublishError::TooLarge { limit: 100_000, .. })), "{large:?}");
    let fitting = 100_000 - 12;
    soon("an acknowledgement", client.publish(publish(1, fitting, Qos::AtLeastOnce))).await.unwrap();

    let small = MqttOptions { max_packet_size: 1000, ..options(&broker.url(), "small", VersionPreference::V311) };
    let (client, _) = connect(small).unwrap();
    let large = soon("a refusal", client.publish(publish(1, 1000, Qos::AtLeastOnce))).await;
    assert!(matches!(large, Err(PublishError::TooLarge { limit: 1000, .. })), "{large:?}");
}
