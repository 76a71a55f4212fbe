//! Which host gets which secret.

use std::fmt;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};
use reqwest::header::HeaderValue;

use super::error::RegistryError;

/// How we show a registry who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    #[default]
    Anonymous,
    /// A user name and password, for the configured host alone (and the token service that it names).
    Basic {
        /// The user name; it cannot hold a `:`.
        username: String,
        /// The password, or what the registry takes in its place.
        password: String,
    },
    /// A bearer token that is ready to use, for the configured host alone.
    Token(String),
    /// The content of a `.dockerconfigjson`: user names and passwords by host. Its credential helpers are programs, and
    /// are never run.
    DockerConfig(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Basic { .. } => "Basic(…)",
            Self::Token(_) => "Token(…)",
            Self::DockerConfig(_) => "DockerConfig(…)",
        })
    }
}

/// What one host may see: a ready `Authorization` header, marked as sensitive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    Anonymous,
    Basic(HeaderValue),
    Bearer(HeaderValue),
}

/// The configured credentials, checked, and the host that they are for.
pub(super) struct Logins {
    host: String,
    for_host: Login,
    docker_config: Option<String>,
}

impl Logins {
    /// Checks the credentials as far as they concern `host`.
    pub(super) fn new(credentials: Credentials, host: &str) -> Result<Self, RegistryError> {
        let (for_host, docker_config) = match credentials {
            Credentials::Anonymous => (Login::Anonymous, None),
            Credentials::Basic { username, password } => (basic(&username, &password)?, None),
            // Files hold a newline that their authors do not see.
            Credentials::Token(token) => (Login::Bearer(bearer(token.trim_end())?), None),
            Credentials::DockerConfig(json) => (Login::Anonymous, Some(without_helpers(&json)?)),
        };
        let logins = Self { host: host.to_owned(), for_host, docker_config };
        logins.of(host)?;
        Ok(logins)
    }

    /// What `host` may see.
    pub(super) fn of(&self, host: &str) -> Result<Login, RegistryError> {
        match &self.docker_config {
            Some(json) => from_docker_config(json, host),
            None if host == self.host => Ok(self.for_host.clone()),
            None => Ok(Login::Anonymous),
        }
    }
}

/// The header for a bearer token.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, RegistryError> {
    sensitive(format!("Bearer {token}"))
}

fn basic(username: &str, password: &str) -> Result<Login, RegistryError> {
    if username.contains(':') {
        return Err(invalid("a user name cannot hold a colon".to_owned()));
    }
    let pair = base64_simd::STANDARD.encode_to_string(format!("{username}:{password}"));
    sensitive(format!("Basic {pair}")).map(Login::Basic)
}

fn sensitive(header: String) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::try_from(header)
        .map_err(|_| invalid("the token holds characters that no HTTP header can carry".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The `auths` of a docker configuration alone: whoever writes one must not have programs run here.
fn without_helpers(json: &str) -> Result<String, RegistryError> {
    let config: serde_json::Value =
        serde_json::from_str(json).map_err(|_| invalid("the .dockerconfigjson is not JSON".to_owned()))?;
    match config.get("auths") {
        Some(auths @ serde_json::Value::Object(_)) => Ok(serde_json::json!({ "auths": auths }).to_string()),
        _ => Err(invalid("the .dockerconfigjson has no `auths`".to_owned())),
    }
}

fn from_docker_config(json: &str, host: &str) -> Result<Login, RegistryError> {
    match get_credential_from_reader(json.as_bytes(), host) {
        Ok(DockerCredential::UsernamePassword(username, password)) => basic(&username, &password),
        Ok(DockerCredential::IdentityToken(_)) => Err(invalid(format!(
            "the .dockerconfigjson has an identity token for {host}: use a user name and password"
        ))),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(Login::Anonymous),
        // The library's errors can quote what they could not read.
        Err(_) => Err(invalid(format!("the entry for {host} in the .dockerconfigjson cannot be read"))),
    }
}

fn invalid(reason: String) -> RegistryError {
    RegistryError::InvalidCredentials { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "registry.example";

    fn login(credentials: &Credentials, host: &str) -> Login {
        Logins::new(credentials.clone(), HOST).unwrap().of(host).unwrap()
    }

    fn refusal(credentials: Credentials) -> String {
        Logins::new(credentials, HOST).err().unwrap().to_string()
    }

    fn docker_config(auths: &str) -> Credentials {
        Credentials::DockerConfig(format!(r#"{{"auths": {auths}}}"#))
    }

    #[test]
    fn a_password_is_for_the_configured_host_alone() {
        let credentials = Credentials::Basic { username: "user".into(), password: "pass:word".into() };
        assert_eq!(login(&credentials, HOST), Login::Basic(HeaderValue::from_static("Basic dXNlcjpwYXNzOndvcmQ=")));
        assert_eq!(login(&credentials, "other.example"), Login::Anonymous);
        assert_eq!(login(&credentials, "registry.example:5000"), Login::Anonymous);
    }

    #[test]
    fn a_token_is_for_the_configured_host_alone() {
        let credentials = Credentials::Token("abc\n".into());
        assert_eq!(login(&credentials, HOST), Login::Bearer(HeaderValue::from_static("Bearer abc")));
        assert_eq!(login(&credentials, "other.example"), Login::Anonymous);
    }

    #[test]
    fn a_docker_config_has_an_entry_for_each_host() {
        let credentials = docker_config(
            r#"{"registry.example": {"auth": "YTpi"}, "https://index.docker.io/v1/": {"username": "c", "password": "d"}}"#,
        );
        assert_eq!(login(&credentials, HOST), Login::Basic(HeaderValue::from_static("Basic YTpi")));
        assert_eq!(login(&credentials, "docker.io"), Login::Basic(HeaderValue::from_static("Basic Yzpk")));
        assert_eq!(login(&credentials, "other.example"), Login::Anonymous);
    }

    #[test]
    fn a_docker_config_never_runs_a_program() {
        let json = r#"{"auths": {}, "credsStore": "x", "credHelpers": {"registry.example": "x"}}"#;
        assert_eq!(login(&Credentials::DockerConfig(json.into()), HOST), Login::Anonymous);
    }

    #[test]
    fn what_cannot_be_used_is_named_and_not_quoted() {
        for (credentials, reason) in [
            (Credentials::DockerConfig("s3cret".into()), "not JSON"),
            (Credentials::DockerConfig(r#"{"registry.example": {"auth": "s3cret"}}"#.into()), "no `auths`"),
            (docker_config(r#"{"registry.example": {"auth": "s3cret!"}}"#), "entry for registry.example"),
            (docker_config(r#"{"registry.example": {"auth": 5}}"#), "entry for registry.example"),
            (docker_config(r#"{"registry.example": {"identitytoken": "s3cret"}}"#), "identity token"),
            (Credentials::Token("s3cret\nX".into()), "characters"),
            (Credentials::Basic { username: "a:b".into(), password: "s3cret".into() }, "colon"),
        ] {
            let refusal = refusal(credentials);
            assert!(refusal.contains(reason) && !refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn the_debug_text_holds_no_secret() {
        let basic = Credentials::Basic { username: "user".into(), password: "s3cret".into() };
        assert_eq!(format!("{basic:?}"), "Basic(…)");
        assert!(!format!("{:?}", login(&basic, HOST)).contains("Basic d"));
    }
}
