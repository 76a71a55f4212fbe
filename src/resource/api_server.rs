//! Calls of the API server that end, and what comes of them.

use std::time::{Duration, SystemTime};

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::ResourceExt as _;

use crate::api::WasmProxy;

/// The longest a call of the API server may take; kube's client has no limit of its own.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a call of the API server came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It took too long.
    #[error("the API server has not answered within {} s", API_TIMEOUT.as_secs())]
    Timeout,
    /// It was refused, or failed.
    #[error("the API server: {0}")]
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
