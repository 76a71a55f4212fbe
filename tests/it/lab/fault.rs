//! What stands between a client and its server, and gets in the way.
//!
//! ```text
//!   client ──ToServer──► FaultProxy ──► server         cut, stall, refuse, delay, throttle, corrupt,
//!          ◄──ToClient──            ◄──                and count what went through
//! ```
//!
//! Until it is told otherwise it passes everything on, half-closed connections included. What it is told holds at once:
//! nobody has to wait for it, and a test can wait for what comes of it ([`FaultProxy::more_than`],
//! [`FaultProxy::until_sent`]).

mod relay;
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use relay::Connection;

/// How much of what clients say is kept for [`FaultProxy::lines`], in bytes: requests, and not a day of chunks.
const HEARD: usize = 1 << 20;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From clients to the server.
    ToServer,
    /// From the server to clients.
    ToClient,
}

/// What lasts until it is said otherwise. Connections have numbers, in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// Those below this are cut.
    cut: u64,
    /// Through those below this nothing passes.
    stalled: u64,
    /// To the server nothing passes, and what it says does.
    deaf: bool,
    refusing: bool,
    delay: Duration,
    /// Bytes a second, each way of each connection.
    rate: Option<u64>,
}

/// What will happen to one connection.
#[derive(Debug, Default)]
struct Fate {
    cut: Option<(Direction, u64)>,
    corrupt: Option<(Direction, u64)>,
}

/// What the next connections will suffer, each list from its front.
#[derive(Debug, Default)]
struct Plans {
    cuts: VecDeque<(Direction, u64)>,
    corruptions: VecDeque<(Direction, u64)>,
}

/// What has gone through.
#[derive(Debug, Default)]
struct Traffic {
    accepted: u64,
    to_server: u64,
    to_client: u64,
}

impl Traffic {
    fn sent(&self, direction: Direction) -> u64 {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

/// What the proxy and its connections share.
#[derive(Default)]
struct Shared {
    faults: watch::Sender<Faults>,
    plans: Mutex<Plans>,
    traffic: watch::Sender<Traffic>,
    heard: Mutex<Vec<u8>>,
}

/// A TCP proxy that does what is bad for connections, and hears what clients say. It ends, with all its connections,
/// when dropped.
pub struct FaultProxy {
    /// `127.0.0.1:port`.
    pub host: String,
    shared: Arc<Shared>,
    _connections: JoinSet<()>,
}

impl FaultProxy {
    /// Passes everything on to `upstream` (`127.0.0.1:port`), which need not be there yet, or always: a client that
    /// comes meanwhile sees its connection closed.
    pub async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let shared = Arc::<Shared>::default();
        let mut connections = JoinSet::new();
        connections.spawn(accept(listener, upstream.to_owned(), shared.clone()));
        Self { host, shared, _connections: connections }
    }

    /// The first connections are cut when so many bytes have come from the server; those after them never.
    pub async fn start(upstream: &str, cuts: impl IntoIterator<Item = u64>) -> Self {
        let proxy = Self::to(upstream).await;
        proxy.cut_after(Direction::ToClient, cuts);
        proxy
    }

    /// Breaks all connections that stand, at both ends and without a farewell (RST): what is on its way is lost.
    pub fn cut(&self) {
        let accepted = self.accepted();
        self.shared.faults.send_modify(|faults| faults.cut = accepted);
    }

    /// The next connections, in order, are closed when so many bytes have gone that way; those after them are not. Where
    /// there are plans already, these come after them.
    pub fn cut_after(&self, direction: Direction, bytes: impl IntoIterator<Item = u64>) {
        self.shared.plans.lock().unwrap().cuts.extend(bytes.into_iter().map(|bytes| (direction, bytes)));
    }

    /// In each of the next connections, in order, the byte that is the so-manieth that way, from 0, is another one.
    pub fn corrupt(&self, direction: Direction, at: impl IntoIterator<Item = u64>) {
        self.shared.plans.lock().unwrap().corruptions.extend(at.into_iter().map(|byte| (direction, byte)));
    }

    /// Whether whoever comes is accepted and closed at once, as by a server that is overloaded. Plans wait for others.
    pub fn refuse(&self, refusing: bool) {
        self.shared.faults.send_modify(|faults| faults.refusing = refusing);
    }

    /// From now on nothing goes through the connections that stand, and they are not closed either. Those to come are
    /// well.
    pub fn stall(&self) {
        let accepted = self.accepted();
        self.shared.faults.send_modify(|faults| faults.stalled = accepted);
    }

    /// The same for those to come, too.
    pub fn stall_all(&self) {
        self.shared.faults.send_modify(|faults| faults.stalled = u64::MAX);
    }

    /// From now on the server hears nothing more, on no connection, and what it has to say still arrives.
    pub fn deafen(&self) {
        self.shared.faults.send_modify(|faults| faults.deaf = true);
    }

    /// What was stalled goes on, and nothing was lost.
    pub fn resume(&self) {
        self.shared.faults.send_modify(|faults| (faults.stalled, faults.deaf) = (0, false));
    }

    /// Every piece that is read, of at most 16 KiB, waits so long until it is passed on; the next one is read after that.
    pub fn delay(&self, delay: Duration) {
        self.shared.faults.send_modify(|faults| faults.delay = delay);
    }

    /// So many bytes pass in a second, each way of each connection; `None` for as many as there are. Besides them, an
    /// end can send what the buffers of the kernel take.
    pub fn throttle(&self, bytes_per_second: impl Into<Option<u64>>) {
        let rate = bytes_per_second.into();
        assert_ne!(rate, Some(0), "`stall` is the word for that");
        self.shared.faults.send_modify(|faults| faults.rate = rate);
    }

    /// Ends whatever lasts, and forgets what was to happen to connections to come. What is cut stays cut.
    pub fn heal(&self) {
        *self.shared.plans.lock().unwrap() = Plans::default();
        self.shared.faults.send_modify(|faults| *faults = Faults { cut: faults.cut, ..Faults::default() });
    }

    /// How many connections there have been, with those refused.
    pub fn connections(&self) -> usize {
        usize::try_from(self.accepted()).unwrap()
    }

    /// Waits until there have been more than `count` connections.
    pub async fn more_than(&self, count: usize) {
        let count = count as u64;
        self.shared.traffic.subscribe().wait_for(|traffic| traffic.accepted > count).await.unwrap();
    }

    /// How many bytes have been passed on that way, over all connections.
    pub fn sent(&self, direction: Direction) -> u64 {
        self.shared.traffic.borrow().sent(direction)
    }

    /// Waits until at least so many bytes have been passed on that way, over all connections.
    pub async fn until_sent(&self, direction: Direction, bytes: u64) {
        self.shared.traffic.subscribe().wait_for(|traffic| traffic.sent(direction) >= bytes).await.unwrap();
    }

    /// The lines of requests that begin so, in order: `GET ` for all, `range: ` for the parts that were asked for.
    ///
    /// # Panics
    /// Where clients have said more than is kept, or no text.
    pub fn lines(&self, beginning: &str) -> Vec<String> {
        let heard = self.shared.heard.lock().unwrap();
        assert!(heard.len() < HEARD, "clients have said more than is kept");
        let lines = std::str::from_utf8(&heard).unwrap().lines();
        lines.filter_map(|line| line.strip_prefix(beginning)).map(str::to_owned).collect()
    }

    fn accepted(&self) -> u64 {
        self.shared.traffic.borrow().accepted
    }
}

async fn accept(listener: TcpListener, upstream: String, shared: Arc<Shared>) {
    let mut open = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        // Those that have ended, lest they gather.
        while open.try_join_next().is_some() {}
        let number = shared.traffic.borrow().accepted;
        shared.traffic.send_modify(|traffic| traffic.accepted += 1);
        if shared.faults.borrow().refusing {
            continue;
        }
        let mut plans = shared.plans.lock().unwrap();
        let fate = Fate { cut: plans.cuts.pop_front(), corrupt: plans.corruptions.pop_front() };
        let connection = Connection { number, fate, shared: shared.clone() };
        let upstream = upstream.clone();
        open.spawn(async move {
            if let Ok(server) = TcpStream::connect(upstream).await {
                connection.relay(client, server).await;
            }
        });
    }
}
