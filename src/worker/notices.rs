//! Notices, at a rate that no device can turn into a flood.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use super::progress::{Failure, FailureReason};
use crate::protocol::{DeviceName, ErrorCode, ErrorNotice};

/// The most error notices in any second on one channel.
const PER_SECOND: usize = 10;

/// How long the same code is not said again of the same `app_name`, to the same device or to everyone.
const SILENCE: Duration = Duration::from_secs(10);

/// What was said: of which `app_name`, to one device or to everyone, and of which mistake.
type Said = (String, ErrorCode, Option<DeviceName>, Option<String>);

/// Decides which error notices are said.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    said: HashMap<Said, Instant>,
    /// When the last [`PER_SECOND`] were said, the oldest first.
    last: VecDeque<Instant>,
}

impl Limiter {
    /// Whether a notice may be said now; counts it as said if so.
    pub(super) fn admit(&mut self, notice: &ErrorNotice, now: Instant) -> bool {
        let is_recent = |said: &Instant| now.duration_since(*said) < Duration::from_secs(1);
        if self.last.len() == PER_SECOND && self.last.front().is_some_and(is_recent) {
            return false;
        }
        // Bounds the memory: what stays can be said in the time of silence.
        self.said.retain(|_, said| now.duration_since(*said) < SILENCE);
        let ErrorNotice { app_name, code, message, device, .. } = notice;
        // Somebody who tries things out makes one mistake after the other.
        let mistake = (*code == ErrorCode::BadRequest).then(|| message.clone());
        let key = (app_name.clone(), code.clone(), device.clone(), mistake);
        if self.said.contains_key(&key) {
            return false;
        }
        self.said.insert(key, now);
        if self.last.len() == PER_SECOND {
            self.last.pop_front();
        }
        self.last.push_back(now);
        true
    }
}

/// A notice in words that every device may read: neither an inner address nor a credential.
pub(super) fn notice(app_name: &str, code: ErrorCode, device: Option<DeviceName>, message: &str) -> ErrorNotice {
    ErrorNotice {
        app_name: app_name.to_owned(),
        retryable: code.is_retryable(),
        code,
        message: message.to_owned(),
        device,
        now: None,
    }
}

/// What a failure is to a device: a code, and words without the names of inner hosts.
pub(super) fn for_device(failure: &Failure) -> (ErrorCode, &'static str) {
    match failure.reason {
        FailureReason::ArtifactNotFound => (ErrorCode::NotFound, "the registry has no such module"),
        FailureReason::RegistryUnauthorized => (ErrorCode::Unauthorized, "the registry refuses the worker"),
        FailureReason::UnsupportedArtifact => {
            (ErrorCode::UnsupportedArtifact, "what the reference names is not one WebAssembly module")
        }
        FailureReason::ArtifactTooLarge => (ErrorCode::TooLarge, "the module is larger than this channel brings"),
        FailureReason::ChunkTooLarge => (ErrorCode::TooLarge, "a chunk is larger than the broker takes"),
        FailureReason::DigestMismatch => {
            (ErrorCode::DigestMismatch, "what the registry sent is not what its digest says")
        }
        FailureReason::RegistryUnreachable
        | FailureReason::CacheUnusable
        | FailureReason::RegistryTlsFailed
        | FailureReason::BrokerUnauthorized
        | FailureReason::BrokerQuotaExceeded
        | FailureReason::BrokerRejected
        | FailureReason::InvalidConfiguration => {
            (ErrorCode::RegistryUnavailable, "the module cannot be had at the moment")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(app_name: &str, code: ErrorCode) -> ErrorNotice {
        notice(app_name, code, None, "why")
    }

    fn said_of(number: u32) -> ErrorNotice {
        said(&number.to_string(), ErrorCode::NotFound)
    }

    #[tokio::test(start_paused = true)]
    async fn each_mistake_of_each_device_is_said() {
        let mut limiter = Limiter::default();
        for (device, message) in [("d", "one"), ("d", "two"), ("e", "one")] {
            let notice = notice("a", ErrorCode::BadRequest, device.parse().ok(), message);
            assert!(limiter.admit(&notice, Instant::now()));
            assert!(!limiter.admit(&notice, Instant::now()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_is_not_said_twice_within_ten_seconds() {
        let mut limiter = Limiter::default();
        assert!(limiter.admit(&said("a", ErrorCode::NotFound), Instant::now()));
        assert!(!limiter.admit(&said("a", ErrorCode::NotFound), Instant::now()));
        assert!(limiter.admit(&said("a", ErrorCode::Busy), Instant::now()));
        assert!(limiter.admit(&said("b", ErrorCode::NotFound), Instant::now()));
        tokio::time::advance(SILENCE).await;
        assert!(limiter.admit(&said("a", ErrorCode::NotFound), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_ten_are_said_in_a_second() {
        let mut limiter = Limiter::default();
        let admitted =
            (0..1000).filter(|i| limiter.admit(&said(&i.to_string(), ErrorCode::NotFound), Instant::now())).count();
        assert_eq!(admitted, 10);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(limiter.admit(&said("1000", ErrorCode::NotFound), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_ten_are_said_in_any_second_whatever_a_flood_brings() {
        let (mut limiter, mut said) = (Limiter::default(), Vec::new());
        for i in 0..5000 {
            if limiter.admit(&said_of(i), Instant::now()) {
                said.push(Instant::now());
            }
            assert!(limiter.said.len() <= 11 * PER_SECOND, "{}", limiter.said.len());
            tokio::time::advance(Duration::from_millis(7)).await;
        }
        assert!(said.windows(PER_SECOND + 1).all(|ten| ten[PER_SECOND] - ten[0] >= Duration::from_secs(1)));
        assert!(said.len() >= 340, "and as many as may be: {}", said.len());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_is_forgotten() {
        let mut limiter = Limiter::default();
        for i in 0..100 {
            limiter.admit(&said(&i.to_string(), ErrorCode::NotFound), Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(limiter.said.len() <= 11, "{}", limiter.said.len());
    }
}
