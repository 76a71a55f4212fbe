//! Ends a connection from within, for who must not drop the future that drives it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Interrupts the connection that a link is about to make, or has made. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<Mutex<CancellationToken>>);

/// A stream that fails once it is interrupted, whether it is waited for or not.
pub(super) struct Interruptible<S> {
    stream: S,
    interrupted: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Interrupt {
    /// The next connection is not interrupted yet.
    pub fn arm(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
    }

    /// Reading, writing and connecting fail from now on, until it is armed again.
    pub fn interrupt(&self) {
        self.token().cancel();
    }

    /// Runs `connecting`, and makes what comes of it interruptible.
    pub async fn guard<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> io::Result<Interruptible<S>> {
        let token = self.token();
        let stream = token.run_until_cancelled(connecting).await.unwrap_or_else(|| Err(interrupted()))?;
        Ok(Interruptible { stream, interrupted: Box::pin(token.cancelled_owned()) })
    }

    fn token(&self) -> CancellationToken {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "closed by ourselves")
}

impl<S> Interruptible<S> {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.interrupted.as_mut().poll(context).is_ready() { Err(interrupted()) } else { Ok(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Interruptible<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Interruptible<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_peer_that_is_silent_is_interrupted() {
        let (interrupt, (ours, _theirs)) = (Interrupt::default(), tokio::io::duplex(16));
        let mut stream = interrupt.guard(ready(Ok(ours))).await.unwrap();
        let reading = tokio::spawn(async move { stream.read_u8().await });
        tokio::task::yield_now().await;
        interrupt.interrupt();
        assert_eq!(reading.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn who_writes_to_a_peer_that_does_not_read_is_interrupted() {
        let (interrupt, (ours, _theirs)) = (Interrupt::default(), tokio::io::duplex(16));
        let mut stream = interrupt.guard(ready(Ok(ours))).await.unwrap();
        let writing = tokio::spawn(async move { stream.write_all(&[0; 17]).await });
        tokio::task::yield_now().await;
        interrupt.interrupt();
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_connection_that_does_not_come_about_is_interrupted_and_the_next_is_not() {
        let interrupt = Interrupt::default();
        let connecting = tokio::spawn({
            let interrupt = interrupt.clone();
            async move { interrupt.guard::<()>(pending()).await.err() }
        });
        tokio::task::yield_now().await;
        interrupt.interrupt();
        assert!(connecting.await.unwrap().is_some());
        assert!(interrupt.guard::<()>(pending()).await.is_err(), "until it is armed again");
        interrupt.arm();
        assert!(interrupt.guard(ready(Ok(()))).await.is_ok());
    }
}
