//! What the worker says besides chunks.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ChunkHead, DeviceName, Layout};
use crate::digest::Digest;

/// The longest notice that a device reads, in bytes: its longest names escaped, and a message.
pub const MAX_NOTICE: usize = 16 << 10;

/// The longest message that is shown of an error, in characters.
const MAX_MESSAGE: usize = 500;

/// The longest [`UnknownCode`], in bytes.
const MAX_CODE: usize = 64;

/// Why a payload is no notice.
#[derive(Debug, thiserror::Error)]
pub enum InvalidNotice {
    /// More than any notice needs.
    #[error("{0} bytes are no notice: it has at most {MAX_NOTICE}")]
    TooLong(usize),
    /// No JSON object with the fields of the notice.
    #[error("not a notice: {0}")]
    Malformed(#[from] serde_json::Error),
}

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

impl Complete {
    /// Reads a notice.
    ///
    /// # Errors
    /// See [`InvalidNotice`].
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidNotice> {
        parse(payload)
    }

    /// How the module is cut; `None` where its numbers do not fit together.
    pub fn layout(&self) -> Option<Layout> {
        Layout::new(self.size, self.chunk_size).ok().filter(|layout| layout.total() == self.total_chunks)
    }
}

/// Why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// One that this version does not know; the notice itself says whether asking again may help.
    #[serde(untagged)]
    Unknown(UnknownCode),
}

impl ErrorCode {
    /// Whether the same request may succeed later without anybody's doing.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Changed | Self::RegistryUnavailable | Self::Busy)
    }
}

/// The code of a newer worker: 1 to 64 lower-case letters, digits or `_`, so that it may be shown to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnknownCode(String);

/// The text is no code at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a code is 1 to {MAX_CODE} lower-case letters, digits or `_`")]
pub struct InvalidCode;

impl TryFrom<String> for UnknownCode {
    type Error = InvalidCode;

    fn try_from(text: String) -> Result<Self, InvalidCode> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if (1..=MAX_CODE).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidCode)
        }
    }
}

impl From<UnknownCode> for String {
    fn from(code: UnknownCode) -> Self {
        code.0
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
    /// What the reference means by now, with [`ErrorCode::Changed`]: so a device that knows nothing yet learns with one
    /// small request what to ask for by number, and no pass to everyone is made for it. Its fields stand beside the
    /// others; where one of them is missing or wrong, none of them counts.
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub now: Option<Descriptor>,
}

impl ErrorNotice {
    /// Reads a notice. Its message is fit to be shown to a person: short, and without control characters.
    ///
    /// # Errors
    /// See [`InvalidNotice`].
    pub fn parse(payload: &[u8]) -> Result<Self, InvalidNotice> {
        let notice: Self = parse(payload)?;
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        Ok(Self { message: notice.message.chars().map(shown).take(MAX_MESSAGE).collect(), ..notice })
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, InvalidNotice> {
    if payload.len() > MAX_NOTICE {
        return Err(InvalidNotice::TooLong(payload.len()));
    }
    Ok(serde_json::from_slice(payload)?)
}

/// What a module is, and how it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The digest of the whole module.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The size of every chunk but the last, in bytes.
    pub chunk_size: u32,
}

impl Descriptor {
    /// A module of this digest that is cut so.
    pub fn new(digest: Digest, layout: Layout) -> Self {
        Self { digest, size: layout.size(), chunk_size: layout.chunk_size() }
    }

    /// How the module is cut; `None` where that is impossible.
    pub fn layout(&self) -> Option<Layout> {
        Layout::new(self.size, self.chunk_size).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};
    use serde_json::json;

    use super::*;
    use crate::protocol::Layout;

    fn notice(code: ErrorCode) -> ErrorNotice {
        ErrorNotice {
            app_name: "add".to_owned(),
            retryable: code.is_retryable(),
            code,
            message: "later".to_owned(),
            device: None,
            now: None,
        }
    }

    fn read(notice: &serde_json::Value) -> serde_json::Result<ErrorNotice> {
        serde_json::from_slice(notice.to_string().as_bytes())
    }

    #[test]
    fn an_error_is_written_as_the_protocol_says() {
        let notice = notice(ErrorCode::RegistryUnavailable);
        assert_eq!(
            serde_json::to_string(&notice).unwrap(),
            r#"{"app_name":"add","code":"registry_unavailable","message":"later","retryable":true}"#
        );
        assert_eq!(notice.code.to_string(), "registry_unavailable");
    }

    #[test]
    fn what_a_reference_means_by_now_stands_beside_the_code() {
        let now = Descriptor { digest: Digest::UNKNOWN, size: 25, chunk_size: 10 };
        let notice = ErrorNotice { now: Some(now), ..notice(ErrorCode::Changed) };
        let written = serde_json::to_string(&notice).unwrap();
        let zeros = "0".repeat(64);
        let tail = format!(r#""retryable":true,"digest":"sha256:{zeros}","size":25,"chunk_size":10}}"#);
        assert!(written.ends_with(&tail), "{written}");
        assert_eq!(serde_json::from_str::<ErrorNotice>(&written).unwrap(), notice);
        assert_eq!(now.layout().unwrap().total(), 3);
    }

    #[test]
    fn a_description_that_is_none_does_not_count() {
        let base = json!({"app_name": "add", "code": "changed", "message": "later", "retryable": true, "size": 25});
        assert_eq!(read(&base).unwrap(), notice(ErrorCode::Changed));
    }

    #[test]
    fn a_code_that_nobody_knows_yet_is_read_and_shown_as_it_came() {
        let unknown = json!({"app_name": "add", "code": "gone_fishing", "message": "later", "retryable": true});
        let notice = read(&unknown).unwrap();
        assert!(matches!(notice.code, ErrorCode::Unknown(_)));
        assert!(notice.retryable && !notice.code.is_retryable());
        assert_eq!(notice.code.to_string(), "gone_fishing");
    }

    #[test]
    fn a_message_is_fit_to_be_shown() {
        let message = format!("\u{1b}[2Jlater\n{}", "ü".repeat(1000));
        let notice = json!({"app_name": "add", "code": "busy", "message": message, "retryable": true}).to_string();
        let message = ErrorNotice::parse(notice.as_bytes()).unwrap().message;
        assert!(message.starts_with(" [2Jlater ü") && message.chars().count() == MAX_MESSAGE, "{message}");
    }

    #[test]
    fn what_is_no_notice_is_refused() {
        let long = json!({"app_name": "a".repeat(MAX_NOTICE), "code": "busy", "message": "", "retryable": true});
        let deep = format!(r#"{{"app_name": "add", "x": {}"#, "[".repeat(5000));
        for payload in [long.to_string().as_bytes(), deep.as_bytes(), b"{}", b"\xff", b""] {
            assert!(ErrorNotice::parse(payload).is_err());
            assert!(Complete::parse(payload).is_err());
        }
    }

    #[test]
    fn a_code_that_is_none_makes_no_notice() {
        for code in
            [json!(""), json!("a b"), json!("\u{1b}[2J"), json!("x".repeat(MAX_CODE + 1)), json!(7), json!(null)]
        {
            let notice = json!({"app_name": "add", "code": code, "message": "later", "retryable": true});
            assert!(read(&notice).is_err(), "{code}");
        }
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
            device in prop::option::of("[A-Za-z0-9_-]{1,64}"), now in prop::option::of(any::<(u64, u32)>()),
        ) {
            let code: ErrorCode = serde_json::from_value(code.into()).unwrap();
            let device = device.map(|device| device.parse().unwrap());
            let now = now.map(|(size, chunk_size)| Descriptor { digest: Digest::of(b""), size, chunk_size });
            let retryable = code.is_retryable();
            let notice = ErrorNotice { app_name, code, message, retryable, device, now };
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
