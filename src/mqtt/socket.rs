//! The TCP connection under the protocol, with a limit on writes that stall.
//!
//! Neither event loop notices by itself that a peer has stopped reading in the middle of a large packet: the one for MQTT 5
//! waits for ever, the one for 3.1.1 counts a whole packet's time, which a slow link cannot keep. Here the clock starts
//! anew with every byte that goes out, so a slow link is only slow, and a dead one is found dead.
//!
//! For that, what is written must go out. A kernel gladly takes megabytes that have not: a ping behind them would not be
//! answered in time, and the connection be given up, on a link that is moving. So the kernel is asked to take little more than
//! what is on its way.

use std::{io, pin::Pin, time::Duration};

use rumqttc_v5::NetworkOptions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_io_timeout::TimeoutStream;

use super::interrupt::{Interrupt, Interruptible};

/// Bytes that the kernel takes beyond what is on its way: enough to keep a fast link busy.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] when they make no progress.
pub(super) type Watched<S> = Pin<Box<TimeoutStream<S>>>;

/// Connects to `address` (`host:port`). How long that may take is the event loop's business.
pub(super) async fn dial(
    address: String,
    mut options: NetworkOptions,
    stall: Duration,
    interrupt: Interrupt,
) -> io::Result<Interruptible<Watched<TcpStream>>> {
    // Acknowledgements and requests are small, and waited for.
    options.set_tcp_nodelay(true);
    let connecting = async {
        let stream = rumqttc_v5::default_socket_connect(address, options).await?;
        limit_unsent(&stream);
        Ok(watch(stream, stall))
    };
    interrupt.guard(connecting).await
}

/// Without this, a slow link is only more likely to be taken for a dead one.
fn limit_unsent(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "the kernel does not bound what it has not sent yet");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

fn watch<S: AsyncRead + AsyncWrite>(stream: S, stall: Duration) -> Watched<S> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(stall));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{Instant, sleep},
    };

    use super::*;

    const STALL: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stops_reading_fails_the_write() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let started = Instant::now();
        let error = watch(ours, STALL).write_all(&[0; 17]).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, STALL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_waited_for() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let reader = tokio::spawn(async move {
            for _ in 0..20 {
                sleep(STALL / 2).await;
                theirs.read_u8().await.unwrap();
            }
        });
        watch(ours, STALL).write_all(&[0; 20]).await.unwrap();
        reader.await.unwrap();
    }
}
