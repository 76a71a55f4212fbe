//! How a connection comes about, and what is said where it does not.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpListener};
use wasmproxy::mqtt::{
    ConnectionState, Credentials, FailureKind, MqttOptions, Qos, SessionEnd, Version, VersionPreference, connect,
};
use wasmproxy::tls::TlsOptions;

use super::old_broker::OldBroker;
use super::{CHUNK, VERSIONS, connected, failed, options, publish, read_packet, receive, soon, subscriber};
use crate::lab::{Broker, BrokerConfig, Pki, Transport, free_port};

#[tokio::test]
async fn the_right_password_connects_and_a_wrong_one_is_named() {
    let broker = BrokerConfig::default().user("user", "right").start().await;
    for version in [VersionPreference::V311, VersionPreference::V5, VersionPreference::Auto] {
        let with = |password: Option<&str>| {
            let credentials = password.map(|p| Credentials { username: "user".into(), password: Some(p.to_owned()) });
            connect(MqttOptions { credentials, ..options(&broker.url(), "client", version) }).unwrap().0
        };
        for wrong in [with(Some("wrong")), with(None)] {
            let failure = failed(&wrong).await;
            assert_eq!(failure.kind, FailureKind::Unauthorized);
            assert!(failure.message.contains(&format!("127.0.0.1:{}", broker.port())), "{}", failure.message);
            assert!(!failure.message.contains("wrong"));
            wrong.disconnect(SessionEnd::Keep, Duration::from_secs(1)).await;
        }
        connected(&with(Some("right"))).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_unreachable_and_found_when_it_comes() {
    let mut broker = Broker::start().await;
    broker.kill();
    let (client, _) = connect(options(&broker.url(), "client", VersionPreference::Auto)).unwrap();
    let failure = failed(&client).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.message.contains(&format!("127.0.0.1:{}", broker.port())), "{}", failure.message);
    broker.start_again().await;
    assert_eq!(connected(&client).await.0, Version::V5);
}

#[tokio::test]
async fn tls_trusts_the_private_authority_and_shows_a_certificate() {
    let broker = BrokerConfig::default().transport(Transport::MutualTls).start().await;
    let mutual = broker.tls();
    let trusting = TlsOptions { identity: None, ..mutual.clone() };
    let strangers = TlsOptions { ca: Some(Pki::new().ca()), ..mutual.clone() };
    for version in VERSIONS {
        let with = |tls: &TlsOptions| {
            connect(MqttOptions { tls: tls.clone(), ..options(&broker.url(), "client", version) }).unwrap().0
        };
        let client = with(&mutual);
        connected(&client).await;
        soon("an acknowledgement", client.publish(publish(1, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        for (refused, advice) in [(with(&strangers), "authority"), (with(&trusting), "client certificate")] {
            let failure = failed(&refused).await;
            assert_eq!(failure.kind, FailureKind::Tls, "{}", failure.message);
            assert!(failure.message.contains(advice), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn a_port_that_does_not_speak_tls_is_suspected() {
    let broker = Broker::start().await;
    let url = broker.url().replace("mqtt:", "mqtts:");
    let (client, _) = connect(options(&url, "client", VersionPreference::Auto)).unwrap();
    let failure = failed(&client).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    assert!(failure.message.contains("does this port speak TLS?"), "{}", failure.message);
}

#[tokio::test]
async fn auto_falls_back_to_3_1_1_where_the_broker_hangs_up_or_says_so() {
    const REFUSED_IN_3_1_1: &[u8] = &[0x20, 2, 0, 1];
    const REFUSED_IN_5: &[u8] = &[0x20, 3, 0, 0x84, 0];
    let broker = Broker::start().await;
    for answer in [&[][..], REFUSED_IN_3_1_1, REFUSED_IN_5] {
        let old = OldBroker::before(broker.host(), answer).await;
        let (client, _) = connect(options(&old.url, "client", VersionPreference::Auto)).unwrap();
        assert_eq!(connected(&client).await.0, Version::V311);
        soon("an acknowledgement", client.publish(publish(0, 10, Qos::AtLeastOnce))).await.unwrap();

        let (stubborn, _) = connect(options(&old.url, "stubborn", VersionPreference::V5)).unwrap();
        assert_eq!(failed(&stubborn).await.kind, FailureKind::Protocol);
    }
}

#[tokio::test]
async fn a_session_taken_over_is_named() {
    // mosquitto 2.0 hangs up without a word; others say DISCONNECT with 0x8E.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let fake = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_packet(&mut socket).await.unwrap();
        socket.write_all(&[0x20, 3, 0, 0, 0, 0xe0, 2, 0x8e, 0]).await.unwrap();
        read_packet(&mut socket).await
    });
    let (client, _) = connect(options(&url, "same", VersionPreference::V5)).unwrap();
    let failure = failed(&client).await;
    assert_eq!(failure.kind, FailureKind::TakenOver, "{}", failure.message);
    assert!(failure.message.contains("same"), "{}", failure.message);
    soon("the hang-up", fake).await.unwrap();
}

#[tokio::test]
async fn connected_means_that_the_subscriptions_are_confirmed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let (client, _messages) = connect(subscriber(&url, VersionPreference::V311, Qos::AtLeastOnce)).unwrap();
    let (mut socket, _) = listener.accept().await.unwrap();
    read_packet(&mut socket).await.unwrap();
    socket.write_all(&[0x20, 2, 0, 0]).await.unwrap();
    // The client has seen CONNACK when it subscribes.
    let (kind, body) = read_packet(&mut socket).await.unwrap();
    assert_eq!(kind, 0x82);
    assert!(matches!(*client.state().borrow(), ConnectionState::Connecting { failure: None, attempts: 0 }));
    socket.write_all(&[0x90, 3, body[0], body[1], 1]).await.unwrap();
    connected(&client).await;
}

#[tokio::test]
async fn a_denied_subscription_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let fake = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        while let Some((kind, body)) = read_packet(&mut socket).await {
            let answer: &[u8] = match kind >> 4 {
                1 => &[0x20, 2, 0, 0],
                8 => &[0x90, 4, body[0], body[1], 0, 0x80],
                _ => &[],
            };
            socket.write_all(answer).await.unwrap();
        }
    });
    let subscriptions = vec![("open".to_owned(), Qos::AtMostOnce), ("denied/#".to_owned(), Qos::AtLeastOnce)];
    let options = MqttOptions { subscriptions, ..options(&url, "client", VersionPreference::V311) };
    let (client, _messages) = connect(options).unwrap();
    let failure = failed(&client).await;
    assert_eq!(failure.kind, FailureKind::SubscriptionDenied);
    assert!(failure.message.contains("denied/#"), "{}", failure.message);
    soon("the hang-up", fake).await.unwrap();
}

#[tokio::test]
async fn a_denied_subscription_that_is_optional_does_not_matter() {
    let rules = tempfile::tempdir().unwrap();
    let broker = BrokerConfig::default().denying("t/+/receipts", rules.path()).start().await;
    for version in VERSIONS {
        let granted = ("t/1".to_owned(), Qos::AtLeastOnce);
        let denied = ("t/+/receipts".to_owned(), Qos::AtLeastOnce);
        let options = MqttOptions {
            subscriptions: vec![granted.clone()],
            optional_subscriptions: vec![denied.clone()],
            ..options(&broker.url(), "client", version)
        };
        let (client, mut messages) = connect(options.clone()).unwrap();
        connected(&client).await;
        soon("an acknowledgement", client.publish(publish(1, 10, Qos::AtLeastOnce))).await.unwrap();
        assert_eq!(receive(&mut messages).await.topic, "t/1");

        let (strict, _messages) =
            connect(MqttOptions { client_id: "strict".into(), subscriptions: vec![granted, denied], ..options })
                .unwrap();
        let failure = failed(&strict).await;
        assert_eq!(failure.kind, FailureKind::SubscriptionDenied);
        assert!(failure.message.contains("t/+/receipts"), "{}", failure.message);
    }
}

#[tokio::test]
async fn an_unused_port_is_named_in_the_sentence() {
    let url = format!("mqtts://localhost:{}", free_port());
    let (client, _) = connect(options(&url, "client", VersionPreference::Auto)).unwrap();
    assert!(failed(&client).await.message.contains(url.trim_start_matches("mqtts://")));
}
