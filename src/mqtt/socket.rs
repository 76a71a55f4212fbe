//! The TCP connection under the protocol, with a limit on writes that stall.
//!
//! Neither event loop notices by itself that a peer has stopped reading in the middle of a large packet: the one for MQTT 5
//! waits for ever, the one for 3.1.1 counts a whole packet's time, which a slow link cannot keep. Here the clock starts
//! anew with every byte that goes out, so a slow link is only slow, and a dead one is found dead.

use std::{io, pin::Pin, time::Duration};

use rumqttc_v5::NetworkOptions;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_io_timeout::TimeoutStream;

/// A stream whose writes fail with [`io::ErrorKind::TimedOut`] when they make no progress.
pub(super) type Watched<S> = Pin<Box<TimeoutStream<S>>>;

/// Connects to `address` (`host:port`). How long that may take is the event loop's business.
pub(super) async fn dial(
    address: String,
    mut options: NetworkOptions,
    stall: Duration,
) -> io::Result<Watched<TcpStream>> {
    // Acknowledgements and requests are small, and waited for.
    options.set_tcp_nodelay(true);
    Ok(watch(rumqttc_v5::default_socket_connect(address, options).await?, stall))
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
