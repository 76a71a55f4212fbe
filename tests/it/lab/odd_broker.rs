//! A stand-in for brokers that do what mosquitto does not: mosquitto itself, behind something that reads along.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    sync::Mutex,
    task::JoinSet,
};

/// What happens to a message that a client publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// mosquitto hears of it.
    Pass,
    /// The connection is closed, as by cloud brokers where a topic is not allowed.
    HangUp,
    /// Nobody hears of it, and it is not answered.
    Swallow,
    /// It is answered with this reason code, at QoS 1 and 2 (MQTT 5 only).
    Refuse(u8),
}

/// It ends, with all its connections, when dropped.
pub struct OddBroker {
    /// `mqtt://127.0.0.1:port`.
    pub url: String,
    _connections: JoinSet<()>,
}

type Manners = dyn Fn(&str, &[u8]) -> Manner + Send + Sync;

impl OddBroker {
    /// Before the broker at `host`; `manners` is asked for each message, with its topic, and with its payload and what is
    /// before that: a packet identifier and, on MQTT 5, properties.
    pub async fn before(host: String, manners: impl Fn(&str, &[u8]) -> Manner + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("mqtt://{}", listener.local_addr().unwrap());
        let manners: Arc<Manners> = Arc::new(manners);
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (host, manners) = (host.clone(), manners.clone());
                open.spawn(async move { relay(client, &host, &*manners).await });
            }
        });
        Self { url, _connections: connections }
    }
}

/// Returns, and so hangs up, at the end of either side, or where the manners say so.
async fn relay(client: TcpStream, host: &str, manners: &Manners) -> io::Result<()> {
    let (mut from_client, to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = TcpStream::connect(host).await?.into_split();
    let to_client = Mutex::new(to_client);
    let up = async {
        loop {
            let packet = read_packet(&mut from_client).await?;
            match published(&packet).map_or(Manner::Pass, |(topic, rest)| manners(topic, rest)) {
                Manner::Pass => to_broker.write_all(&packet).await?,
                Manner::Swallow => {}
                Manner::HangUp => return Err::<(), _>(io::ErrorKind::ConnectionAborted.into()),
                Manner::Refuse(reason) => refuse(&packet, reason, &to_client).await?,
            }
        }
    };
    let down = async {
        loop {
            let packet = read_packet(&mut from_broker).await?;
            to_client.lock().await.write_all(&packet).await?;
        }
    };
    tokio::select! {
        end = up => end,
        end = down => end,
    }
}

async fn refuse(packet: &[u8], reason: u8, to_client: &Mutex<OwnedWriteHalf>) -> io::Result<()> {
    let Some((_, [high, low, ..])) = published(packet) else { return Ok(()) };
    // PUBACK or PUBREC.
    let kind = if packet[0] & 0b0110 == 0b0010 { 0x40 } else { 0x50 };
    to_client.lock().await.write_all(&[kind, 3, *high, *low, reason]).await
}

/// A whole packet, header included.
async fn read_packet(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut packet = vec![from.read_u8().await?];
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = from.read_u8().await?;
        packet.push(byte);
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let header = packet.len();
    packet.resize(header + length, 0);
    from.read_exact(&mut packet[header..]).await?;
    Ok(packet)
}

/// The topic of a PUBLISH, and what follows it.
fn published(packet: &[u8]) -> Option<(&str, &[u8])> {
    if packet[0] >> 4 != 3 {
        return None;
    }
    let body = &packet[1 + packet[1..].iter().position(|byte| byte & 0x80 == 0)? + 1..];
    let (length, rest) = body.split_first_chunk::<2>()?;
    let (topic, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((std::str::from_utf8(topic).unwrap(), rest))
}
