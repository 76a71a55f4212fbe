//! Brokers that close the connection where they should say no.

use std::time::Duration;

use futures::future::join_all;
use wasmproxy::mqtt::{MqttOptions, Publish, PublishError, Qos, SessionEnd, VersionPreference, connect};

use super::{CHUNK, KEPT, VERSIONS, connected, options, publish, soon, subscriber};
use crate::{
    lab::{Broker, BrokerConfig, Direction, FaultProxy, Manner, OddBroker},
    waiting::taken_in,
};

fn publisher(url: &str) -> MqttOptions {
    MqttOptions { session: KEPT, exactly_once: true, ..options(url, "publisher", VersionPreference::V311) }
}

#[tokio::test]
async fn a_message_that_the_broker_finds_too_large_fails_and_the_others_go_on() {
    let limited = |bytes: usize| BrokerConfig::default().line(format!("max_packet_size {bytes}"));
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut broker = limited(400_000).start().await;
        let (listener, messages) = connect(subscriber(&broker.url(), VersionPreference::V311, qos)).unwrap();
        let mut messages = taken_in(messages);
        connected(&listener).await;
        let (client, _) = connect(publisher(&broker.url())).unwrap();

        // Nothing was taken before, so that each of them may be to blame.
        let sizes = [300_000, CHUNK, 10, 350_000, CHUNK + 1, 20];
        let publishing = sizes.iter().enumerate().map(|(number, size)| client.publish(publish(number, *size, qos)));
        let published = soon("the end of all", join_all(publishing)).await;
        for (size, outcome) in sizes.iter().zip(&published) {
            match outcome {
                Ok(_) => assert!(*size < 400_000, "{qos:?}: {size}"),
                Err(PublishError::SeemsTooLarge { size: found, .. }) => {
                    assert!(*size > 400_000 && *found > 400_000, "{qos:?}: {size}, {found}");
                }
                Err(error) => panic!("{qos:?}: {size}: {error}"),
            }
        }
        let mut heard = Vec::new();
        while heard.len() < 4 {
            heard.extend(soon("a message", messages.recv()).await.map(|message| message.topic));
            // A repetition after the link was replaced.
            heard.sort();
            heard.dedup();
        }
        assert_eq!(heard, ["t/0", "t/2", "t/3", "t/5"]);

        // Its limit is another by now, and the conviction ends by itself.
        broker.start_again_as(limited(1_000_000)).await;
        let taken = async {
            while client.publish(publish(1, CHUNK, qos)).await.is_err() {
                // Nobody tells when a conviction ends, and until then each refusal comes at once.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        soon("the broker's new limit", taken).await;
    }
}

#[tokio::test]
async fn at_qos_0_what_the_broker_finds_too_large_is_not_sent_for_ever() {
    let broker = BrokerConfig::default().line("max_packet_size 1000").start().await;
    let (client, _) = connect(publisher(&broker.url())).unwrap();
    let poison = async {
        loop {
            if let Err(error) = client.publish(publish(1, CHUNK, Qos::AtMostOnce)).await {
                break error;
            }
        }
    };
    let error = soon("a refusal", poison).await;
    assert!(matches!(error, PublishError::SeemsTooLarge { .. }), "{error}");
    soon("an acknowledgement", client.publish(publish(2, 10, Qos::AtLeastOnce))).await.unwrap();
}

#[tokio::test]
async fn losses_for_other_reasons_convict_nobody() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let proxy = FaultProxy::to(&broker.host()).await;
        let url = format!("mqtt://{}", proxy.host);
        let (client, _) = connect(MqttOptions { session: KEPT, ..options(&url, "publisher", version) }).unwrap();
        soon("the first", client.publish(publish(0, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        // Four times before the chunk is through.
        proxy.cut_after(Direction::ToServer, [100_000; 3]);
        proxy.cut();
        soon("the second", client.publish(publish(0, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        assert!(proxy.connections() >= 5, "{}", proxy.connections());
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
    }
}

#[tokio::test]
async fn a_topic_that_a_broker_hangs_up_on_is_told_and_the_others_go_on() {
    let broker = Broker::start().await;
    let manners = |topic: &str, _: &[u8]| if topic == "denied" { Manner::HangUp } else { Manner::Pass };
    let closing = OddBroker::before(broker.host(), manners).await;
    // One of version 5 says what it does not allow.
    for version in [VersionPreference::V311] {
        let options = MqttOptions { session: KEPT, ..options(&closing.url, "client", version) };
        let (client, _) = connect(options).unwrap();
        let denied = client.publish(Publish::new("denied", "x", Qos::AtLeastOnce));
        let chunks = join_all((0..20).map(|number| client.publish(publish(number, CHUNK, Qos::AtLeastOnce))));
        let (denied, acks) = tokio::join!(soon("a refusal", denied), soon("acknowledgements", chunks));
        assert_eq!(denied, Err(PublishError::SeemsDenied { topic: "denied".into() }), "{version:?}");
        assert!(acks.iter().all(Result::is_ok), "{version:?}: {acks:?}");
        client.disconnect(SessionEnd::Discard, Duration::from_secs(20)).await;
    }
}
