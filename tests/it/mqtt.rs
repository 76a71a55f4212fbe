//! The `mqtt` room against a real mosquitto, whole and broken.

mod connecting;
mod delivery;
mod faults;
mod hang_ups;
mod old_broker;
mod random_cuts;
mod renewal;
mod sessions;

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use wasmproxy::mqtt::{
    Client, ConnectFailure, ConnectionState, Message, MqttOptions, Publish, Qos, Session, Version, VersionPreference,
};

use crate::waiting::{self, soon};

/// 512,000 bytes as base64, and a little.
const CHUNK: usize = 683_000;
const VERSIONS: [VersionPreference; 2] = [VersionPreference::V311, VersionPreference::V5];
const KEPT: Session = Session::Persistent { expiry: Duration::from_secs(300) };

fn options(url: &str, id: &str, version: VersionPreference) -> MqttOptions {
    MqttOptions { version, ..MqttOptions::new(url.parse().unwrap(), id) }
}

fn subscriber(url: &str, version: VersionPreference, qos: Qos) -> MqttOptions {
    MqttOptions { subscriptions: vec![("t/#".into(), qos)], ..options(url, "subscriber", version) }
}

async fn connected(client: &Client) -> (Version, Option<u32>) {
    match waiting::connected(client).await {
        ConnectionState::Connected { version, max_packet_size, .. } => (version, max_packet_size),
        _ => unreachable!(),
    }
}

/// The next failure.
async fn failed(client: &Client) -> ConnectFailure {
    let mut state = client.state();
    let failed = |state: &ConnectionState| matches!(state, ConnectionState::Connecting { failure: Some(_), .. });
    match soon("a failure", state.wait_for(failed)).await.unwrap().clone() {
        ConnectionState::Connecting { failure: Some(failure), .. } => failure,
        _ => unreachable!(),
    }
}

/// A payload that says its number and is hard to mistake for another.
fn payload(number: usize, size: usize) -> Bytes {
    let mut bytes = vec![u8::try_from(number % 251).unwrap(); size];
    bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    bytes.into()
}

fn publish(number: usize, size: usize, qos: Qos) -> Publish {
    Publish::new(format!("t/{number}"), payload(number, size), qos)
}

async fn receive(messages: &mut mpsc::Receiver<Message>) -> Message {
    soon("a message", messages.recv()).await.expect("the connection stands")
}

/// Receives until all of `0..count` have arrived intact; says how many came twice.
async fn receive_all(messages: &mut mpsc::Receiver<Message>, count: usize, size: usize) -> usize {
    let mut seen = vec![false; count];
    let mut twice = 0;
    while seen.contains(&false) {
        let message = receive(messages).await;
        let number: usize = message.topic.strip_prefix("t/").unwrap().parse().unwrap();
        assert_eq!(message.payload, payload(number, size), "message {number} is intact");
        twice += usize::from(std::mem::replace(&mut seen[number], true));
    }
    twice
}

/// A packet's first byte and its body; bodies are short here.
async fn read_packet(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let kind = socket.read_u8().await.ok()?;
    let length = socket.read_u8().await.ok()?;
    assert!(length < 128);
    let mut body = vec![0; length.into()];
    socket.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

async fn write_packet(socket: &mut TcpStream, kind: u8, body: &[u8]) {
    socket.write_all(&[&[kind, u8::try_from(body.len()).unwrap()], body].concat()).await.unwrap();
}
