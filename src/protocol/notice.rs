//! What the worker says besides chunks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ChunkHead, DeviceName};
use crate::digest::Digest;

/// The end of a pass: whoever misses a chunk by now may ask for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complete {
    /// The reference as it was asked for or declared.
    pub app_name: String,
    /// The digest of the whole module.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The size of every chunk but the last, in bytes.
    pub chunk_size: u32,
    /// How many chunks there are.
    pub total_chunks: u32,
}

impl From<&ChunkHead> for Complete {
    fn from(head: &ChunkHead) -> Self {
        Self {
            app_name: head.app_name.clone(),
            digest: head.digest,
            size: head.layout.size(),
            chunk_size: head.layout.chunk_size(),
            total_chunks: head.layout.total(),
        }
    }
}

/// Why a request was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A field of the request is not as it should be.
    BadRequest,
    /// This channel does not bring that module.
    NotAllowed,
    /// The registry has no such module.
    NotFound,
    /// The registry refuses the worker.
    Unauthorized,
    /// What the reference names is no WebAssembly module.
    UnsupportedArtifact,
    /// The module is larger than the channel brings, or than a chunk may be.
    TooLarge,
    /// The reference means another module by now, or it is cut otherwise: begin anew.
    Changed,
    /// What the registry sent is not what its digest says.
    DigestMismatch,
    /// The registry cannot be reached or does not answer.
    RegistryUnavailable,
    /// Too much is waiting: ask again later.
    Busy,
}

impl ErrorCode {
    /// Whether the same request may succeed later without anybody's doing.
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Changed | Self::RegistryUnavailable | Self::Busy)
    }
}

impl fmt::Display for ErrorCode {
    /// As on the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A notice that a request was not served, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorNotice {
    /// The reference as it was asked for.
    pub app_name: String,
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people; never a credential or an inner address.
    pub message: String,
    /// Whether asking again later may succeed.
    pub retryable: bool,
    /// Who asked, where it is for one device alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<DeviceName>,
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;
    use crate::protocol::Layout;

    #[test]
    fn an_error_is_written_as_the_protocol_says() {
        let notice = ErrorNotice {
            app_name: "add".to_owned(),
            code: ErrorCode::RegistryUnavailable,
            message: "later".to_owned(),
            retryable: true,
            device: None,
        };
        assert_eq!(
            serde_json::to_string(&notice).unwrap(),
            r#"{"app_name":"add","code":"registry_unavailable","message":"later","retryable":true}"#
        );
        assert_eq!(notice.code.to_string(), "registry_unavailable");
    }

    const CODES: [&str; 10] = [
        "bad_request",
        "not_allowed",
        "not_found",
        "unauthorized",
        "unsupported_artifact",
        "too_large",
        "changed",
        "digest_mismatch",
        "registry_unavailable",
        "busy",
    ];

    proptest! {
        #[test]
        fn any_error_reads_back(
            app_name in "(?s).{0,100}", code in select(&CODES[..]), message in "(?s).{0,100}",
            device in prop::option::of("[A-Za-z0-9_-]{1,64}"),
        ) {
            let code: ErrorCode = serde_json::from_value(code.into()).unwrap();
            let device = device.map(|device| device.parse().unwrap());
            let notice = ErrorNotice { app_name, code, message, retryable: code.is_retryable(), device };
            let json = serde_json::to_vec(&notice).unwrap();
            prop_assert_eq!(serde_json::from_slice::<ErrorNotice>(&json).unwrap(), notice);
        }

        #[test]
        fn any_end_of_a_pass_reads_back(app_name in "(?s).{0,100}", size: u64, chunk_size: u32) {
            let Ok(layout) = Layout::new(size, chunk_size) else { return Ok(()) };
            let complete = Complete::from(&ChunkHead { app_name, digest: Digest::of(b""), layout });
            let json = serde_json::to_vec(&complete).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Complete>(&json).unwrap(), complete);
        }
    }
}
