//! What keeps a resource from its worker, in sentences for the person who can mend it.

use super::{secrets::SecretError, workers::ChildError};
use crate::{
    api::conditions::Reason,
    resource::{api_server::ApiError, translate::InvalidSpec},
};

/// Why a reconciliation has not done all it should have. Each is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret that the spec names cannot be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// An object that the worker needs is not as it should be.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// The watches of such objects have not come up.
    #[error("it is not known yet what is in the cluster for the worker: its watches fail, see the lines before")]
    ChildrenUnknown,
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

impl Error {
    /// What to say of it in the resource's status; none where it is no business of the resource's owner.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Child(error) => error.reason(),
            Self::InvalidSpec(_) => Some(Reason::InvalidSpec),
            Self::ChildrenUnknown | Self::Api(_) | Self::WorkerEnded | Self::GoingAway => None,
        }
    }
}
