//! One connection through the proxy.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
};

use super::{Direction, Fate, Faults, HEARD, Shared};

/// The most that is read at once, in bytes.
const PIECE: u64 = 16 * 1024;
/// How often a throttled connection passes something on, a second: its pieces are that much smaller than its rate.
const PIECES_PER_SECOND: u64 = 20;

/// What a connection is to suffer.
pub struct Connection {
    pub number: u64,
    pub fate: Fate,
    pub shared: Arc<Shared>,
}

impl Connection {
    /// Passes on what comes from either side until both have ended, one has failed, or it is cut.
    pub async fn relay(&self, mut client: TcpStream, mut server: TcpStream) {
        // Packets are not gathered for later here either.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let is_cut = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let up = self.pass(Direction::ToServer, from_client, to_server);
            let down = self.pass(Direction::ToClient, from_server, to_client);
            let cut = self.until(|faults| self.number < faults.cut);
            tokio::select! {
                // An error of either ends both.
                _ = async { tokio::try_join!(up, down) } => false,
                () = cut => true,
            }
        };
        if is_cut {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
    }

    /// Passes on one way until its end.
    async fn pass(&self, direction: Direction, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let in_direction = |plan: Option<(Direction, u64)>| plan.filter(|plan| plan.0 == direction).map(|plan| plan.1);
        let end = in_direction(self.fate.cut).unwrap_or(u64::MAX);
        let corrupt = in_direction(self.fate.corrupt);
        let mut buffer = vec![0; usize::try_from(PIECE).unwrap()];
        let mut passed = 0;
        while passed < end {
            let (wanted, _) = self.pace(PIECE.min(end - passed));
            let read = from.read(&mut buffer[..wanted]).await?;
            if read == 0 {
                return to.shutdown().await;
            }
            let (_, pause) = self.pace(read as u64);
            // Not even for no time: a sleep takes a millisecond at least.
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let piece = &mut buffer[..read];
            self.hear(direction, piece);
            let bad = corrupt.and_then(|at| usize::try_from(at.checked_sub(passed)?).ok());
            if let Some(byte) = bad.and_then(|at| piece.get_mut(at)) {
                *byte ^= 0x20;
            }
            self.write(direction, piece, &mut to).await?;
            passed += read as u64;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Writes, but not while it is stalled.
    async fn write(&self, direction: Direction, mut piece: &[u8], to: &mut WriteHalf<'_>) -> io::Result<()> {
        let is_deaf = |faults: &Faults| faults.deaf && direction == Direction::ToServer;
        let is_stalled = |faults: &Faults| self.number < faults.stalled || is_deaf(faults);
        while !piece.is_empty() {
            self.until(|faults| !is_stalled(faults)).await;
            let written = tokio::select! {
                biased;
                () = self.until(is_stalled) => continue,
                written = to.write(piece) => written?,
            };
            piece = &piece[written..];
            self.shared.traffic.send_modify(|traffic| match direction {
                Direction::ToServer => traffic.to_server += written as u64,
                Direction::ToClient => traffic.to_client += written as u64,
            });
        }
        Ok(())
    }

    /// How much of so many bytes to pass on at once, and how long that takes.
    fn pace(&self, bytes: u64) -> (usize, Duration) {
        let faults = self.shared.faults.borrow();
        let Some(rate) = faults.rate else {
            return (usize::try_from(bytes).unwrap(), faults.delay);
        };
        let bytes = bytes.min(rate.div_ceil(PIECES_PER_SECOND));
        let pause = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        (usize::try_from(bytes).unwrap(), faults.delay + pause)
    }

    fn hear(&self, direction: Direction, piece: &[u8]) {
        if direction == Direction::ToServer {
            let mut heard = self.shared.heard.lock().unwrap();
            let room = HEARD - heard.len();
            heard.extend_from_slice(&piece[..room.min(piece.len())]);
        }
    }

    async fn until(&self, wanted: impl Fn(&Faults) -> bool) {
        let mut faults: watch::Receiver<Faults> = self.shared.faults.subscribe();
        // Its sender is in what this connection holds.
        let _ = faults.wait_for(wanted).await;
    }
}
