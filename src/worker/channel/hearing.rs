//! What devices say, and what becomes of it.

use tokio::time::Instant;
use tracing::Instrument as _;

use super::{
    super::{metrics::Answer, notices::notice, progress::Source, pull::Pull, schedule::Admission, wish::Wish},
    Channel,
};
use crate::{
    mqtt::Message,
    protocol::{
        DeviceName, ErrorCode, ErrorNotice, Format, Missing, Receipt, Request,
        request::{BadRequest, Full, Wanted},
    },
    registry::Reference,
};

/// What a device hears that has to wait because others may keep parts of another module under that name.
pub(super) const HELD: &str = "another version was said under this name just now, and devices may keep parts of it: this one follows within six minutes";

/// What a device hears that asks for what the configuration does not allow.
const NOT_ALLOWED: &str = "this channel does not bring that module";

/// Why a request is not served, for the device that made it.
struct Refusal {
    code: ErrorCode,
    message: String,
    /// What would have to be allowed.
    not_allowed: Option<Reference>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), not_allowed: None }
    }
}

fn busy() -> Refusal {
    Refusal::new(ErrorCode::Busy, "too much is waiting: ask again later")
}

impl Channel {
    /// Something was said on a topic that the worker listens to.
    pub(super) fn heard(&mut self, message: &Message) {
        // A retained request would be replayed at each subscription.
        if message.retain {
            return;
        }
        if message.topic == self.link.topics.requests {
            self.requested(&message.payload);
        } else if let Some(device) = self.link.topics.receipt_sender(&message.topic)
            && let Some(receipt) = Receipt::parse(&message.payload)
        {
            self.received(&device, &receipt);
        }
    }

    fn received(&mut self, device: &DeviceName, receipt: &Receipt) {
        if let Ok(reference) = Reference::parse(&receipt.app_name, self.link.registry.host())
            && self.link.tracker.knows(&reference, receipt.digest)
        {
            let count = self.receipts.count(&reference, receipt.digest, device);
            let tracker = &self.link.tracker;
            tracker.received(&reference, count);
            self.receipts.retain(|reference| tracker.artifact(reference).is_some());
        }
    }

    fn requested(&mut self, payload: &[u8]) {
        let counts = self.link.tracker.counts();
        match Request::parse(payload) {
            Ok(request) => {
                let admitted = self.admit(&request);
                counts
                    .asked(admitted.as_ref().map_or_else(|refusal| Answer::from(&refusal.code), |()| Answer::Accepted));
                // Who else asks for the same is told the same, so it is said to everyone.
                if let Err(Refusal { code, message, not_allowed }) = admitted
                    && self.refuse(&request.app_name, None, code, &message)
                    && let Some(reference) = not_allowed
                {
                    // As seldom as the notice: devices must not be able to flood the log either.
                    tracing::warn!(
                        %reference,
                        "a device asked for what is not allowed: to allow it, add it to spec.requests.allow, or to PROXY_REQUESTS_ALLOW"
                    );
                }
            }
            Err(BadRequest::Unanswerable) => {
                counts.asked(Answer::BadRequest);
                tracing::debug!("something that is no request was ignored");
            }
            Err(BadRequest::Answerable { app_name, device, message }) => {
                counts.asked(Answer::BadRequest);
                self.refuse(&app_name, device, ErrorCode::BadRequest, &message);
            }
        }
    }

    fn admit(&mut self, request: &Request) -> Result<(), Refusal> {
        let reference = Reference::parse(&request.app_name, self.link.registry.host())
            .map_err(|error| Refusal::new(ErrorCode::BadRequest, format!("`app_name` is no reference: {error}")))?;
        if !self.config.requests.as_ref().is_some_and(|allow| allow.allows(&reference)) {
            let refusal = Refusal::new(ErrorCode::NotAllowed, NOT_ALLOWED);
            return Err(Refusal { not_allowed: Some(reference), ..refusal });
        }
        let format = match &request.full {
            None => Format::Plain,
            Some(Full { format: Some(Wanted::Raw), .. }) if self.link.speaks_v5() => Format::Raw,
            Some(_) => Format::Full,
        };
        tracing::debug!(%reference, ?format, "asked for");
        match request.full.as_ref().and_then(|full| full.missing.as_ref()) {
            Some(missing) => self.pull(request, missing, reference, format),
            None => self.wish(request, &reference, format),
        }
    }

    /// Chunks by number.
    fn pull(
        &mut self,
        request: &Request,
        missing: &Missing,
        reference: Reference,
        format: Format,
    ) -> Result<(), Refusal> {
        let capacity = self.config.queue;
        let pull = Pull {
            device: missing.device.clone(),
            app_name: request.app_name.clone(),
            reference,
            digest: missing.digest,
            chunk_size: missing.chunk_size,
            format,
        };
        let taken = self.pulling < capacity && self.pulls.ask(pull, missing, capacity, Instant::now());
        if taken { Ok(()) } else { Err(busy()) }
    }

    /// A whole module.
    fn wish(&mut self, request: &Request, reference: &Reference, format: Format) -> Result<(), Refusal> {
        let wish = Wish {
            app_name: request.app_name.clone(),
            reference: reference.clone(),
            formats: vec![format],
            source: Source::Requested,
            asked: vec![format],
        };
        let admission = self.schedule.ask(wish, self.config.queue, Instant::now());
        match admission {
            Admission::Queued => {
                self.link.tracker.pending(reference, &request.app_name);
                Ok(())
            }
            Admission::Joined => Ok(()),
            Admission::Held => Err(Refusal::new(ErrorCode::Busy, HELD)),
            Admission::Busy => Err(busy()),
        }
    }

    /// What a device asked for before the channel was opened anew.
    pub(super) fn ask_again(&mut self, mut wish: Wish) {
        // It may mean another registry by now.
        let reference = Reference::parse(&wish.app_name, self.link.registry.host());
        let allowed = self.config.requests.as_ref();
        match reference.ok().filter(|reference| allowed.is_some_and(|allow| allow.allows(reference))) {
            Some(reference) => {
                self.link.tracker.pending(&reference, &wish.app_name);
                wish.reference = reference;
                wish.narrow();
                self.schedule.ask(wish, usize::MAX, Instant::now());
            }
            None => {
                self.refuse(&wish.app_name, None, ErrorCode::NotAllowed, NOT_ALLOWED);
            }
        }
    }

    /// Says why a request is not served, unless that was just said; returns whether it is said.
    pub(super) fn refuse(
        &mut self,
        app_name: &str,
        device: Option<DeviceName>,
        code: ErrorCode,
        message: &str,
    ) -> bool {
        self.say(&notice(app_name, code, device, message))
    }

    /// Publishes a notice, unless the same was just said, or too many were; returns whether it does.
    pub(super) fn say(&mut self, notice: &ErrorNotice) -> bool {
        if !self.limiter.admit(notice, Instant::now()) {
            return false;
        }
        if let Ok(payload) = serde_json::to_vec(notice) {
            let link = self.link.clone();
            // Not waited for: a broker that is away must not hold up the channel. The limiter bounds their number.
            let task = async move { link.publish_notice(&link.topics.error, payload).await };
            tokio::spawn(task.in_current_span());
        }
        true
    }
}
