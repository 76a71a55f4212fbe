//! Calls of the API server that end, and what comes of them.

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Config, ResourceExt as _, core::Status};

use crate::api::WasmProxy;

/// The longest a call of the API server may take; kube's client has no limit of its own.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a watch lasts, in seconds, before it is asked for anew: a connection that died without a word is found out within
/// five seconds more. Two requests a minute do not hurt an API server, and nobody waits for a change for longer than that.
pub const WATCH_SECONDS: u32 = 60;

/// The longest that the API server may have us wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// `config` with an end to every wait: kube bounds connecting, writing and watching, but neither lists nor the beginning of a
/// watch.
pub fn with_timeouts(mut config: Config) -> Config {
    // A watch may be silent for as long as it lasts.
    config.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS) + 15));
    // Otherwise the time that a connection was idle before a request counts.
    config.reset_reader_on_write = true;
    config
}

/// Why a call of the API server came to nothing, in a sentence that says what to mend.
///
/// What the API server has sent is not repeated where it could be anything: it may have been a Secret. A server that is
/// busy is given time twice: kube's client heeds the header `Retry-After` within the 10 s that a call may take, and whoever
/// calls again heeds [`Self::retry_after`].
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It took too long.
    #[error("the API server has not answered within {} s", API_TIMEOUT.as_secs())]
    Timeout,
    /// It was refused, or failed.
    #[error("{}", sentence(.0))]
    Failed(#[from] kube::Error),
    /// What it has answered with cannot be read.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
}

impl ApiError {
    /// The HTTP status that the API server answered with.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// How long the API server wants to be left alone, where it says so; at most five minutes.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failed(kube::Error::Api(status)) => retry_after(status),
            _ => None,
        }
    }

    /// Whether the same call may succeed later though nobody mends anything.
    pub fn is_temporary(&self) -> bool {
        self.code().is_none_or(|code| matches!(code, 408 | 409 | 429 | 500..))
    }
}

fn retry_after(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(MAX_RETRY_AFTER))
}

fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => refusal(status),
        // What it complains of may be a value.
        kube::Error::SerdeError(error) => format!(
            "the API server's answer cannot be read: it is not what was expected at line {}, column {}",
            error.line(),
            error.column()
        ),
        // What a program said that was to give a token may be the token.
        kube::Error::Auth(_) => {
            "the credentials for the API server cannot be had: check KUBECONFIG, or the service account's token"
                .to_owned()
        }
        error => format!("the API server cannot be reached: {}", innermost(error)),
    }
}

/// The API server's own words name who may not do what to which object.
fn refusal(status: &Status) -> String {
    let Status { code, message, .. } = status;
    match code {
        401 => "the API server does not accept the credentials: check KUBECONFIG, or the service account's token"
            .to_owned(),
        403 => format!("the API server does not allow it, grant the right in a Role or ClusterRole: {message}"),
        404 => format!("the API server knows no such object: {message}"),
        409 => format!("somebody else has written at the same moment: {message}"),
        429 => match retry_after(status) {
            Some(wait) => format!("the API server is busy, and wants to be left alone for {} s", wait.as_secs()),
            None => "the API server is busy".to_owned(),
        },
        500.. => format!("the API server has failed with status {code}: {message}"),
        _ => format!("the API server refuses it with status {code}: {message}"),
    }
}

/// The cause that all others only wrap.
pub(crate) fn innermost(error: &dyn Error) -> &dyn Error {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// Waits for a call of the API server, though not for ever.
///
/// # Errors
/// Where it fails, or takes longer than 10 s.
pub async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// `namespace/name`, for messages and logs.
pub fn name_of(resource: &WasmProxy) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}

/// A time as Kubernetes writes it: in whole seconds.
pub fn time(time: SystemTime) -> Option<Time> {
    let timestamp = Timestamp::try_from(time).ok()?;
    Timestamp::from_second(timestamp.as_second()).ok().map(Time)
}

/// The time, as Kubernetes writes it.
pub fn now() -> Time {
    time(SystemTime::now()).unwrap_or(Time(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::refused;

    #[test]
    fn a_right_that_is_missing_is_named() {
        let message = "wasmproxies.wasmproxy.io \"line\" is forbidden: User \"controller\" cannot patch resource \
                       \"wasmproxies/status\" in API group \"wasmproxy.io\" in the namespace \"edge\"";
        let error = refused(&json!({"code": 403, "message": message, "reason": "Forbidden"}));
        let said = error.to_string();
        assert!(said.contains("grant the right") && said.ends_with(message), "{said}");
        assert!(!error.is_temporary());
    }

    #[test]
    fn each_refusal_is_a_sentence_and_says_whether_to_come_back() {
        for (code, said, temporary) in [
            (401, "does not accept the credentials", false),
            (404, "no such object: why", false),
            (409, "at the same moment: why", true),
            (422, "refuses it with status 422: why", false),
            (429, "is busy", true),
            (503, "has failed with status 503: why", true),
        ] {
            let error = refused(&json!({"code": code, "message": "why"}));
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!((error.code(), error.is_temporary()), (Some(code), temporary));
            assert!(!error.to_string().contains("Some("), "nothing is printed as Rust has it: {error}");
        }
    }

    #[test]
    fn how_long_to_wait_is_said_and_bounded() {
        let after = |seconds: u32| refused(&json!({"code": 429, "details": {"retryAfterSeconds": seconds}}));
        assert_eq!(after(7).retry_after(), Some(Duration::from_secs(7)));
        assert!(after(7).to_string().ends_with("left alone for 7 s"));
        assert_eq!(after(0).retry_after(), None);
        assert_eq!(after(86_400).retry_after(), Some(MAX_RETRY_AFTER));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated() {
        let error = serde_json::from_value::<u8>(json!("hunter2")).unwrap_err();
        assert!(error.to_string().contains("hunter2"));
        let error = ApiError::from(kube::Error::SerdeError(error));
        assert!(!error.to_string().contains("hunter2") && error.is_temporary(), "{error}");
    }

    #[tokio::test]
    async fn an_api_server_that_is_not_there_is_said_to_be_out_of_reach() {
        crate::tls::install_provider();
        // Nobody listens on this port of the loopback network.
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let error = in_time(client.apiserver_version()).await.unwrap_err();
        let said = error.to_string();
        assert!(said.starts_with("the API server cannot be reached: ") && said.contains("refused"), "{said}");
        assert!(error.is_temporary());
    }
}
