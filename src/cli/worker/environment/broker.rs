//! How to reach the broker.

use std::time::Duration;

use super::{SettingsError, identity::Identity, variables::Variables};
use crate::{
    mqtt::{BrokerUrl, Qos, VersionPreference},
    tls::{Identity as Certificate, TlsError, TlsOptions},
    worker::BrokerConfig,
};

const ADDRESS: &str = "PROXY_MQTT_ADDRESS";
const DEFAULT_ADDRESS: &str = "tcp://localhost:1883";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

const CA: &str = "PROXY_MQTT_TLS_CA_CERT";
const CERTIFICATE: &str = "PROXY_MQTT_TLS_CLIENT_CERT";
const KEY: &str = "PROXY_MQTT_TLS_CLIENT_KEY";
const INSECURE: &str = "PROXY_MQTT_TLS_INSECURE_SKIP_VERIFY";

pub(super) fn config(variables: &mut Variables<'_>, identity: &Identity) -> Result<BrokerConfig, SettingsError> {
    let url = url(variables.get(ADDRESS).unwrap_or(DEFAULT_ADDRESS))?;
    let tls = tls(variables)?;
    if tls != TlsOptions::default() && !url.is_tls() {
        variables.warn(format!("PROXY_MQTT_TLS_* have no effect: {ADDRESS} says no TLS, which ssl://host:8883 does"));
    }
    Ok(BrokerConfig {
        url,
        client_id: identity.client_id.clone(),
        credentials: identity.credentials.clone(),
        tls,
        version: VersionPreference::Auto,
        qos: qos(variables)?,
        timeout: timeout(variables)?,
    })
}

/// Reads an address in all the forms that Go's Paho, and so Propeller, takes: without a scheme it means TCP, without a host
/// this machine, and TLS has five names. The text is never shown: it may hold a password.
fn url(text: &str) -> Result<BrokerUrl, SettingsError> {
    let text = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", &text));
    let scheme = match scheme {
        "tls" | "tcps" | "mqtt+ssl" => "ssl",
        other => other,
    };
    format!("{scheme}://{rest}").parse().map_err(|error| SettingsError::wrong(ADDRESS, error))
}

fn qos(variables: &mut Variables<'_>) -> Result<Qos, SettingsError> {
    const NAME: &str = "PROXY_MQTT_QOS";
    let Some(text) = variables.get(NAME) else { return Ok(Qos::AtLeastOnce) };
    let level = text.parse::<u8>().ok().and_then(|level| Qos::try_from(level).ok());
    level.ok_or_else(|| SettingsError::invalid(NAME, text, "say 0, 1 or 2"))
}

fn timeout(variables: &mut Variables<'_>) -> Result<Duration, SettingsError> {
    const NAME: &str = "PROXY_MQTT_TIMEOUT";
    let Some(text) = variables.get(NAME) else { return Ok(DEFAULT_TIMEOUT) };
    let timeout = humantime::parse_duration(text).ok().filter(|timeout| !timeout.is_zero());
    timeout.ok_or_else(|| SettingsError::invalid(NAME, text, "say a time with its unit, such as 30s or 1m30s"))
}

fn tls(variables: &mut Variables<'_>) -> Result<TlsOptions, SettingsError> {
    let ca = variables.file(CA)?;
    let identity = match (variables.file(CERTIFICATE)?, variables.file(KEY)?) {
        (Some(certificate), Some(key)) => Some(Certificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            return Err(SettingsError::Missing { variable: KEY, hint: "a client certificate needs its private key" });
        }
        (None, Some(_)) => {
            return Err(SettingsError::Missing { variable: CERTIFICATE, hint: "a private key needs its certificate" });
        }
    };
    Ok(TlsOptions { ca, identity, insecure_skip_verify: variables.flag(INSECURE)?, ..TlsOptions::default() })
}

/// Names the variable that holds what cannot be used.
pub(super) fn tls_error(error: &TlsError) -> SettingsError {
    let variable = match error {
        TlsError::InvalidCa => CA,
        TlsError::InvalidCertificate | TlsError::IdentityMismatch(_) => CERTIFICATE,
        TlsError::InvalidKey => KEY,
        TlsError::NoSystemRoots | TlsError::Unavailable(_) => ADDRESS,
    };
    SettingsError::wrong(variable, error)
}
