//! Condition types and reasons, and how a condition is written.
//!
//! Both are part of the resource's interface: people wait for them, alerts name them. A message is for people and says
//! what to do; it holds no counters, because each change of it is a write.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// An enum of words that are written as they are named.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$word_meta:meta])* $word:ident,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$word_meta])* $word,)+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$word,)+];

            /// The word as the resource holds it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$word => stringify!($word),)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What a condition is about.
    ConditionType {
        /// All is well: the worker is there, and so are its broker, its registry, and the artifacts at the broker.
        Ready,
        /// Something is under way towards Ready. Present only while it is True, as kstatus wants it.
        Reconciling,
        /// Only a change of the resource can help. Present only while it is True.
        Stalled,
        /// A worker runs for this resource.
        WorkerAvailable,
        /// The worker is connected to the broker.
        BrokerConnected,
        /// The registry answers, and lets the worker in. Unknown where nothing has been asked of it.
        RegistryReady,
        /// Every declared artifact has been acknowledged by the broker.
        ArtifactsPublished,
    }
}

words! {
    /// Why a condition has its status.
    Reason {
        /// All is well.
        Succeeded,
        /// Work is under way.
        Progressing,
        /// The user has suspended the resource.
        Suspended,
        /// Nothing has been declared, or asked of the registry.
        NothingDeclared,
        /// The spec cannot be used as it is, though the API server has accepted it.
        InvalidSpec,

        /// A worker is being started.
        Starting,
        /// No worker runs, so nobody knows.
        WorkerUnavailable,
        /// The worker is run by whoever wrote the resource, and reports.
        ExternalWorker,
        /// An object of the worker's name is there that is not ours.
        ChildConflict,
        /// The API server does not let the controller make an object of the worker's.
        ChildForbidden,
        /// No Pod may be made for the worker: a quota is used up, or the namespace's Pod security forbids it.
        PodRefused,
        /// No node takes the worker's Pod.
        Unschedulable,
        /// The worker's image cannot be pulled.
        ImagePullFailed,
        /// The worker's container cannot be made.
        ContainerFailed,
        /// The worker ends as soon as it is started.
        WorkerCrashing,
        /// The worker runs, and does not become ready.
        WorkerNotReady,
        /// Another resource means the same broker and topics.
        ChannelConflict,

        /// A Secret that the spec names is not there.
        SecretNotFound,
        /// A Secret lacks a key, or holds something that cannot be read.
        SecretInvalid,
        /// A Secret lacks the label that lets the controller use it.
        SecretNotLabelled,
        /// The controller is not allowed to read a Secret.
        SecretForbidden,

        /// A connection is being made.
        Connecting,
        /// A connection stands.
        Connected,
        /// The broker cannot be reached.
        BrokerUnreachable,
        /// The broker does not accept the credentials.
        BrokerUnauthorized,
        /// The TLS handshake with the broker failed.
        BrokerTlsFailed,
        /// The broker does not speak the version of MQTT that the spec asks for.
        BrokerProtocolUnsupported,
        /// The broker refuses the connection, or a message, for a reason of its own.
        BrokerRejected,
        /// The broker has given the session to another client.
        SessionTakenOver,
        /// The broker does not take messages of this size.
        ChunkTooLarge,
        /// The broker says that a quota is used up.
        BrokerQuotaExceeded,
        /// The broker says that nobody listens.
        NoSubscribers,
        /// The broker has accepted the worker, but not its notices to devices.
        NoticesDenied,

        /// The registry cannot be reached.
        RegistryUnreachable,
        /// The registry does not accept the credentials, or does not let them read this.
        RegistryUnauthorized,
        /// The TLS handshake with the registry failed.
        RegistryTlsFailed,
        /// The registry has no such artifact.
        ArtifactNotFound,
        /// The artifact is no WebAssembly module, or in no layout that is known.
        UnsupportedArtifact,
        /// The module is larger than `limits.moduleSize`.
        ArtifactTooLarge,
        /// The registry's bytes are not those of the digest.
        DigestMismatch,
        /// The artifact has to be unpacked, and the cache has no room for it, or cannot be written to.
        CacheUnusable,
        /// The module's signature is missing or not to be trusted.
        VerificationFailed,
    }
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody knows, or not yet.
    Unknown,
}

impl ConditionStatus {
    /// The word as the resource holds it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(status: bool) -> Self {
        if status { Self::True } else { Self::False }
    }
}

/// The condition of type `about` among `conditions`.
pub fn find(conditions: &[Condition], about: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == about.as_str())
}

/// The most bytes of a message: what the API server, a scheduler or a registry says may be of any length, and a status
/// whose message is longer than its schema allows is refused as a whole.
const MESSAGE_MAX: usize = 4096;

/// What is to be said in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub about: ConditionType,
    /// Whether it is so.
    pub status: ConditionStatus,
    /// Why, for programs.
    pub reason: Reason,
    /// Why and what to do, for people. Never a credential.
    pub message: String,
}

impl Finding {
    /// The condition that says so of `generation`.
    ///
    /// `before` are the conditions as they were: the time of the last transition is kept where the status is the same,
    /// so that what has not changed compares equal; else it is `now`.
    pub fn into_condition(self, generation: i64, before: &[Condition], now: &Time) -> Condition {
        let status = self.status.as_str();
        let mut message = self.message;
        let end = (0..=message.len().min(MESSAGE_MAX)).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        let last_transition_time = find(before, self.about)
            .filter(|condition| condition.status == status)
            .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone());
        Condition {
            type_: self.about.to_string(),
            status: status.to_owned(),
            reason: self.reason.to_string(),
            message,
            observed_generation: Some(generation),
            last_transition_time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    fn finding(status: ConditionStatus, message: &str) -> Finding {
        Finding {
            about: ConditionType::BrokerConnected,
            status,
            reason: Reason::BrokerUnreachable,
            message: message.to_owned(),
        }
    }

    #[test]
    fn words_are_written_as_they_are_named() {
        assert_eq!(ConditionType::ArtifactsPublished.to_string(), "ArtifactsPublished");
        assert_eq!(Reason::BrokerTlsFailed.to_string(), "BrokerTlsFailed");
    }

    #[test]
    fn the_transition_time_stays_while_the_status_does() {
        let before = finding(ConditionStatus::False, "first").into_condition(1, &[], &at(100));
        let after = finding(ConditionStatus::False, "second").into_condition(2, &[before], &at(200));
        assert_eq!(after.last_transition_time, at(100));
        assert_eq!((after.message.as_str(), after.observed_generation), ("second", Some(2)));
    }

    #[test]
    fn the_transition_time_moves_when_the_status_does() {
        let before = finding(ConditionStatus::False, "").into_condition(1, &[], &at(100));
        let after = finding(ConditionStatus::True, "").into_condition(1, &[before], &at(200));
        assert_eq!(after.last_transition_time, at(200));
    }

    #[test]
    fn a_message_is_of_bounded_length() {
        let long = finding(ConditionStatus::False, &"ü".repeat(40_000)).into_condition(1, &[], &at(100));
        assert_eq!(long.message.len(), 4096);
        let odd = format!("a{}", "ü".repeat(40_000));
        assert_eq!(finding(ConditionStatus::False, &odd).into_condition(1, &[], &at(100)).message.len(), 4095);
    }

    #[test]
    fn another_condition_lends_no_transition_time() {
        let mut other = finding(ConditionStatus::True, "").into_condition(1, &[], &at(100));
        other.type_ = ConditionType::Ready.to_string();
        let after = finding(ConditionStatus::True, "").into_condition(1, &[other], &at(200));
        assert_eq!(after.last_transition_time, at(200));
    }
}
