//! What stands between a client and its server, and gets in the way.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// A TCP proxy that cuts or stalls connections, and hears what clients say. It ends, with all its connections, when
/// dropped.
pub struct FaultProxy {
    /// `127.0.0.1:port`.
    pub host: String,
    heard: Arc<Mutex<Vec<u8>>>,
    accepted: watch::Receiver<usize>,
    stalled: watch::Sender<()>,
    _connections: JoinSet<()>,
}

impl FaultProxy {
    /// The first connections are cut when so many bytes have come from the server; those after them never.
    pub async fn start(upstream: &str, cuts: impl IntoIterator<Item = usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let (accepting, accepted) = watch::channel(0);
        let stalled = watch::Sender::new(());
        let (upstream, to_hear, to_stall) = (upstream.to_owned(), heard.clone(), stalled.clone());
        let mut cuts = cuts.into_iter().collect::<Vec<_>>().into_iter();
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                accepting.send_modify(|accepted| *accepted += 1);
                let server = TcpStream::connect(&upstream).await.unwrap();
                let budget = cuts.next().unwrap_or(usize::MAX);
                open.spawn(relay(client, server, budget, to_hear.clone(), to_stall.subscribe()));
            }
        });
        Self { host, heard, accepted, stalled, _connections: connections }
    }

    /// From now on nothing goes through the connections that stand, and they are not closed either.
    pub fn stall(&self) {
        self.stalled.send_replace(());
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        *self.accepted.borrow()
    }

    /// Waits until there have been more than `count` connections.
    pub async fn more_than(&self, count: usize) {
        self.accepted.clone().wait_for(|accepted| *accepted > count).await.unwrap();
    }

    /// The lines of requests that begin so, in order: `GET ` for all, `range: ` for the parts that were asked for.
    pub fn lines(&self, beginning: &str) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let lines = std::str::from_utf8(&heard).unwrap().lines();
        lines.filter_map(|line| line.strip_prefix(beginning)).map(str::to_owned).collect()
    }
}

async fn relay(
    client: TcpStream,
    server: TcpStream,
    mut budget: usize,
    heard: Arc<Mutex<Vec<u8>>>,
    mut stalled: watch::Receiver<()>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            heard.lock().unwrap().extend_from_slice(&buffer[..read]);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    let down = async {
        let mut buffer = vec![0; 16 * 1024];
        while budget > 0 {
            let wanted = budget.min(buffer.len());
            let Ok(read @ 1..) = from_server.read(&mut buffer[..wanted]).await else { break };
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
            budget -= read;
        }
    };
    // Either side's end closes both.
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = stalled.changed() => std::future::pending().await,
    }
}
