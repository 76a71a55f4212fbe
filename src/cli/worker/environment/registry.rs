//! How to reach the registry, and where to keep what comes from it.

use std::path::PathBuf;

use super::{SettingsError, variables::Variables};
use crate::{
    api::quantity::parse_bytes,
    cli::CACHE_SIZE,
    registry::{Credentials, Reference, RegistryOptions},
    tls::TlsOptions,
};

pub(super) const URL: &str = "PROXY_REGISTRY_URL";
const USERNAME: &str = "PROXY_REGISTRY_USERNAME";
const PASSWORD: &str = "PROXY_REGISTRY_PASSWORD";
const TOKEN: &str = "PROXY_REGISTRY_TOKEN";
const AUTHENTICATE: &str = "PROXY_AUTHENTICATE";

pub(super) const CACHE_DIR: &str = "PROXY_CACHE_DIR";

/// The largest module, in bytes: the resource's default.
const MAX_MODULE_SIZE: u64 = 1 << 30;

pub(super) fn options(variables: &mut Variables<'_>) -> Result<RegistryOptions, SettingsError> {
    let url = variables.get(URL).ok_or(SettingsError::Missing {
        variable: URL,
        hint: "say where modules are found, for example PROXY_REGISTRY_URL=registry.example",
    })?;
    let (host, plain_http) = host(url)?;
    let credentials = credentials(variables)?;
    let tls = TlsOptions::default();
    Ok(RegistryOptions {
        host,
        plain_http,
        credentials,
        tls,
        max_module_size: MAX_MODULE_SIZE,
        timeout: RegistryOptions::DEFAULT_TIMEOUT,
        cache: None,
    })
}

/// Where modules are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// The folder.
    pub dir: PathBuf,
    /// Bytes that it may take up.
    pub size: u64,
}

pub(super) fn cache(variables: &mut Variables<'_>) -> Result<Option<CacheSettings>, SettingsError> {
    const SIZE: &str = "PROXY_CACHE_SIZE";
    let text = variables.get(SIZE);
    let size = text.unwrap_or(CACHE_SIZE);
    let size = parse_bytes(size).map_err(|_| SettingsError::invalid(SIZE, size, "say bytes, such as 512Mi or 1Gi"))?;
    let dir = variables.get(CACHE_DIR).map(PathBuf::from);
    if dir.is_none() && text.is_some() {
        variables.warn(format!("{SIZE} has no effect: {CACHE_DIR} says no directory"));
    }
    Ok(dir.map(|dir| CacheSettings { dir, size }))
}

/// The host by its one name, and whether it speaks plain HTTP. The text is never shown: it may hold a password.
fn host(url: &str) -> Result<(String, bool), SettingsError> {
    let (rest, plain_http) = match url.split_once("://") {
        None => (url, false),
        Some(("https", rest)) => (rest, false),
        Some(("http", rest)) => (rest, true),
        Some(_) => return Err(SettingsError::wrong(URL, "say host[:port], with http:// in front for plain HTTP")),
    };
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if host.contains('@') {
        let problem = "credentials belong in PROXY_REGISTRY_USERNAME and PROXY_REGISTRY_PASSWORD";
        return Err(SettingsError::wrong(URL, problem));
    }
    if host.contains('/') {
        return Err(SettingsError::wrong(URL, "a registry is host[:port]: what follows belongs into references"));
    }
    // What a reference without a host becomes is what the host is called.
    let reference = Reference::parse("module", host).map_err(|error| SettingsError::wrong(URL, error))?;
    Ok((reference.host().to_owned(), plain_http))
}

fn credentials(variables: &mut Variables<'_>) -> Result<Credentials, SettingsError> {
    let authenticate = variables.flag(AUTHENTICATE)?;
    let username = variables.get(USERNAME);
    let password = variables.get(PASSWORD);
    let token = variables.get(TOKEN);
    if !authenticate {
        if username.or(password).or(token).is_some() {
            variables.warn(format!("the registry's credentials have no effect: {AUTHENTICATE} is not true"));
        }
        return Ok(Credentials::Anonymous);
    }
    match (username, password, token) {
        (Some(username), Some(password), _) => {
            if token.is_some() {
                variables.warn(format!("{TOKEN} has no effect beside {USERNAME} and {PASSWORD}"));
            }
            Ok(Credentials::Basic { username: username.to_owned(), password: password.to_owned() })
        }
        (_, _, Some(token)) => Ok(Credentials::Token(token.to_owned())),
        (Some(_), None, None) => {
            Err(SettingsError::Missing { variable: PASSWORD, hint: "PROXY_REGISTRY_USERNAME needs its password" })
        }
        (None, _, None) => Err(SettingsError::Missing {
            variable: USERNAME,
            hint: "PROXY_AUTHENTICATE wants user name and password, or PROXY_REGISTRY_TOKEN",
        }),
    }
}
