//! A broker that does not know MQTT 5, in front of one that does.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// It ends, with all its connections, when dropped.
pub struct OldBroker {
    pub url: String,
    _connections: JoinSet<()>,
}

impl OldBroker {
    /// Hangs up on whoever asks for MQTT 5, after these bytes; all others reach the broker behind it.
    pub async fn before(host: String, answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(relay(client, host.clone(), answer));
            }
        });
        Self { url, _connections: connections }
    }
}

async fn relay(mut client: TcpStream, host: String, answer: &'static [u8]) {
    // Fixed header, protocol name "MQTT", level: the level is byte 8 where the length takes one byte.
    let mut connect = [0; 9];
    if client.read_exact(&mut connect).await.is_err() {
        return;
    }
    if connect[8] == 5 {
        let _ = client.write_all(answer).await;
        return;
    }
    let mut broker = TcpStream::connect(host).await.unwrap();
    broker.write_all(&connect).await.unwrap();
    let _ = copy_bidirectional(&mut client, &mut broker).await;
}
