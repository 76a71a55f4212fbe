//! What keeps a resource from its worker, in sentences for the person who can mend it.

use std::time::Duration;

use super::{secrets::SecretError, workers::ChildError};
use crate::{
    api::conditions::Reason,
    resource::{api_server::ApiError, translate::InvalidSpec},
};

/// Why a reconciliation has not done all it should have. Each is tried again, but those that are [final](Error::is_final).
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
    /// Another resource has the channel.
    #[error(
        "{rival} has this channel: it is older, and means the same broker and topics; \
         give one of the two another channel, or suspend or delete {rival}"
    )]
    ChannelConflict {
        /// `namespace/name` of the other one.
        rival: String,
    },
    /// The API server did not do as asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The worker ended without being told to: a defect of this program.
    #[error("the worker has ended unexpectedly; it is started again")]
    WorkerEnded,
    /// The object was deleted, or the controller told to end, while the reconciliation was under way.
    #[error("the resource or the controller is going away")]
    GoingAway,
    /// It was broken off, so that others get their turn.
    #[error("the reconciliation took longer than {} s", .0.as_secs())]
    TooLong(Duration),
}

impl Error {
    /// What to say of it in the resource's status; none where it is no business of the resource's owner.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Secret(error) => error.reason(),
            Self::Child(error) => error.reason(),
            Self::InvalidSpec(_) => Some(Reason::InvalidSpec),
            Self::ChannelConflict { .. } => Some(Reason::ChannelConflict),
            Self::ChildrenUnknown | Self::Api(_) | Self::WorkerEnded | Self::GoingAway | Self::TooLong(_) => None,
        }
    }

    /// Whether it stays so until somebody changes a resource: no attempt would end otherwise.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::InvalidSpec(_) | Self::ChannelConflict { .. })
    }

    /// How long the API server wants to be left alone, where it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Api(error)
            | Self::Secret(SecretError::Unreadable { source: error, .. })
            | Self::Child(ChildError::Api { source: error, .. }) => error.retry_after(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::fixtures::refused;

    #[test]
    fn an_api_server_that_is_busy_is_left_alone_for_as_long_as_it_says_whatever_it_was_asked() {
        let busy = || refused(&json!({"code": 429, "details": {"retryAfterSeconds": 7}}));
        let (namespace, name) = (String::from("edge"), String::from("line"));
        let secret = SecretError::Unreadable { namespace, name, source: busy() };
        let child = ChildError::from_api(busy(), "Deployment", "line-wasmproxy");
        for error in [Error::Api(busy()), Error::Secret(secret), Error::Child(child)] {
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{error}");
        }
    }
}
