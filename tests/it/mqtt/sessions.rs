//! What outlives a connection, and how one ends.

use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;
use wasmproxy::mqtt::{
    ConnectionState, MqttOptions, Publish, PublishError, Qos, SessionEnd, VersionPreference, connect,
};

use super::{
    CHUNK, KEPT, VERSIONS, connected, failed, options, publish, read_packet, receive, soon, subscriber, write_packet,
};
use crate::lab::{Broker, BrokerConfig, FaultProxy};

#[tokio::test]
async fn a_session_that_is_kept_delivers_what_came_meanwhile_and_a_discarded_one_does_not() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let persistent =
            MqttOptions { session: KEPT, exactly_once: true, ..subscriber(&broker.url(), version, Qos::AtLeastOnce) };
        let (other, _) = connect(options(&broker.url(), "other", version)).unwrap();

        for (end, kept) in [(SessionEnd::Keep, true), (SessionEnd::Discard, false)] {
            let (client, mut messages) = connect(persistent.clone()).unwrap();
            connected(&client).await;
            client.disconnect(end, Duration::from_secs(20)).await;
            assert_eq!(messages.recv().await, None, "{version:?} {end:?}");
            assert_eq!(*client.state().borrow(), ConnectionState::Closed);
            let late = client.publish(publish(0, 10, Qos::AtLeastOnce)).await;
            assert_eq!(late, Err(PublishError::Closed));

            soon("an acknowledgement", other.publish(publish(1, 10, Qos::AtLeastOnce))).await.unwrap();
            let (client, mut messages) = connect(persistent.clone()).unwrap();
            connected(&client).await;
            // What the resumed session holds comes before this.
            let own = join_all((2..6).map(|number| client.publish(publish(number, 10, Qos::ExactlyOnce))));
            assert!(soon("acknowledgements", own).await.iter().all(Result::is_ok));
            let first = receive(&mut messages).await.topic;
            assert_eq!(first, if kept { "t/1" } else { "t/2" }, "{version:?}");
            client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
        }
    }
}

#[tokio::test]
async fn a_session_is_discarded_though_the_broker_hears_the_farewell_late() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let with = |host: &str, filter: &str| MqttOptions {
            session: KEPT,
            subscriptions: vec![(filter.to_owned(), Qos::AtLeastOnce)],
            ..options(&format!("mqtt://{host}"), "client", version)
        };
        let proxy = FaultProxy::to(&broker.host()).await;
        let (client, _messages) = connect(with(&proxy.host, "other/#")).unwrap();
        connected(&client).await;
        proxy.stall();
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;

        let (client, mut messages) = connect(with(&broker.host(), "t/#")).unwrap();
        connected(&client).await;
        for topic in ["other/1", "t/1"] {
            soon("an acknowledgement", client.publish(Publish::new(topic, "x", Qos::AtLeastOnce))).await.unwrap();
        }
        // The other is heard only where the session with its subscription is still there.
        assert_eq!(receive(&mut messages).await.topic, "t/1", "{version:?}");
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn a_session_is_discarded_even_where_no_connection_stands() {
    let mut broker = BrokerConfig::default().persistent().start().await;
    for version in VERSIONS {
        let persistent = MqttOptions { session: KEPT, ..subscriber(&broker.url(), version, Qos::AtLeastOnce) };
        let (client, _messages) = connect(persistent.clone()).unwrap();
        connected(&client).await;
        broker.stop();
        failed(&client).await;
        broker.start_again().await;
        // Most likely it waits before its next attempt; it may have found its way back too.
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
        let (other, _) = connect(options(&broker.url(), "other", version)).unwrap();
        soon("an acknowledgement", other.publish(publish(1, 10, Qos::AtLeastOnce))).await.unwrap();
        let (client, mut messages) = connect(persistent).unwrap();
        connected(&client).await;
        soon("an acknowledgement", client.publish(publish(2, 10, Qos::AtLeastOnce))).await.unwrap();
        assert_eq!(receive(&mut messages).await.topic, "t/2");
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn what_is_in_flight_is_acknowledged_before_the_connection_ends() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let (client, _) = connect(options(&broker.url(), "client", version)).unwrap();
        connected(&client).await;
        let mut publishing =
            Box::pin(join_all((0..4).map(|number| client.publish(publish(number, CHUNK, Qos::ExactlyOnce)))));
        // Once polled, all four are in flight.
        assert!(futures::poll!(&mut publishing).is_pending());
        let (acks, ()) = tokio::join!(publishing, client.disconnect(SessionEnd::Keep, Duration::from_secs(20)));
        assert!(acks.iter().all(Result::is_ok), "{version:?}: {acks:?}");
    }
}

#[tokio::test]
async fn a_connection_that_nobody_holds_says_goodbye() {
    let broker = BrokerConfig::default().line("log_type all").start().await;
    for version in VERSIONS {
        let (client, mut messages) = connect(options(&broker.url(), "goodbye", version)).unwrap();
        let state = client.state();
        connected(&client).await;
        drop(client);
        assert_eq!(soon("the end", messages.recv()).await, None);
        assert_eq!(*state.borrow(), ConnectionState::Closed);
    }
    broker.server().until_it_logs("Received DISCONNECT from goodbye", 2).await;
}

#[tokio::test]
async fn what_a_former_life_left_half_way_does_not_swallow_new_messages() {
    let broker = Broker::start().await;
    for (version, level) in [(VersionPreference::V311, 4), (VersionPreference::V5, 5)] {
        // A client that publishes at QoS 2 under identifiers 1 to 4, and dies before it releases them.
        let mut former = TcpStream::connect(("127.0.0.1", broker.port())).await.unwrap();
        let properties: &[u8] = if level == 5 { &[5, 0x11, 0, 0, 1, 0] } else { &[] };
        let head = [&[0, 4][..], b"MQTT", &[level, 0, 0, 60], properties, &[0, 6], b"client"].concat();
        write_packet(&mut former, 0x10, &head).await;
        assert_eq!(read_packet(&mut former).await.unwrap().0, 0x20);
        for identifier in 1..5 {
            let publish =
                [&[0, 3][..], b"t/9", &[0, identifier], if level == 5 { &[0][..] } else { &[] }, b"old"].concat();
            write_packet(&mut former, 0x34, &publish).await;
            assert_eq!(read_packet(&mut former).await.unwrap().0, 0x50);
        }
        drop(former);

        let (listener, mut messages) = connect(subscriber(&broker.url(), version, Qos::ExactlyOnce)).unwrap();
        connected(&listener).await;
        let options = MqttOptions { session: KEPT, exactly_once: true, ..options(&broker.url(), "client", version) };
        let (client, _) = connect(options).unwrap();
        let publishing = join_all((0..8).map(|number| client.publish(publish(number, 100, Qos::ExactlyOnce))));
        assert!(soon("acknowledgements", publishing).await.iter().all(Result::is_ok));
        // The four that were held are out now, and every new one.
        let mut topics = Vec::new();
        for _ in 0..12 {
            topics.push(receive(&mut messages).await.topic);
        }
        topics.sort();
        assert_eq!(topics, ["t/0", "t/1", "t/2", "t/3", "t/4", "t/5", "t/6", "t/7", "t/9", "t/9", "t/9", "t/9"]);
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
    }
}
