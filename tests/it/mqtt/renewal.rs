//! Other credentials on the same session.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use wasmproxy::{
    mqtt::{
        Ack, Client, ConfigError, Credentials, FailureKind, MqttOptions, Publish, PublishError, Qos, SessionEnd,
        VersionPreference, connect,
    },
    tls::TlsOptions,
};

use super::{CHUNK, KEPT, VERSIONS, connected, failed, options, publish, receive, receive_all, soon, subscriber};
use crate::{
    lab::{Broker, BrokerConfig, FaultProxy, Pki, Transport, User},
    waiting::PATIENCE,
};

const USERS: [User; 4] = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")];

fn credentials((username, password): User) -> Option<Credentials> {
    Some(Credentials { username: username.to_owned(), password: Some(password.to_owned()) })
}

async fn with_users() -> Broker {
    let lets_in = |config: BrokerConfig, user: &User| config.user(user.0, user.1);
    USERS.iter().fold(BrokerConfig::default(), lets_in).start().await
}

fn publisher(broker: &Broker, version: VersionPreference) -> MqttOptions {
    let credentials = credentials(USERS[0]);
    MqttOptions { session: KEPT, exactly_once: true, credentials, ..options(&broker.url(), "publisher", version) }
}

#[tokio::test]
async fn what_is_published_while_the_credentials_change_arrives() {
    const MESSAGES: usize = 300;
    for version in VERSIONS {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let broker = with_users().await;
            let listening =
                MqttOptions { credentials: credentials(USERS[3]), ..subscriber(&broker.url(), version, qos) };
            let (listener, mut messages) = connect(listening).unwrap();
            connected(&listener).await;
            let (client, _) = connect(publisher(&broker, version)).unwrap();
            let (acknowledged, mut counted) = watch::channel(0);
            let publishing = join_all((0..MESSAGES).map(async |number| {
                let ack = client.publish(publish(number, 10_000, qos)).await;
                acknowledged.send_modify(|count| *count += 1);
                ack
            }));
            let renewing = async {
                for (number, user) in USERS.iter().enumerate().skip(1) {
                    counted.wait_for(|count| *count > MESSAGES / 5 * number).await.unwrap();
                    client.renew(credentials(*user), TlsOptions::default()).unwrap();
                }
            };
            let arriving = receive_all(&mut messages, MESSAGES, 10_000);
            let (acks, (), twice) = soon("all", async { tokio::join!(publishing, renewing, arriving) }).await;
            assert!(acks.iter().all(Result::is_ok), "{version:?} {qos:?}: {acks:?}");
            // What is in flight is waited for, so that nothing has to be sent again.
            assert_eq!(twice, 0, "{version:?} {qos:?}");
            broker.server().until_it_logs("u'd'", 2).await;
        }
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_named_and_the_next_are_tried_at_once() {
    let broker = with_users().await;
    for version in VERSIONS {
        let (client, _) = connect(publisher(&broker, version)).unwrap();
        connected(&client).await;
        client.renew(credentials(("a", "wrong")), TlsOptions::default()).unwrap();
        assert_eq!(failed(&client).await.kind, FailureKind::Unauthorized, "{version:?}");
        client.renew(credentials(USERS[1]), TlsOptions::default()).unwrap();
        connected(&client).await;
        client.disconnect(SessionEnd::Discard, PATIENCE).await;
    }
}

#[tokio::test]
async fn the_same_credentials_leave_the_connection_alone_and_unusable_ones_too() {
    let broker = BrokerConfig::default().transport(Transport::MutualTls).start().await;
    let tls = broker.tls();
    let (client, _) = connect(MqttOptions { tls: tls.clone(), ..publisher(&broker, VersionPreference::V5) }).unwrap();
    let since = connected(&client).await;
    client.renew(credentials(USERS[0]), tls.clone()).unwrap();
    let unusable = TlsOptions { ca: Some(b"no pem".to_vec()), ..tls };
    assert!(matches!(client.renew(None, unusable), Err(ConfigError::Tls(_))));
    soon("an acknowledgement", client.publish(publish(1, 10, Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(connected(&client).await, since);
    assert_eq!(broker.server().log().matches("as publisher").count(), 1);
}

#[tokio::test]
async fn another_client_certificate_is_shown() {
    let config = BrokerConfig::default().transport(Transport::MutualTls).line("use_identity_as_username true");
    let broker = config.start().await;
    let another = Pki::within(broker.pki()).issue("another", "DNS:localhost");
    for version in VERSIONS {
        let options = MqttOptions { tls: broker.tls(), credentials: None, ..publisher(&broker, version) };
        let (client, _) = connect(options).unwrap();
        connected(&client).await;
        let tls = TlsOptions { identity: Some(another.clone()), ..broker.tls() };
        client.renew(None, tls).unwrap();
        broker.server().until_it_logs("u'another'", 1).await;
        soon("an acknowledgement", client.publish(publish(1, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        client.disconnect(SessionEnd::Discard, PATIENCE).await;
    }
}

#[tokio::test]
async fn a_connection_that_hangs_is_left_for_one_with_other_credentials() {
    let broker = with_users().await;
    let renewals = VERSIONS.map(|version| {
        let broker = &broker;
        async move {
            let proxy = FaultProxy::to(&broker.host()).await;
            let url = format!("mqtt://{}", proxy.host).parse().unwrap();
            let id = format!("{version:?}");
            let (client, _) = connect(MqttOptions { url, client_id: id, ..publisher(broker, version) }).unwrap();
            connected(&client).await;
            proxy.stall();
            let publishing = client.publish(publish(1, CHUNK, Qos::AtLeastOnce));
            let renewing = async {
                // The message is on its way by then.
                tokio::task::yield_now().await;
                client.renew(credentials(USERS[1]), TlsOptions::default()).unwrap();
            };
            let (ack, ()) = soon("an acknowledgement", async { tokio::join!(publishing, renewing) }).await;
            ack.unwrap();
            assert_eq!(proxy.connections(), 2, "{version:?}");
        }
    });
    join_all(renewals).await;
}

/// A client as the first user, and what is in its way: it waits for an acknowledgement that does not come, so that it does
/// not come back with other credentials yet.
async fn held_up(broker: &Broker, version: VersionPreference) -> (FaultProxy, Client, impl Future<Output = Outcome>) {
    let proxy = FaultProxy::to(&broker.host()).await;
    let url = format!("mqtt://{}", proxy.host).parse().unwrap();
    let subscriptions = vec![("other/#".to_owned(), Qos::AtLeastOnce)];
    let (client, messages) = connect(MqttOptions { url, subscriptions, ..publisher(broker, version) }).unwrap();
    connected(&client).await;
    proxy.stall();
    drop(messages);
    let publisher = client.clone();
    let publishing = tokio::spawn(async move { publisher.publish(publish(1, 10, Qos::AtLeastOnce)).await });
    others_go_on().await;
    (proxy, client, async { publishing.await.unwrap() })
}

type Outcome = Result<Ack, PublishError>;

/// Whoever has something to do gets to it.
async fn others_go_on() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_in_flight_is_acknowledged_though_the_end_comes_while_the_credentials_change() {
    let broker = with_users().await;
    for version in VERSIONS {
        let (proxy, client, published) = held_up(&broker, version).await;
        client.renew(credentials(USERS[1]), TlsOptions::default()).unwrap();
        others_go_on().await;
        let ending = client.disconnect(SessionEnd::Keep, PATIENCE);
        let going_on = async {
            others_go_on().await;
            proxy.resume();
        };
        let (published, (), ()) = soon("the end", async { tokio::join!(published, ending, going_on) }).await;
        assert!(published.is_ok(), "{version:?}: {published:?}");
    }
}

#[tokio::test]
async fn the_session_is_ended_with_the_credentials_that_were_said_last() {
    for version in VERSIONS {
        let mut broker = with_users().await;
        let (proxy, client, _) = held_up(&broker, version).await;
        let (witness, _) =
            connect(MqttOptions { client_id: "witness".to_owned(), ..publisher(&broker, version) }).unwrap();
        connected(&witness).await;
        // This is on its way to the client, so that what comes after it does not get there either.
        soon("an acknowledgement", witness.publish(Publish::new("other/0", "x", Qos::AtLeastOnce))).await.unwrap();
        broker.change_password(USERS[0].0, "changed");
        // The broker throws both out.
        failed(&witness).await;
        client.renew(credentials(USERS[1]), TlsOptions::default()).unwrap();
        others_go_on().await;
        client.disconnect(SessionEnd::Discard, Duration::from_secs(4)).await;
        drop(proxy);

        let next = MqttOptions { credentials: credentials(USERS[1]), ..publisher(&broker, version) };
        let next = MqttOptions { subscriptions: vec![("t/#".to_owned(), Qos::AtLeastOnce)], ..next };
        let (client, mut messages) = connect(next).unwrap();
        connected(&client).await;
        for topic in ["other/1", "t/1"] {
            soon("an acknowledgement", client.publish(Publish::new(topic, "x", Qos::AtLeastOnce))).await.unwrap();
        }
        // The other is heard only where the session with its subscription is still there.
        assert_eq!(receive(&mut messages).await.topic, "t/1", "{version:?}");
    }
}
