//! What keeps a child from being as it should, in sentences for the person who can mend it.

use crate::{api::conditions::Reason, resource::api_server::ApiError};

/// Why a child is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// An object of that kind and name is there, and somebody else's.
    #[error(
        "{kind} {name} in namespace {namespace} is not this resource's, and is left as it is: \
         delete it, or give this resource another name"
    )]
    Conflict {
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
        /// Where it is.
        namespace: String,
    },
    /// One of that kind and name is about to be gone.
    #[error("{kind} {name} is being deleted, and made anew once it is gone")]
    Leaving {
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
    },
    /// The API server does not take what the spec makes of it.
    #[error("the API server does not take the {kind} that this resource makes: {message}; correct spec.worker")]
    Invalid {
        /// What it is.
        kind: String,
        /// What the API server says.
        message: String,
    },
    /// The controller lacks a right, or a policy forbids it.
    #[error("the API server forbids the {kind} that this resource needs: {message}")]
    Forbidden {
        /// What it is.
        kind: String,
        /// What the API server says.
        message: String,
    },
    /// The API server did not do as asked.
    #[error("{kind} {name}: {source}")]
    Api {
        /// What it is.
        kind: String,
        /// What it is called.
        name: String,
        /// Why.
        source: ApiError,
    },
}

impl ChildError {
    /// What becomes of an answer of the API server's.
    pub(in crate::controller) fn from_api(source: ApiError, kind: &str, name: &str) -> Self {
        let kind = kind.to_owned();
        let message = match &source {
            ApiError::Failed(kube::Error::Api(status)) => status.message.clone(),
            _ => String::new(),
        };
        match source.code() {
            Some(400 | 422) => Self::Invalid { kind, message },
            Some(403) => Self::Forbidden { kind, message },
            _ => Self::Api { kind, name: name.to_owned(), source },
        }
    }

    /// What to say of it in the resource's status; none where it is no business of the resource's owner.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Conflict { .. } => Some(Reason::ChildConflict),
            Self::Leaving { .. } => Some(Reason::Starting),
            Self::Invalid { .. } => Some(Reason::InvalidSpec),
            Self::Forbidden { .. } => Some(Reason::ChildForbidden),
            Self::Api { .. } => None,
        }
    }
}
