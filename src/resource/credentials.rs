//! Credentials, out of the Secrets that a spec names, however those were come by.
//!
//! | Secret | keys |
//! |---|---|
//! | `broker.secretRef` | `username`, `password` |
//! | `broker.certSecretRef`, `registry.certSecretRef` | `ca.crt`, and `tls.crt` with `tls.key` |
//! | `registry.secretRef` | `.dockerconfigjson`, or `token`, or `username` with `password` |

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    api::{BrokerSpec, LocalObjectReference, RegistrySpec, WasmProxySpec},
    mqtt, registry,
    tls::{Identity, TlsOptions},
};

/// Every key that a Secret is looked at for.
pub const KEYS: [&str; 7] = ["username", "password", "token", ".dockerconfigjson", "ca.crt", "tls.crt", "tls.key"];

/// Everything secret that a worker is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Who the worker is to the broker.
    pub broker: Option<mqtt::Credentials>,
    /// Whom it trusts there, and its client certificate.
    pub broker_certificates: Certificates,
    /// Who it is to the registry.
    pub registry: registry::Credentials,
    /// Whom it trusts there, and its client certificate.
    pub registry_certificates: Certificates,
}

/// What a `certSecretRef` leads to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    /// `ca.crt`.
    pub ca: Option<Vec<u8>>,
    /// `tls.crt` and `tls.key`.
    pub identity: Option<Identity>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca, identity } = self;
        f.debug_struct("Certificates").field("ca", &ca.is_some()).field("identity", &identity.is_some()).finish()
    }
}

/// What a Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKeys {
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Values by key. A key without a value is as good as none.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKeys")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A Secret that does not hold what it should. No message holds any of its values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Secret {name} in namespace {namespace} {problem}")]
pub struct InvalidSecret {
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// What is wrong with which key.
    pub problem: String,
}

/// The names of the Secrets that `spec` names, each once.
pub fn secret_names(spec: &WasmProxySpec) -> BTreeSet<&str> {
    let references = [
        &spec.broker.secret_ref,
        &spec.broker.cert_secret_ref,
        &spec.registry.secret_ref,
        &spec.registry.cert_secret_ref,
    ];
    references.into_iter().flatten().map(|reference| reference.name.as_str()).collect()
}

/// Secrets by their names.
pub type Found = BTreeMap<String, SecretKeys>;

/// What the Secrets hold for this spec. `found` has every one of [`secret_names`], by name.
///
/// # Errors
/// The first that does not hold what it should.
pub fn credentials(spec: &WasmProxySpec, found: &Found) -> Result<Credentials, InvalidSecret> {
    let (broker, broker_certificates) = broker_credentials(&spec.broker, found)?;
    let (registry, registry_certificates) = registry_credentials(&spec.registry, found)?;
    Ok(Credentials { broker, broker_certificates, registry, registry_certificates })
}

/// The broker's part of [`credentials`].
///
/// # Errors
/// The first Secret that does not hold what it should.
pub fn broker_credentials(
    spec: &BrokerSpec,
    found: &Found,
) -> Result<(Option<mqtt::Credentials>, Certificates), InvalidSecret> {
    let login = secret(&spec.secret_ref, found).map(SecretKeys::broker).transpose()?;
    Ok((login, certificates(&spec.cert_secret_ref, found)?))
}

/// The registry's part of [`credentials`].
///
/// # Errors
/// The first Secret that does not hold what it should.
pub fn registry_credentials(
    spec: &RegistrySpec,
    found: &Found,
) -> Result<(registry::Credentials, Certificates), InvalidSecret> {
    let login = secret(&spec.secret_ref, found).map_or(Ok(registry::Credentials::Anonymous), SecretKeys::registry)?;
    Ok((login, certificates(&spec.cert_secret_ref, found)?))
}

fn certificates(reference: &Option<LocalObjectReference>, found: &Found) -> Result<Certificates, InvalidSecret> {
    let Some(keys) = secret(reference, found) else { return Ok(Certificates::default()) };
    let certificates = keys.certificates()?;
    // What no connection could use is refused here, so that a worker goes on with what it has.
    let Certificates { ca, identity } = certificates.clone();
    let insecure_skip_verify = ca.is_none();
    let tls = TlsOptions { ca, system_roots_too: false, identity, insecure_skip_verify };
    match tls.client_config() {
        Ok(_) => Ok(certificates),
        Err(error) => Err(keys.invalid(&format!("cannot be used: {error}"))),
    }
}

fn secret<'a>(reference: &Option<LocalObjectReference>, found: &'a Found) -> Option<&'a SecretKeys> {
    reference.as_ref().and_then(|reference| found.get(&reference.name))
}

impl SecretKeys {
    /// User name and password.
    fn broker(&self) -> Result<mqtt::Credentials, InvalidSecret> {
        Ok(mqtt::Credentials { username: self.required("username")?, password: Some(self.required("password")?) })
    }

    /// Whichever kind there is: an image pull secret, a token, or user name and password.
    fn registry(&self) -> Result<registry::Credentials, InvalidSecret> {
        if let Some(json) = self.text(".dockerconfigjson")? {
            return Ok(registry::Credentials::DockerConfig(json));
        }
        if let Some(token) = self.text("token")? {
            return Ok(registry::Credentials::Token(token));
        }
        if self.bytes("username").is_none() && self.bytes("password").is_none() {
            return Err(
                self.invalid("has none of the keys username and password, .dockerconfigjson, or token: add one")
            );
        }
        Ok(registry::Credentials::Basic { username: self.required("username")?, password: self.required("password")? })
    }

    fn certificates(&self) -> Result<Certificates, InvalidSecret> {
        let ca = self.bytes("ca.crt").map(<[u8]>::to_vec);
        let identity = match (self.bytes("tls.crt"), self.bytes("tls.key")) {
            (Some(certificate), Some(key)) => Some(Identity { certificate: certificate.to_vec(), key: key.to_vec() }),
            (Some(_), None) => return Err(self.invalid("has the key tls.crt and lacks tls.key: add it")),
            (None, Some(_)) => return Err(self.invalid("has the key tls.key and lacks tls.crt: add it")),
            (None, None) if ca.is_none() => {
                return Err(self.invalid("has neither the key ca.crt nor tls.crt with tls.key: add one"));
            }
            (None, None) => None,
        };
        Ok(Certificates { ca, identity })
    }

    fn required(&self, key: &str) -> Result<String, InvalidSecret> {
        self.text(key)?.ok_or_else(|| self.invalid(&format!("lacks the key {key}: add it")))
    }

    fn text(&self, key: &str) -> Result<Option<String>, InvalidSecret> {
        let text = self.bytes(key).map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)).transpose();
        text.map_err(|_| self.invalid(&format!("holds no UTF-8 text under the key {key}")))
    }

    fn bytes(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice).filter(|value| !value.is_empty())
    }

    fn invalid(&self, problem: &str) -> InvalidSecret {
        let Self { namespace, name, .. } = self;
        InvalidSecret { namespace: namespace.clone(), name: name.clone(), problem: problem.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> SecretKeys {
        let values = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect();
        SecretKeys { namespace: "edge".to_owned(), name: "broker".to_owned(), values }
    }

    #[test]
    fn a_broker_has_a_username_and_a_password() {
        let credentials = keys(&[("username", "user"), ("password", "hunter2")]).broker().unwrap();
        assert_eq!(credentials, mqtt::Credentials { username: "user".into(), password: Some("hunter2".into()) });
    }

    #[test]
    fn a_registry_takes_a_password_a_docker_config_or_a_token() {
        let registry = |pairs: &[(&str, &str)]| keys(pairs).registry().unwrap();
        let basic = registry::Credentials::Basic { username: "user".into(), password: "hunter2".into() };
        assert_eq!(registry(&[("username", "user"), ("password", "hunter2")]), basic);
        assert_eq!(registry(&[(".dockerconfigjson", "{}")]), registry::Credentials::DockerConfig("{}".into()));
        assert_eq!(registry(&[("token", "abc")]), registry::Credentials::Token("abc".into()));
    }

    #[test]
    fn certificates_may_be_an_authority_an_identity_or_both() {
        let certificates = |pairs: &[(&str, &str)]| keys(pairs).certificates().unwrap();
        assert_eq!(certificates(&[("ca.crt", "ca")]), Certificates { ca: Some(b"ca".to_vec()), identity: None });
        let identity = Some(Identity { certificate: b"crt".to_vec(), key: b"key".to_vec() });
        assert!(certificates(&[("tls.crt", "crt"), ("tls.key", "key")]).identity == identity);
    }

    #[test]
    fn what_is_missing_is_named_with_its_secret() {
        let broker = |pairs: &[(&str, &str)]| keys(pairs).broker().unwrap_err().to_string();
        let registry = |pairs: &[(&str, &str)]| keys(pairs).registry().unwrap_err().to_string();
        let certificates = |pairs: &[(&str, &str)]| keys(pairs).certificates().unwrap_err().to_string();
        for (message, named) in [
            (broker(&[("password", "hunter2")]), "lacks the key username"),
            (broker(&[("username", "user")]), "lacks the key password"),
            (broker(&[("username", "user"), ("password", "")]), "lacks the key password"),
            (registry(&[("username", "hunter2")]), "lacks the key password"),
            (registry(&[("other", "hunter2")]), ".dockerconfigjson"),
            (certificates(&[("tls.crt", "hunter2")]), "lacks tls.key"),
            (certificates(&[("tls.key", "hunter2")]), "lacks tls.crt"),
            (certificates(&[]), "ca.crt"),
        ] {
            assert!(message.starts_with("Secret broker in namespace edge ") && message.contains(named), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn certificates_that_no_connection_could_use_are_invalid() {
        let reference = Some(LocalObjectReference { name: "broker".to_owned() });
        let refusal = |pairs: &[(&str, &str)]| {
            let found = Found::from([("broker".to_owned(), keys(pairs))]);
            certificates(&reference, &found).unwrap_err().to_string()
        };
        for (message, named) in [
            (refusal(&[("ca.crt", "hunter2")]), "the CA certificate is not a PEM certificate"),
            (refusal(&[("tls.crt", "hunter2"), ("tls.key", "hunter2")]), "the client certificate is not a PEM"),
        ] {
            assert!(message.starts_with("Secret broker in namespace edge cannot be used: "), "{message}");
            assert!(message.contains(named) && !message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn the_debug_text_holds_no_key() {
        let identity = Some(Identity { certificate: b"crt".to_vec(), key: b"hunter2".to_vec() });
        assert!(!format!("{:?}", Certificates { ca: None, identity }).contains("hunter2"));
        assert!(!format!("{:?}", keys(&[("password", "hunter2")])).contains("hunter2"));
    }
}
