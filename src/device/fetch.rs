//! The driver: ties what a device decides ([`Gathering`]) to a connection and a file.

use std::{path::Path, pin::pin, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    assembly::{Assembly, Whole},
    error::{FetchError, ReceiptError, Stall},
    event::{Asked, Cause, Event},
    file::{FileError, PartialFile},
    gathering::{Gathering, Meaning, Next, Wish},
    hearing::Heard,
    options::{DeviceTopics, FetchOptions},
    reference::Reference,
};
use crate::{
    digest::Digest,
    mqtt::{
        self, Ack, Client, ConnectFailure, ConnectionState, FailureKind, Message, Publish, PublishError, Qos,
        SessionEnd, Version,
    },
    protocol::{Chunk, Receipt, Request},
};

/// How long the broker has to take our receipt: the module is here, with or without it.
const RECEIPT: Duration = Duration::from_secs(30);

/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A module that has been fetched and verified.
#[derive(Debug)]
pub struct Fetched {
    /// What it is, and how it was cut.
    pub whole: Whole,
    /// How long it took, from the connection attempt to the file in its place.
    pub elapsed: Duration,
    /// Whether the broker has taken the receipt.
    pub receipt: Result<(), ReceiptError>,
}

/// Fetches a module into the file `target`, in place of what is there, and says what happens.
///
/// `target` is written whole and verified, or not at all; where this fails, or is dropped, nothing is left behind.
/// Memory does not grow with the module.
///
/// # Errors
/// See [`FetchError`]. A receipt that nobody takes is none: the module is here.
pub async fn fetch(
    reference: &Reference,
    target: &Path,
    options: &FetchOptions,
    on_event: impl FnMut(Event) + Send,
) -> Result<Fetched, FetchError> {
    let topics = DeviceTopics::new(&options.prefix, &options.device)?;
    let file = PartialFile::create(target).await?;
    let (client, messages) = mqtt::connect(options.mqtt(&topics))?;
    let wish = Wish {
        reference: reference.clone(),
        device: options.device.clone(),
        format: options.format,
        digest: options.digest,
        max_size: options.max_size,
        listen: options.listen,
        timeout: options.timeout,
        silence: options.silence,
    };
    let begun = Instant::now();
    let mut state = client.state();
    // What happened until now is news too.
    state.mark_changed();
    let driver = Driver {
        gathering: Gathering::new(wish, fastrand::Rng::new(), begun),
        client: client.clone(),
        state,
        messages,
        topics,
        file,
        begun: None,
        requests: FuturesUnordered::new(),
        failure: None,
        was_connected: false,
        on_event,
    };
    let fetched = driver.run(reference, begun).await;
    client.disconnect(SessionEnd::Discard, FAREWELL).await;
    fetched
}

/// What the broker said to a request.
type Taken = (Asked, Result<Ack, PublishError>);

struct Driver<F> {
    gathering: Gathering,
    client: Client,
    state: watch::Receiver<ConnectionState>,
    messages: mpsc::Receiver<Message>,
    topics: DeviceTopics,
    file: PartialFile,
    /// What the file has room for.
    begun: Option<Whole>,
    /// The request that the broker has not taken yet, if there is one.
    requests: FuturesUnordered<BoxFuture<'static, Taken>>,
    /// Why there is no connection, where there is none.
    failure: Option<ConnectFailure>,
    was_connected: bool,
    on_event: F,
}

impl<F: FnMut(Event) + Send> Driver<F> {
    async fn run(mut self, reference: &Reference, begun: Instant) -> Result<Fetched, FetchError> {
        let whole = self.gather().await?;
        // A connection waits while messages pile up, and with it the word that the receipt has been taken.
        drop(self.messages);
        // Nor must a request that nobody looks after any more stand before it.
        drop(self.requests);
        self.file.keep().await?;
        let elapsed = begun.elapsed();
        let receipt = send_receipt(&self.client, self.topics.receipt, reference, whole.digest).await;
        Ok(Fetched { whole, elapsed, receipt })
    }

    /// Gathers until a module is here that is what its digest says.
    async fn gather(&mut self) -> Result<Whole, FetchError> {
        loop {
            let wake = self.act().await?;
            tokio::select! {
                message = self.messages.recv() => {
                    let message = message.ok_or(FetchError::Request(PublishError::Closed))?;
                    self.hear(&message).await?;
                }
                Ok(()) = self.state.changed() => self.look_at_connection()?,
                Some((what, acknowledged)) = self.requests.next() => self.note_asked(what, acknowledged)?,
                () = sleep_until(wake) => (),
            }
            if let Some(whole) =
                self.gathering.assembly().filter(|assembly| assembly.is_complete()).map(Assembly::whole)
                && self.verify(whole).await?
            {
                return Ok(whole);
            }
        }
    }

    /// Does what is due, and says until when nothing else is.
    async fn act(&mut self) -> Result<Instant, FetchError> {
        loop {
            match self.gathering.next(Instant::now())? {
                Next::Wait(until) => return Ok(until),
                Next::Ask(request) => self.ask(&request),
                Next::BeginAnew(cause) => {
                    self.begin_anew(cause);
                    self.make_room().await?;
                }
                Next::GiveUp(stall) => return Err(self.give_up(stall)),
            }
        }
    }

    fn ask(&self, request: &Request) {
        let missing = request.full.as_ref().and_then(|full| full.missing.as_ref());
        let what = match missing {
            None => Asked::Whole,
            Some(_) if self.gathering.assembly().is_none() => Asked::Meaning,
            Some(missing) => Asked::Chunks(missing.chunks.iter().map(|_| 1).sum()),
        };
        let publish = Publish::new(&self.topics.requests, request.to_json(), Qos::AtLeastOnce);
        let client = self.client.clone();
        self.requests.push(async move { (what, client.publish(publish).await) }.boxed());
    }

    fn note_asked(&mut self, what: Asked, acknowledged: Result<Ack, PublishError>) -> Result<(), FetchError> {
        let unheard = match acknowledged {
            Ok(ack) => ack.no_subscribers,
            // It passes, as a silence does.
            Err(
                PublishError::QuotaExceeded
                | PublishError::Rejected { .. }
                | PublishError::SeemsDenied { .. }
                | PublishError::SeemsTooLarge { .. },
            ) => true,
            Err(error) => return Err(FetchError::Request(error)),
        };
        self.gathering.asked(Instant::now());
        (self.on_event)(Event::Asked { what, unheard });
        Ok(())
    }

    async fn hear(&mut self, message: &Message) -> Result<(), FetchError> {
        let now = Instant::now();
        match Heard::read(message, &self.topics) {
            None => Ok(()),
            Some(Heard::Chunk(chunk, to)) => {
                if self.gathering.chunk(&chunk, to, now)? {
                    self.write(chunk).await?;
                }
                Ok(())
            }
            Some(Heard::Complete(notice)) => {
                self.gathering.complete(&notice, now)?;
                self.make_room().await
            }
            Some(Heard::Error(notice)) => {
                match self.gathering.error(notice.clone(), now)? {
                    Meaning::Nothing => (),
                    Meaning::AskLater(wait) => (self.on_event)(Event::Refused { notice, wait }),
                    Meaning::BeginAnew(cause) => self.begin_anew(cause),
                }
                self.make_room().await
            }
        }
    }

    async fn write(&mut self, chunk: Chunk) -> Result<(), FetchError> {
        self.make_room().await?;
        let Some(assembly) = self.gathering.assembly() else { return Ok(()) };
        let (offset, chunks, bytes) =
            (assembly.whole().layout.offset(chunk.index), assembly.chunks(), assembly.bytes());
        self.file.write(offset, chunk.data).await?;
        (self.on_event)(Event::Gathered { chunks, bytes });
        Ok(())
    }

    /// Makes the file that of the module which is gathered, where it is not yet.
    async fn make_room(&mut self) -> Result<(), FetchError> {
        if let Some(whole) = self.gathering.assembly().map(Assembly::whole)
            && self.begun != Some(whole)
        {
            self.file.begin(whole.layout.size()).await?;
            self.begun = Some(whole);
            (self.on_event)(Event::Begun(whole));
        }
        Ok(())
    }

    fn begin_anew(&mut self, cause: Cause) {
        self.begun = None;
        (self.on_event)(Event::BegunAnew(cause));
    }

    /// Whether the file is what it should be. Where it is not, everything begins anew.
    async fn verify(&mut self, whole: Whole) -> Result<bool, FetchError> {
        (self.on_event)(Event::Verifying(whole));
        let digest = self.digest().await?;
        if digest == whole.digest {
            return Ok(true);
        }
        let cause = self.gathering.mismatch(Instant::now())?;
        self.begin_anew(cause);
        Ok(false)
    }

    async fn digest(&mut self) -> Result<Digest, FileError> {
        let mut digest = pin!(self.file.digest());
        loop {
            tokio::select! {
                digest = &mut digest => return digest,
                // A connection waits while messages pile up, and the broker for a sign of life. All chunks are here.
                Some(_) = self.messages.recv() => (),
            }
        }
    }

    fn look_at_connection(&mut self) -> Result<(), FetchError> {
        match self.state.borrow_and_update().clone() {
            ConnectionState::Connected { version, .. } => {
                self.failure = None;
                self.was_connected = true;
                self.gathering.connected(version == Version::V5, Instant::now());
                (self.on_event)(Event::Connected(version));
            }
            ConnectionState::Connecting { failure: Some(failure), .. } => {
                // A broker that knew us once may be back in its senses soon.
                if !self.was_connected && is_hopeless(failure.kind) {
                    return Err(FetchError::Connect(failure));
                }
                self.failure = Some(failure.clone());
                (self.on_event)(Event::NotConnected(failure));
            }
            ConnectionState::Connecting { failure: None, .. } | ConnectionState::Closed => (),
        }
        Ok(())
    }

    fn give_up(&self, stall: Stall) -> FetchError {
        let connected = matches!(*self.state.borrow(), ConnectionState::Connected { .. });
        let stall = if connected { stall } else { Stall::NotConnected(self.failure.clone()) };
        FetchError::TimedOut { after: self.gathering.timeout(), stall }
    }
}

/// Whether somebody has to change something before a connection can come about.
fn is_hopeless(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Unauthorized | FailureKind::Tls | FailureKind::Refused | FailureKind::SubscriptionDenied => true,
        // `Protocol` is also what the search for a common version looks like.
        FailureKind::Unreachable | FailureKind::Protocol | FailureKind::TakenOver | FailureKind::Lost => false,
    }
}

async fn send_receipt(
    client: &Client,
    topic: String,
    reference: &Reference,
    digest: Digest,
) -> Result<(), ReceiptError> {
    let receipt = Receipt { app_name: reference.as_str().to_owned(), digest };
    // Strings always serialise.
    let payload = serde_json::to_vec(&receipt).unwrap_or_default();
    match timeout(RECEIPT, client.publish(Publish::new(topic, payload, Qos::AtLeastOnce))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(ReceiptError::Refused(error)),
        Err(_) => Err(ReceiptError::TimedOut(RECEIPT)),
    }
}
