//! What stands between a client and its broker, and gets in the way.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
    task::JoinHandle,
};

/// How a [`Proxy`] treats a client that asks for MQTT 5.
#[derive(Clone, Copy)]
pub enum Version5 {
    /// Like any other.
    Welcome,
    /// Hangs up.
    HangUp,
    /// Answers with these bytes and hangs up.
    Answer(&'static [u8]),
}

/// A TCP proxy; gone, with all its connections, when dropped.
pub struct Proxy {
    address: SocketAddr,
    stalled: Arc<watch::Sender<u64>>,
    accepted: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(port: u16, version_5: Version5) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stalled = Arc::new(watch::Sender::new(0));
        let (accepting, accepted) = watch::channel(0);
        let task = tokio::spawn(serve(listener, port, version_5, stalled.clone(), accepting));
        Self { address, stalled, accepted, task }
    }

    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// From now on nothing goes through the connections that stand, and they are not closed either.
    pub fn stall(&self) {
        self.stalled.send_modify(|generation| *generation += 1);
    }

    /// Waits for a connection to be made after the first `count`.
    pub async fn more_than(&mut self, count: u64) {
        self.accepted.wait_for(|accepted| *accepted > count).await.unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    port: u16,
    version_5: Version5,
    stalled: Arc<watch::Sender<u64>>,
    accepting: watch::Sender<u64>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepting.send_modify(|accepted| *accepted += 1);
        connections.spawn(relay(client, port, version_5, stalled.subscribe()));
    }
}

async fn relay(mut client: TcpStream, port: u16, version_5: Version5, mut stalled: watch::Receiver<u64>) {
    // Fixed header, protocol name "MQTT", level: the level is byte 8 where the length takes one byte.
    let mut connect = [0; 9];
    if client.read_exact(&mut connect).await.is_err() {
        return;
    }
    if connect[8] == 5 {
        match version_5 {
            Version5::Welcome => {}
            Version5::HangUp => return,
            Version5::Answer(answer) => {
                let _ = client.write_all(answer).await;
                return;
            }
        }
    }
    let mut broker = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    broker.write_all(&connect).await.unwrap();
    let (from_client, mut to_client) = client.into_split();
    let (from_broker, mut to_broker) = broker.into_split();
    tokio::select! {
        () = pass(from_client, &mut to_broker) => {}
        () = pass(from_broker, &mut to_client) => {}
        _ = stalled.changed() => std::future::pending().await,
    }
}

async fn pass(mut from: OwnedReadHalf, to: &mut tokio::net::tcp::OwnedWriteHalf) {
    let _ = copy(&mut from, to).await;
}
