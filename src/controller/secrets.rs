//! Credentials for workers in this process, out of the API server's Secrets.
//!
//! Only those Secrets are read that a spec names, each by its name, and only those that their owner has labelled for it: who
//! may create a `WasmProxy` could otherwise have any Secret of the namespace sent to a broker of their own.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::{
    api::{WasmProxySpec, conditions::Reason},
    resource::{
        api_server::{ApiError, in_time},
        credentials::{Credentials, InvalidSecret, SecretKeys, credentials, secret_names},
    },
};

/// The label that lets the controller use a Secret, with the value `true`.
pub const LABEL: &str = "wasmproxy.io/credentials";

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
    #[error(transparent)]
    Invalid(#[from] InvalidSecret),
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
            Self::Invalid(_) => Some(Reason::SecretInvalid),
            Self::Unreadable { source, .. } => (source.code() == Some(403)).then_some(Reason::SecretForbidden),
        }
    }
}

/// Reads the Secrets that `spec` names, each once.
///
/// # Errors
/// The first that cannot be used.
pub async fn read(secrets: &Api<Secret>, spec: &WasmProxySpec) -> Result<Credentials, SecretError> {
    let found = try_join_all(secret_names(spec).into_iter().map(|name| get(secrets, name))).await?;
    let found: BTreeMap<_, _> = found.into_iter().map(|keys| (keys.name.clone(), keys)).collect();
    Ok(credentials(spec, &found)?)
}

async fn get(secrets: &Api<Secret>, name: &str) -> Result<SecretKeys, SecretError> {
    let (namespace, name) = (secrets.namespace().unwrap_or_default().to_owned(), name.to_owned());
    match in_time(secrets.get_opt(&name)).await {
        Ok(Some(secret)) => usable(secret, namespace, name),
        Ok(None) => Err(SecretError::NotFound { namespace, name }),
        Err(source) => Err(SecretError::Unreadable { namespace, name, source }),
    }
}

/// What a Secret holds, where its owner lets it be used.
fn usable(secret: Secret, namespace: String, name: String) -> Result<SecretKeys, SecretError> {
    let labels = secret.metadata.labels.unwrap_or_default();
    if labels.get(LABEL).is_none_or(|value| value != "true") {
        return Err(SecretError::NotLabelled { namespace, name });
    }
    let values = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    Ok(SecretKeys { namespace, name, values })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_without_the_label_is_not_used_and_the_command_is_given() {
        for labels in [json!({}), json!({LABEL: "false"})] {
            let secret = serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap();
            let error = usable(secret, "edge".to_owned(), "broker".to_owned()).unwrap_err();
            assert_eq!(error.reason(), Some(Reason::SecretNotLabelled));
            let command = "kubectl label secret broker --namespace edge wasmproxy.io/credentials=true";
            assert!(error.to_string().ends_with(command), "{error}");
        }
    }
}
