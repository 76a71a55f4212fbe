//! Stands between the worker and a server, passes everything on, and hears what the worker says.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::waiting::soon;

/// Hears which messages are in flight to a broker, and can keep its acknowledgements back.
pub struct BrokerTap {
    /// `127.0.0.1:port`.
    pub host: String,
    flight: watch::Sender<Flight>,
    _relay: JoinSet<()>,
}

/// Hears what a registry is asked for, without TLS.
pub struct RegistryTap {
    /// `127.0.0.1:port`.
    pub host: String,
    heard: watch::Sender<Vec<u8>>,
    _relay: JoinSet<()>,
}

/// Messages at QoS 1 from the worker to the broker.
#[derive(Default)]
struct Flight {
    /// The packet identifiers of those that the worker has no acknowledgement of.
    unacknowledged: Vec<[u8; 2]>,
    most: usize,
    /// How many acknowledgements are passed on by and by; `None` for all.
    allowed: Option<usize>,
}

/// Packet types, in the upper half of their first byte (section 2.1.2 of MQTT 5).
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;

impl Flight {
    fn published(&mut self, id: [u8; 2]) {
        self.unacknowledged.push(id);
        self.most = self.most.max(self.unacknowledged.len());
    }

    fn acknowledged(&mut self, id: &[u8]) {
        self.unacknowledged.retain(|unacknowledged| unacknowledged != id);
        self.allowed = self.allowed.map(|allowed| allowed.saturating_sub(1));
    }
}

impl BrokerTap {
    pub async fn to(upstream: String) -> Self {
        let flight = watch::Sender::<Flight>::default();
        let shared = flight.clone();
        let (host, relay) = relay(upstream, move |connection| pass_packets(connection, shared.clone())).await;
        Self { host, flight, _relay: relay }
    }

    /// Keeps acknowledgements back from now on.
    pub fn hold(&self) {
        self.flight.send_modify(|flight| flight.allowed = Some(0));
    }

    /// Passes on so many acknowledgements that are kept back.
    pub fn allow(&self, acknowledgements: usize) {
        self.flight.send_modify(|flight| flight.allowed = flight.allowed.map(|allowed| allowed + acknowledgements));
    }

    /// Passes on all acknowledgements.
    pub fn release(&self) {
        self.flight.send_modify(|flight| flight.allowed = None);
    }

    /// Waits until so many messages are in flight.
    pub async fn until_in_flight(&self, messages: usize) {
        let mut flight = self.flight.subscribe();
        soon("messages", flight.wait_for(|flight| flight.unacknowledged.len() >= messages)).await.unwrap();
    }

    /// The most messages that were in flight at a time.
    pub fn most_in_flight(&self) -> usize {
        self.flight.borrow().most
    }
}

impl RegistryTap {
    pub async fn to(upstream: String) -> Self {
        let heard = watch::Sender::<Vec<u8>>::default();
        let shared = heard.clone();
        let (host, relay) = relay(upstream, move |connection| pass_requests(connection, shared.clone())).await;
        Self { host, heard, _relay: relay }
    }

    /// What was asked for since the last call, in order: `HEAD manifests`, `GET blobs`.
    pub fn requests(&self) -> Vec<String> {
        let heard = String::from_utf8(self.heard.send_replace(Vec::new())).unwrap();
        let requests = heard.lines().filter_map(|line| line.strip_suffix(" HTTP/1.1"));
        requests
            .map(|request| {
                let what = ["manifests", "blobs"].into_iter().find(|what| request.contains(&format!("/{what}/")));
                let (method, path) = request.split_once(' ').unwrap();
                format!("{method} {}", what.unwrap_or(path))
            })
            .collect()
    }
}

type Connection = [(OwnedReadHalf, OwnedWriteHalf); 2];

/// Accepts connections, and passes on what they bring until the task set is dropped; both ways of a connection end with either.
async fn relay<F: Future<Output = io::Result<()>> + Send + 'static>(
    upstream: String,
    pass: impl Fn(Connection) -> F + Send + 'static,
) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let mut relay = JoinSet::new();
    relay.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&upstream).await else { continue };
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let ((client_says, to_client), (server_says, to_server)) = (client.into_split(), server.into_split());
            open.spawn(pass([(client_says, to_server), (server_says, to_client)]));
        }
    });
    (host, relay)
}

async fn pass_packets(connection: Connection, flight: watch::Sender<Flight>) -> io::Result<()> {
    let [(mut client, mut to_server), (mut server, mut to_client)] = connection;
    let there = async {
        loop {
            let (packet, body) = packet(&mut client).await?;
            if let Some(id) = published(&packet[body..], packet[0]) {
                flight.send_modify(|flight| flight.published(id));
            }
            to_server.write_all(&packet).await?;
        }
    };
    let (keep, mut kept) = mpsc::unbounded_channel();
    let (pass_on, mut others) = mpsc::unbounded_channel();
    let back = async {
        loop {
            let (packet, body) = packet(&mut server).await?;
            let to = if packet[0] >> 4 == PUBACK { &keep } else { &pass_on };
            let _ = to.send((packet, body));
        }
    };
    let onwards = async {
        let mut changes = flight.subscribe();
        loop {
            // What else the broker has to say, requests among it, does not wait behind acknowledgements.
            let acknowledgement = async {
                let _ = changes.wait_for(|flight| flight.allowed != Some(0)).await;
                kept.recv().await
            };
            let (packet, body) = tokio::select! {
                Some(packet) = others.recv() => packet,
                Some(packet) = acknowledgement => packet,
                else => return Ok(()),
            };
            if packet[0] >> 4 == PUBACK {
                flight.send_modify(|flight| flight.acknowledged(&packet[body..body + 2]));
            }
            to_client.write_all(&packet).await?;
        }
    };
    either(there, either(back, onwards)).await
}

/// A packet as it is, and where its body begins.
async fn packet(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, usize)> {
    let mut packet = vec![from.read_u8().await?];
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = from.read_u8().await?;
        packet.push(byte);
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = packet.len();
    packet.resize(body + length, 0);
    from.read_exact(&mut packet[body..]).await?;
    Ok((packet, body))
}

/// The identifier of a message at QoS 1.
fn published(body: &[u8], first: u8) -> Option<[u8; 2]> {
    if first >> 4 != PUBLISH || first >> 1 & 0b11 != 1 {
        return None;
    }
    let (topic, rest) = body.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(*topic))..)?.first_chunk().copied()
}

async fn pass_requests(connection: Connection, heard: watch::Sender<Vec<u8>>) -> io::Result<()> {
    let [(client, to_server), (server, to_client)] = connection;
    let there = pass(client, to_server, |said| heard.send_modify(|heard| heard.extend_from_slice(said)));
    either(there, pass(server, to_client, |_| ())).await
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    hear: impl Fn(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        hear(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}

/// Two sides of a connection, until one of them ends.
async fn either(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    tokio::select! {
        ended = one => ended,
        ended = other => ended,
    }
}
