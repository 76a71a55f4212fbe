//! The TCP connection under the protocol, with a limit on writes that stall.
//!
//! Neither event loop notices by itself that a peer has stopped reading in the middle of a large packet: the one for MQTT 5
//! waits for ever, the one for 3.1.1 counts a whole packet's time, which a slow link cannot keep. Here the clock starts
//! anew with every byte that goes out, so a slow link is only slow, and a dead one is found dead.
//!
//! For that, what is written must go out. A kernel gladly takes megabytes that have not: a ping behind them would not be
//! answered in time, and the connection be given up, on a link that is moving. So the kernel is asked to take little more than
//! what is on its way.
//!
//! And what comes in is acknowledged at once: brokers wait for that.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rumqttc_v5::NetworkOptions;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
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
) -> io::Result<Interruptible<Watched<Prompt>>> {
    // Acknowledgements and requests are small, and waited for.
    options.set_tcp_nodelay(true);
    let connecting = async {
        let stream = rumqttc_v5::default_socket_connect(address, options).await?;
        limit_unsent(&stream);
        Ok(watch(Prompt(stream), stall))
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

/// A TCP stream whose peer hears at once that what it sent has arrived.
///
/// Brokers that leave Nagle's algorithm on, as mosquitto does, keep back what is small until they know that what was before has arrived:
/// a request, or the acknowledgement of the last chunk. A kernel that hopes to say so along with something else takes up to
/// 40 ms.
pub(super) struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buf);
        if buf.filled().len() > before {
            acknowledge(&self.0);
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Has the kernel acknowledge what was read. It forgets about that with the next packet, so this is said after each read.
fn acknowledge(stream: &TcpStream) {
    // Without it, what comes next only comes later.
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
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
        net::TcpListener,
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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_was_read_is_acknowledged_at_once_each_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut ours = Prompt(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
        let (mut theirs, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            // As the kernel itself decides once there was an answer to something.
            socket2::SockRef::from(&ours.0).set_tcp_quickack(false).unwrap();
            theirs.write_u8(0).await.unwrap();
            ours.read_u8().await.unwrap();
            assert!(socket2::SockRef::from(&ours.0).tcp_quickack().unwrap());
        }
    }
}
