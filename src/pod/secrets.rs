//! What the mounted Secrets hold for a spec, and what to say where they do not.
//!
//! Broker and registry are apart: a worker whose registry's Secret is gone says so of the registry.

use std::mem;

use super::mounts::{Files, MountError, Mounts};
use crate::{
    api::{
        LocalObjectReference, Management, WasmProxySpec,
        conditions::{ConditionStatus, ConditionType, Finding, Reason},
    },
    mqtt, registry,
    resource::credentials::{
        Certificates, Credentials, Found, InvalidSecret, broker_credentials, registry_credentials,
    },
};

/// Who the worker is to the broker, and whom it trusts there.
type BrokerSide = (Option<mqtt::Credentials>, Certificates);
/// The same for the registry.
type RegistrySide = (registry::Credentials, Certificates);

/// What the Secrets of a spec hold, as far as they can be used.
#[derive(Debug)]
pub struct Secrets {
    broker: Result<BrokerSide, SecretError>,
    registry: Result<RegistrySide, SecretError>,
}

/// Why a Secret cannot be used. No message holds any of its values.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It could not be read.
    #[error("{error}{}", advice(error, keys))]
    Mount {
        /// Why.
        error: MountError,
        /// The keys that it should have.
        keys: &'static str,
    },
    /// It does not hold what it should.
    #[error(transparent)]
    Invalid(#[from] InvalidSecret),
}

/// What somebody can do about it.
fn advice(error: &MountError, keys: &str) -> String {
    match error {
        MountError::Empty { .. } => format!(": create it with {keys}"),
        MountError::NotMounted { .. } | MountError::Unreadable { .. } => String::new(),
    }
}

/// What is said of what the spec names and the Secrets do not hold.
#[derive(Debug, Default)]
pub struct Shortcomings {
    broker: Option<SecretError>,
    registry: Option<SecretError>,
}

const LOGIN: &str = "the keys username and password";
const REGISTRY_LOGIN: &str = "the keys username and password, or .dockerconfigjson, or token";
const CERTIFICATES: &str = "the key ca.crt, or tls.crt with tls.key, or all three";

impl Secrets {
    /// Reads those that `spec` names, and touches no other.
    pub fn read<F: Files>(mounts: &Mounts<F>, spec: &WasmProxySpec) -> Self {
        let (broker, registry) = (&spec.broker, &spec.registry);
        Self {
            broker: find(mounts, [(&broker.secret_ref, LOGIN), (&broker.cert_secret_ref, CERTIFICATES)])
                .and_then(|found| Ok(broker_credentials(broker, &found)?)),
            registry: find(mounts, [(&registry.secret_ref, REGISTRY_LOGIN), (&registry.cert_secret_ref, CERTIFICATES)])
                .and_then(|found| Ok(registry_credentials(registry, &found)?)),
        }
    }

    /// The credentials, where there are all. What is missing is taken from `before`, the credentials that are in use and the
    /// spec that they are for, if they were meant for the same broker, or registry, and come from Secrets of the same names:
    /// nobody else ever gets to see them.
    pub fn or_else_of(
        self,
        spec: &WasmProxySpec,
        before: Option<(&WasmProxySpec, &Credentials)>,
    ) -> (Option<Credentials>, Shortcomings) {
        let mut short = Shortcomings::default();
        let broker = self.broker.or_else(|error| {
            short.broker = Some(error);
            let (_, old) = before.filter(|(old, _)| is_same_broker(old, spec)).ok_or(())?;
            Ok::<_, ()>((old.broker.clone(), old.broker_certificates.clone()))
        });
        let registry = self.registry.or_else(|error| {
            short.registry = Some(error);
            let (_, old) = before.filter(|(old, _)| old.registry == spec.registry).ok_or(())?;
            Ok::<_, ()>((old.registry.clone(), old.registry_certificates.clone()))
        });
        let credentials = match (broker, registry) {
            (Ok((broker, broker_certificates)), Ok((registry, registry_certificates))) => {
                Some(Credentials { broker, broker_certificates, registry, registry_certificates })
            }
            _ => None,
        };
        (credentials, short)
    }
}

/// Reads these Secrets. One that is named twice is read twice, at the price of a few small files.
fn find<F: Files, const N: usize>(
    mounts: &Mounts<F>,
    references: [(&Option<LocalObjectReference>, &'static str); N],
) -> Result<Found, SecretError> {
    let named = references.into_iter().filter_map(|(reference, keys)| Some((reference.as_ref()?, keys)));
    named
        .map(|(reference, keys)| match mounts.read(&reference.name) {
            Ok(secret) => Ok((reference.name.clone(), secret)),
            Err(error) => Err(SecretError::Mount { error, keys }),
        })
        .collect()
}

fn is_same_broker(before: &WasmProxySpec, now: &WasmProxySpec) -> bool {
    let (before, now) = (&before.broker, &now.broker);
    before.url == now.url
        && before.secret_ref == now.secret_ref
        && before.cert_secret_ref == now.cert_secret_ref
        && before.insecure_skip_verify == now.insecure_skip_verify
}

impl Shortcomings {
    /// What to say in the place of what the worker says. `goes_on`: it does so with what it had before.
    pub fn findings(&mut self, management: Management, goes_on: bool) -> Vec<Finding> {
        let sides = [
            (ConditionType::BrokerConnected, mem::take(&mut self.broker)),
            (ConditionType::RegistryReady, mem::take(&mut self.registry)),
        ];
        let said = sides.into_iter().filter_map(|(about, error)| Some((about, error?)));
        said.map(|(about, error)| finding(about, &error, management, goes_on)).collect()
    }
}

fn finding(about: ConditionType, error: &SecretError, management: Management, goes_on: bool) -> Finding {
    let is_managed = management == Management::Managed;
    let (status, reason, advice) = match error {
        SecretError::Mount { error: MountError::NotMounted { .. }, .. } if is_managed => {
            (ConditionStatus::Unknown, Reason::Starting, " yet: a Pod that has it takes over")
        }
        SecretError::Mount { error: MountError::NotMounted { .. }, .. } => {
            (ConditionStatus::False, Reason::SecretNotFound, ": mount it there")
        }
        SecretError::Mount { error: MountError::Empty { .. }, .. } => {
            (ConditionStatus::False, Reason::SecretNotFound, "")
        }
        SecretError::Mount { error: MountError::Unreadable { .. }, .. } | SecretError::Invalid(_) => {
            (ConditionStatus::False, Reason::SecretInvalid, "")
        }
    };
    let meanwhile = if goes_on { "; the worker goes on with what it held before" } else { "" };
    Finding { about, status, reason, message: format!("{error}{advice}{meanwhile}") }
}
