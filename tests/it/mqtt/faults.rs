//! Brokers that die, connections that go silent, messages that break them.

use std::{collections::HashSet, process::Command, time::Duration};

use futures::future::join_all;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc};
use wasmproxy::mqtt::{ConnectionState, MqttOptions, Publish, Qos, VersionPreference, connect};

use super::{
    CHUNK, KEPT, VERSIONS, connected, failed, options, publish, read_packet, receive, receive_all, soon, subscriber,
};
use crate::lab::{Broker, BrokerConfig, FaultProxy};

#[tokio::test]
async fn what_is_outstanding_when_the_broker_is_killed_is_published_when_it_is_back() {
    for version in VERSIONS {
        for (qos, persistent) in
            [(Qos::AtLeastOnce, false), (Qos::AtLeastOnce, true), (Qos::ExactlyOnce, false), (Qos::ExactlyOnce, true)]
        {
            let broker = BrokerConfig::default();
            let mut broker = if persistent { broker.persistent() } else { broker }.start().await;
            let listening = MqttOptions { session: KEPT, ..subscriber(&broker.url(), version, qos) };
            let (listener, mut messages) = connect(listening).unwrap();
            connected(&listener).await;
            let publishing = MqttOptions { session: KEPT, ..options(&broker.url(), "publisher", version) };
            let (client, _) = connect(publishing).unwrap();
            let (progress, mut acknowledged) = mpsc::channel(100);
            let publisher = tokio::spawn(async move {
                let all = (0..40).map(|number| {
                    let (client, progress) = (client.clone(), progress.clone());
                    async move {
                        client.publish(publish(number, CHUNK, qos)).await.unwrap();
                        progress.send(number).await.unwrap();
                    }
                });
                join_all(all).await;
                client
            });
            let receiver = tokio::spawn(async move {
                let twice = receive_all(&mut messages, 40, CHUNK).await;
                (listener, twice)
            });
            for _ in 0..10 {
                soon("progress", acknowledged.recv()).await.unwrap();
            }
            if persistent {
                broker.stop();
            } else {
                broker.kill();
            }
            broker.start_again().await;
            // Without persistence the broker forgets what it has acknowledged but not delivered: what counts is that
            // every publish ends well.
            soon("the publisher", publisher).await.unwrap();
            if persistent {
                let (_, twice) = soon("the receiver", receiver).await.unwrap();
                assert!(qos != Qos::ExactlyOnce || twice == 0, "{version:?}: {twice} came twice");
            }
        }
    }
}

#[tokio::test]
async fn connections_that_go_silent_are_replaced() {
    let broker = Broker::start().await;
    for version in VERSIONS {
        let proxy = FaultProxy::start(&broker.host(), []).await;
        let url = format!("mqtt://{}", proxy.host);
        let impatient = MqttOptions {
            keep_alive: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            ..options(&url, "client", version)
        };
        let (client, _) = connect(impatient).unwrap();
        soon("the first", client.publish(publish(0, CHUNK, Qos::AtLeastOnce))).await.unwrap();
        proxy.stall();
        let outstanding = join_all((1..5).map(|number| client.publish(publish(number, CHUNK, Qos::ExactlyOnce))));
        let (acks, ()) = tokio::join!(soon("the rest", outstanding), proxy.more_than(1));
        assert!(acks.iter().all(Result::is_ok), "{acks:?}");
    }
}

#[tokio::test]
async fn a_broker_that_never_acknowledges_is_left_for_a_new_connection() {
    // CONNACK, then an answer to every ping and to nothing else; the second connection acknowledges.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let fake = tokio::spawn(async move {
        for acknowledge in [false, true] {
            let (mut socket, _) = listener.accept().await.unwrap();
            while let Some((kind, body)) = read_packet(&mut socket).await {
                let answer: &[u8] = match kind >> 4 {
                    1 => &[0x20, 2, 0, 0],
                    3 if acknowledge => &[0x40, 2, body[3], body[4]],
                    12 => &[0xd0, 0],
                    _ => &[],
                };
                socket.write_all(answer).await.unwrap();
            }
        }
    });
    let options = MqttOptions {
        keep_alive: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ..options(&url, "client", VersionPreference::V311)
    };
    let (client, _) = connect(options).unwrap();
    soon("the acknowledgement", client.publish(Publish::new("t", "x", Qos::AtLeastOnce))).await.unwrap();
    drop(client);
    soon("the end", fake).await.unwrap();
}

#[tokio::test]
async fn an_abandoned_message_does_not_come_back_with_the_next_connection() {
    // A broker that hangs up on every large message, as one of MQTT 3.1.1 must that has a limit.
    let broker = BrokerConfig::default().line("max_packet_size 1000").start().await;
    let options = MqttOptions { session: KEPT, ..options(&broker.url(), "client", VersionPreference::V311) };
    let (client, _) = connect(options).unwrap();
    let mut state = client.state();
    {
        let poison = client.publish(publish(1, 10_000, Qos::AtLeastOnce));
        let twice_lost = state.wait_for(|state| matches!(state, ConnectionState::Connecting { attempts: 2.., .. }));
        tokio::select! {
            _ = poison => panic!("the broker takes no such message"),
            lost = soon("two losses", twice_lost) => drop(lost.unwrap()),
        }
    }
    soon("an acknowledgement", client.publish(publish(2, 10, Qos::AtLeastOnce))).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_costs_a_session_and_not_the_channel() {
    let broker = BrokerConfig::default().line("log_type all").start().await;
    let (device, _) = connect(options(&broker.url(), "device", VersionPreference::V311)).unwrap();
    let others = MqttOptions {
        subscriptions: vec![("own/#".into(), Qos::ExactlyOnce)],
        ..options(&broker.url(), "listener", VersionPreference::V311)
    };
    let (listener, mut heard) = connect(others).unwrap();
    connected(&listener).await;
    let limited = MqttOptions {
        session: KEPT,
        exactly_once: true,
        max_packet_size: 10_000,
        ..subscriber(&broker.url(), VersionPreference::V311, Qos::AtLeastOnce)
    };
    let (client, mut messages) = connect(limited).unwrap();
    connected(&client).await;

    let own = join_all((0..200).map(|number| {
        let qos = if number % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce };
        client.publish(Publish::new(format!("own/{number}"), vec![0; 5000], qos))
    }));
    let oversized = device.publish(publish(1, 20_000, Qos::AtLeastOnce));
    let hear_all = async {
        let mut missing: HashSet<_> = (0..200).map(|number| format!("own/{number}")).collect();
        while !missing.is_empty() {
            missing.remove(&receive(&mut heard).await.topic);
        }
    };
    let (acks, sent, ()) = tokio::join!(soon("acknowledgements", own), oversized, hear_all);
    assert!(sent.is_ok() && acks.iter().all(Result::is_ok), "{sent:?} {acks:?}");

    // Nobody else says so: the session with the message is ended.
    broker.server().until_it_logs("Received DISCONNECT from subscriber", 1).await;
    connected(&client).await;
    soon("an acknowledgement", device.publish(publish(2, 10, Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(receive(&mut messages).await.topic, "t/2");
    soon("an acknowledgement", client.publish(publish(3, 10, Qos::ExactlyOnce))).await.unwrap();
    assert_eq!(receive(&mut messages).await.topic, "t/3");
}

#[tokio::test]
async fn a_retained_message_that_is_too_large_is_named_until_it_is_cleared() {
    let broker = Broker::start().await;
    let retain = |payload: &[&str]| {
        let mut publisher = Command::new("mosquitto_pub");
        publisher.args(["-p", &broker.port().to_string(), "-t", "t/1", "-r", "-q", "1"]).args(payload);
        assert!(publisher.status().unwrap().success());
    };
    retain(&["-m", &"x".repeat(20_000)]);
    let limited = MqttOptions {
        session: KEPT,
        max_packet_size: 10_000,
        ..subscriber(&broker.url(), VersionPreference::V311, Qos::AtLeastOnce)
    };
    let (client, mut messages) = connect(limited).unwrap();
    let mut state = client.state();
    let again = state.wait_for(|state| matches!(state, ConnectionState::Connecting { attempts: 3.., .. }));
    drop(soon("more than one loss", again).await.unwrap());
    let failure = failed(&client).await;
    assert!(failure.message.contains("clear the message if it is retained"), "{}", failure.message);
    retain(&["-n"]);
    soon("an acknowledgement", client.publish(publish(1, 10, Qos::AtLeastOnce))).await.unwrap();
    assert_eq!(receive(&mut messages).await.payload.len(), 10);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_by_its_header() {
    // The header of a PUBLISH of 256 MiB, and nothing after it.
    const HEADER: [u8; 5] = [0x30, 0xff, 0xff, 0xff, 0x7f];
    for (version, connack) in
        [(VersionPreference::V311, &[0x20, 2, 0, 0][..]), (VersionPreference::V5, &[0x20, 3, 0, 0, 0])]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let fake = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            read_packet(&mut socket).await.unwrap();
            socket.write_all(&[connack, &HEADER].concat()).await.unwrap();
            while read_packet(&mut socket).await.is_some() {}
        });
        let (client, _messages) = connect(options(&url, "client", version)).unwrap();
        let failure = failed(&client).await;
        assert!(failure.message.contains("268435455") || failure.message.contains("268435460"), "{}", failure.message);
        soon("the hang-up", fake).await.unwrap();
    }
}
