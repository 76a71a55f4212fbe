//! Credentials, out of the Secrets that a spec names.
//!
//! Only those Secrets are read, each by its name, and only those that their owner has labelled for it: who may create a
//! `WasmProxy` could otherwise have any Secret of the namespace sent to a broker of their own.

use std::{collections::BTreeMap, fmt};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use super::error::{ApiError, in_time};
use crate::{
    api::{LocalObjectReference, WasmProxySpec, conditions::Reason},
    mqtt, registry,
    tls::Identity,
};

/// The label that lets the controller use a Secret, with the value `true`.
pub const LABEL: &str = "wasmproxy.io/credentials";

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

/// Why a Secret cannot be used. No message holds any of its values.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error("Secret {name} does not exist in namespace {namespace}: create it with the label {LABEL}=true")]
    NotFound {
        /// Where it should be.
        namespace: String,
        /// What it should be called.
        name: String,
    },
    /// Its owner has not said that it is meant for this.
    #[error(
        "Secret {name} lacks the label that allows its use here: \
         kubectl label secret {name} --namespace {namespace} {LABEL}=true"
    )]
    NotLabelled {
        /// Where it is.
        namespace: String,
        /// What it is called.
        name: String,
    },
    /// It does not hold what it should.
    #[error("Secret {name} in namespace {namespace} {problem}")]
    Invalid {
        /// Where it is.
        namespace: String,
        /// What it is called.
        name: String,
        /// What is wrong with which key.
        problem: String,
    },
    /// It could not be read.
    #[error("Secret {name} in namespace {namespace} cannot be read: {source}")]
    Unreadable {
        /// Where it is.
        namespace: String,
        /// What it is called.
        name: String,
        /// Why.
        source: ApiError,
    },
}

impl SecretError {
    /// What to say of it in the resource's status.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotFound { .. } => Some(Reason::SecretNotFound),
            Self::NotLabelled { .. } => Some(Reason::SecretNotLabelled),
            Self::Invalid { .. } => Some(Reason::SecretInvalid),
            Self::Unreadable { source, .. } => (source.code() == Some(403)).then_some(Reason::SecretForbidden),
        }
    }
}

/// Reads the Secrets that `spec` names, each once.
///
/// # Errors
/// The first that cannot be used.
pub async fn read(secrets: &Api<Secret>, spec: &WasmProxySpec) -> Result<Credentials, SecretError> {
    let references = [
        &spec.broker.secret_ref,
        &spec.broker.cert_secret_ref,
        &spec.registry.secret_ref,
        &spec.registry.cert_secret_ref,
    ];
    let mut names: Vec<&str> = references.into_iter().flatten().map(|reference| reference.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let found = try_join_all(names.into_iter().map(|name| get(secrets, name))).await?;
    credentials(spec, &found.into_iter().collect())
}

async fn get<'a>(secrets: &Api<Secret>, name: &'a str) -> Result<(&'a str, Secret), SecretError> {
    let place = || (secrets.namespace().unwrap_or_default().to_owned(), name.to_owned());
    match in_time(secrets.get_opt(name)).await {
        Ok(Some(secret)) => Ok((name, secret)),
        Ok(None) => {
            let (namespace, name) = place();
            Err(SecretError::NotFound { namespace, name })
        }
        Err(source) => {
            let (namespace, name) = place();
            Err(SecretError::Unreadable { namespace, name, source })
        }
    }
}

/// What the Secrets hold for this spec.
fn credentials(spec: &WasmProxySpec, found: &BTreeMap<&str, Secret>) -> Result<Credentials, SecretError> {
    let secret = |reference: &Option<LocalObjectReference>| -> Result<Option<Keys<'_>>, SecretError> {
        reference.as_ref().and_then(|reference| found.get(reference.name.as_str())).map(Keys::of).transpose()
    };
    Ok(Credentials {
        broker: secret(&spec.broker.secret_ref)?.map(|keys| keys.broker()).transpose()?,
        broker_certificates: secret(&spec.broker.cert_secret_ref)?
            .map_or(Ok(Certificates::default()), |keys| keys.certificates())?,
        registry: secret(&spec.registry.secret_ref)?
            .map_or(Ok(registry::Credentials::Anonymous), |keys| keys.registry())?,
        registry_certificates: secret(&spec.registry.cert_secret_ref)?
            .map_or(Ok(Certificates::default()), |keys| keys.certificates())?,
    })
}

/// The keys of a Secret that may be used.
struct Keys<'a>(&'a Secret);

impl<'a> Keys<'a> {
    fn of(secret: &'a Secret) -> Result<Self, SecretError> {
        let labels = secret.metadata.labels.as_ref();
        if labels.and_then(|labels| labels.get(LABEL)).is_some_and(|value| value == "true") {
            Ok(Self(secret))
        } else {
            let (namespace, name) = Self(secret).place();
            Err(SecretError::NotLabelled { namespace, name })
        }
    }

    /// User name and password.
    fn broker(&self) -> Result<mqtt::Credentials, SecretError> {
        Ok(mqtt::Credentials { username: self.required("username")?, password: Some(self.required("password")?) })
    }

    /// Whichever kind there is: an image pull secret, a token, or user name and password.
    fn registry(&self) -> Result<registry::Credentials, SecretError> {
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

    fn certificates(&self) -> Result<Certificates, SecretError> {
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

    fn required(&self, key: &str) -> Result<String, SecretError> {
        self.text(key)?.ok_or_else(|| self.invalid(&format!("lacks the key {key}: add it")))
    }

    fn text(&self, key: &str) -> Result<Option<String>, SecretError> {
        let text = self.bytes(key).map(|bytes| std::str::from_utf8(bytes).map(str::to_owned)).transpose();
        text.map_err(|_| self.invalid(&format!("holds no UTF-8 text under the key {key}")))
    }

    /// A key without a value is as good as none.
    fn bytes(&self, key: &str) -> Option<&'a [u8]> {
        let value = self.0.data.as_ref()?.get(key)?;
        (!value.0.is_empty()).then_some(value.0.as_slice())
    }

    fn invalid(&self, problem: &str) -> SecretError {
        let (namespace, name) = self.place();
        SecretError::Invalid { namespace, name, problem: problem.to_owned() }
    }

    fn place(&self) -> (String, String) {
        let metadata = &self.0.metadata;
        (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(keys: &[(&str, &str)]) -> Secret {
        let data: BTreeMap<_, _> =
            keys.iter().map(|(key, value)| (key, base64_simd::STANDARD.encode_to_string(value))).collect();
        let labels = json!({LABEL: "true"});
        let metadata = json!({"name": "broker", "namespace": "edge", "labels": labels});
        serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
    }

    fn keys(secret: &Secret) -> Keys<'_> {
        Keys::of(secret).unwrap()
    }

    #[test]
    fn a_broker_has_a_username_and_a_password() {
        let secret = secret(&[("username", "user"), ("password", "hunter2")]);
        let credentials = keys(&secret).broker().unwrap();
        assert_eq!(credentials, mqtt::Credentials { username: "user".into(), password: Some("hunter2".into()) });
    }

    #[test]
    fn a_registry_takes_a_password_a_docker_config_or_a_token() {
        let registry = |pairs: &[(&str, &str)]| keys(&secret(pairs)).registry().unwrap();
        let basic = registry::Credentials::Basic { username: "user".into(), password: "hunter2".into() };
        assert_eq!(registry(&[("username", "user"), ("password", "hunter2")]), basic);
        assert_eq!(registry(&[(".dockerconfigjson", "{}")]), registry::Credentials::DockerConfig("{}".into()));
        assert_eq!(registry(&[("token", "abc")]), registry::Credentials::Token("abc".into()));
    }

    #[test]
    fn certificates_may_be_an_authority_an_identity_or_both() {
        let certificates = |pairs: &[(&str, &str)]| keys(&secret(pairs)).certificates().unwrap();
        assert_eq!(certificates(&[("ca.crt", "ca")]), Certificates { ca: Some(b"ca".to_vec()), identity: None });
        let identity = Some(Identity { certificate: b"crt".to_vec(), key: b"key".to_vec() });
        assert!(certificates(&[("tls.crt", "crt"), ("tls.key", "key")]).identity == identity);
    }

    #[test]
    fn what_is_missing_is_named_with_its_secret() {
        let broker = |pairs: &[(&str, &str)]| keys(&secret(pairs)).broker().unwrap_err().to_string();
        let registry = |pairs: &[(&str, &str)]| keys(&secret(pairs)).registry().unwrap_err().to_string();
        let certificates = |pairs: &[(&str, &str)]| keys(&secret(pairs)).certificates().unwrap_err().to_string();
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
    fn a_secret_without_the_label_is_not_used_and_the_command_is_given() {
        let mut secret = secret(&[("username", "user"), ("password", "hunter2")]);
        for labels in [None, Some(BTreeMap::from([(LABEL.to_owned(), "false".to_owned())]))] {
            secret.metadata.labels = labels;
            let error = Keys::of(&secret).err().unwrap();
            assert_eq!(error.reason(), Some(Reason::SecretNotLabelled));
            let command = "kubectl label secret broker --namespace edge wasmproxy.io/credentials=true";
            assert!(error.to_string().ends_with(command), "{error}");
        }
    }

    #[test]
    fn the_debug_text_holds_no_key() {
        let identity = Some(Identity { certificate: b"crt".to_vec(), key: b"hunter2".to_vec() });
        assert!(!format!("{:?}", Certificates { ca: None, identity }).contains("hunter2"));
    }
}
