//! What has come of a blob and is not written yet: one puts in while the other writes.

use std::{
    mem,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::sleep};

use super::download::Source;
use crate::registry::RegistryError;

/// So many bytes are written at once where they come fast: a thread is not woken for every packet.
const ENOUGH: usize = 128 * 1024;

/// Where they come slowly, what has come in this time is.
const MOMENT: Duration = Duration::from_millis(1);

/// The most bytes that wait to be written, but for those of the read that goes beyond.
const MOST: usize = 256 * 1024;

#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
    emptied: Notify,
}

#[derive(Default)]
struct State {
    pieces: Vec<Bytes>,
    /// Bytes in them.
    len: usize,
    /// What the source has said last, where that was no bytes: that there are no more, or why there are none now.
    end: Option<Result<(), RegistryError>>,
}

impl Inbox {
    /// Puts in what comes from `source`, as long as there is room, until it says that there is no more.
    pub(super) async fn fill_from(&self, source: &mut impl Source) {
        while !self.is_closed() {
            while self.lock().len >= MOST {
                self.emptied.notified().await;
            }
            let came = source.next().await;
            self.put(came);
        }
    }

    fn put(&self, came: Result<Option<Bytes>, RegistryError>) {
        let mut state = self.lock();
        match came {
            Ok(Some(bytes)) => {
                state.len += bytes.len();
                state.pieces.push(bytes);
            }
            Ok(None) => state.end = Some(Ok(())),
            Err(error) => state.end = Some(Err(error)),
        }
        self.arrived.notify_one();
    }

    /// Waits until there is enough to write, or some and no more for the moment; `false` where nothing comes any more.
    pub(super) async fn wait(&self) -> bool {
        let mut moment = pin!(sleep(MOMENT));
        let mut is_late = false;
        loop {
            {
                let state = self.lock();
                if state.len >= ENOUGH || state.end.is_some() || (is_late && state.len > 0) {
                    return state.len > 0;
                }
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                () = &mut moment, if !is_late => is_late = true,
            }
        }
    }

    /// Takes out what is there: the pieces, and how many bytes they are together.
    pub(super) fn take(&self) -> (Vec<Bytes>, usize) {
        let mut state = self.lock();
        self.emptied.notify_one();
        (mem::take(&mut state.pieces), mem::take(&mut state.len))
    }

    /// Takes out what the source has said last; it may be asked again then.
    pub(super) fn take_end(&self) -> Option<Result<(), RegistryError>> {
        self.lock().end.take()
    }

    fn is_closed(&self) -> bool {
        self.lock().end.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
