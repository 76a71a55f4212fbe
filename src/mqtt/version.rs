//! Which version of MQTT is spoken, and how it is found out.

use std::{fmt, str::FromStr};

/// A version of MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.
    V5,
}

impl Version {
    fn other(self) -> Self {
        match self {
            Self::V311 => Self::V5,
            Self::V5 => Self::V311,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V311 => "MQTT311",
            Self::V5 => "MQTT5",
        })
    }
}

/// Which version to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VersionPreference {
    /// 5 where the broker speaks it, else 3.1.1.
    #[default]
    Auto,
    /// 3.1.1 and nothing else.
    V311,
    /// 5 and nothing else.
    V5,
}

/// No name of a [`VersionPreference`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no MQTT version: use Auto, MQTT311 or MQTT5")]
pub struct InvalidVersion(String);

impl FromStr for VersionPreference {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "Auto" => Ok(Self::Auto),
            "MQTT311" => Ok(Self::V311),
            "MQTT5" => Ok(Self::V5),
            other => Err(InvalidVersion(other.to_owned())),
        }
    }
}

/// What one attempt to connect says about the version that it spoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// CONNACK, even one that refuses us for another reason: it is spoken.
    Spoken,
    /// CONNACK 0x01 or 0x84: it is not.
    Refused,
    /// The broker hung up on the CONNECT packet. Some that speak only 3.1.1 answer a later version so; so does one that is
    /// just going down.
    HungUp,
    /// Nothing: a timeout, a TLS failure.
    Silent,
}

/// Why a version is the next to be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    /// It is the one to begin with.
    Hope,
    /// The broker hung up on the other one: one try.
    Suspicion,
    /// The broker said so. Not left for one that merely hangs up.
    Knowledge,
}

/// The choice for the next attempt. It downgrades on what the broker says about the version and on nothing else: whoever
/// can delay packets or break a handshake must not be able to talk us out of MQTT 5.
#[derive(Clone, Debug)]
pub(super) struct VersionChoice {
    automatic: bool,
    next: Version,
    ground: Ground,
}

impl VersionChoice {
    pub fn new(preference: VersionPreference) -> Self {
        let next = if preference == VersionPreference::V311 { Version::V311 } else { Version::V5 };
        Self { automatic: preference == VersionPreference::Auto, next, ground: Ground::Hope }
    }

    /// The version to speak next.
    pub fn next(&self) -> Version {
        self.next
    }

    /// Learns from an attempt with [`next`](Self::next).
    pub fn learn(&mut self, verdict: Verdict) {
        if !self.automatic {
            return;
        }
        (self.next, self.ground) = match (verdict, self.ground) {
            (Verdict::Spoken, _) => (self.next, Ground::Knowledge),
            (Verdict::Refused, _) => (self.next.other(), Ground::Knowledge),
            (Verdict::HungUp, Ground::Hope) => (Version::V311, Ground::Suspicion),
            (_, Ground::Suspicion) => (Version::V5, Ground::Hope),
            (_, ground) => (self.next, ground),
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Verdict::*, Version::*, *};

    /// The versions of successive attempts, given how each ended.
    fn attempts(preference: VersionPreference, verdicts: &[Verdict]) -> Vec<Version> {
        let mut choice = VersionChoice::new(preference);
        let mut versions = vec![choice.next()];
        for verdict in verdicts {
            choice.learn(*verdict);
            versions.push(choice.next());
        }
        versions
    }

    #[test]
    fn auto_starts_with_5_and_stays_with_what_works() {
        assert_eq!(attempts(VersionPreference::Auto, &[Spoken, HungUp, Silent, HungUp]), [V5; 5]);
    }

    #[test]
    fn a_refused_version_is_left_at_once() {
        assert_eq!(attempts(VersionPreference::Auto, &[Refused, Spoken, HungUp, Silent]), [V5, V311, V311, V311, V311]);
        assert_eq!(attempts(VersionPreference::Auto, &[Spoken, Refused]), [V5, V5, V311]);
    }

    #[test]
    fn a_broker_that_hangs_up_gets_one_try_with_3_1_1() {
        assert_eq!(attempts(VersionPreference::Auto, &[HungUp, HungUp, HungUp]), [V5, V311, V5, V311]);
        assert_eq!(attempts(VersionPreference::Auto, &[HungUp, Silent, Silent]), [V5, V311, V5, V5]);
        assert_eq!(attempts(VersionPreference::Auto, &[HungUp, Spoken, HungUp]), [V5, V311, V311, V311]);
    }

    #[test]
    fn credentials_refused_in_3_1_1_do_not_bring_5_back() {
        assert_eq!(attempts(VersionPreference::Auto, &[HungUp, Spoken, Silent]), [V5, V311, V311, V311]);
        assert_eq!(attempts(VersionPreference::Auto, &[Refused, Silent, HungUp]), [V5, V311, V311, V311]);
    }

    #[test]
    fn timeouts_and_tls_failures_never_downgrade() {
        assert_eq!(attempts(VersionPreference::Auto, &[Silent; 9]), [V5; 10]);
    }

    #[test]
    fn the_names_are_those_of_the_resource() {
        assert_eq!("MQTT5".parse(), Ok(VersionPreference::V5));
        assert_eq!("MQTT311".parse(), Ok(VersionPreference::V311));
        assert_eq!("Auto".parse(), Ok(VersionPreference::Auto));
        assert!("mqtt5".parse::<VersionPreference>().is_err());
        assert_eq!((V5.to_string().as_str(), V311.to_string().as_str()), ("MQTT5", "MQTT311"));
    }

    proptest! {
        #[test]
        fn a_fixed_version_is_never_left(
            verdicts in prop::collection::vec(prop::sample::select(&[Spoken, Refused, HungUp, Silent][..]), 0..20),
        ) {
            prop_assert!(attempts(VersionPreference::V311, &verdicts).iter().all(|version| *version == V311));
            prop_assert!(attempts(VersionPreference::V5, &verdicts).iter().all(|version| *version == V5));
        }
    }
}
