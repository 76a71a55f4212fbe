//! What keeps a resource from its worker, in sentences for the person who can mend it.

use std::time::Duration;

use kube::ResourceExt as _;

use super::{secrets::SecretError, translate::InvalidSpec};
use crate::api::{WasmProxy, conditions::Reason};

/// The longest a call of the API server may take; kube's client has no limit of its own.
const API_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a reconciliation has not done all it should have. Each is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret that the spec names cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The API server has accepted a spec that no worker can be given.
    #[error(transparent)]
    InvalidSpec(#[from] InvalidSpec),
    /// The API server did not do as asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The worker ended without being told to: a defect of this program.
    #[error("the worker has ended unexpectedly; it is started again")]
    WorkerEnded,
    /// The object was deleted, or the controller told to end, while the reconciliation was under way.
    #[error("the resource or the controller is going away")]
    GoingAway,
}

/// Why a call of the API server came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// It took too long.
    #[error("the API server has not answered within {} s", API_TIMEOUT.as_secs())]
    Timeout,
    /// It was refused, or failed.
    #[error("the API server: {0}")]
    Failed(#[from] kube::Error),
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

impl Error {
    /// What to say of it in the resource's status; none where it is no business of the resource's owner.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Secret(error) => error.reason(),
            Self::InvalidSpec(_) => Some(Reason::InvalidSpec),
            Self::Api(_) | Self::WorkerEnded | Self::GoingAway => None,
        }
    }
}

/// Waits for a call of the API server, though not for ever.
pub(super) async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(API_TIMEOUT, call).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// `namespace/name`, for messages and logs.
pub(super) fn name_of(resource: &WasmProxy) -> String {
    format!("{}/{}", resource.namespace().unwrap_or_default(), resource.name_any())
}
