//! What a device asks for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ChunkRanges, MAX_APP_NAME, object, ranges::InvalidRanges};
use crate::digest::Digest;

/// The longest request, in bytes.
pub const MAX_REQUEST: usize = 4096;

/// A device's name: 1 to 64 letters, digits, `_` or `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceName(String);

/// The text is no device's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`device` must be 1 to 64 letters, digits, `_` or `-`")]
pub struct InvalidDeviceName;

impl FromStr for DeviceName {
    type Err = InvalidDeviceName;

    fn from_str(text: &str) -> Result<Self, InvalidDeviceName> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for DeviceName {
    type Error = InvalidDeviceName;

    fn try_from(text: String) -> Result<Self, InvalidDeviceName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidDeviceName)
        }
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a device wants its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// In JSON, the module's bytes in base64.
    Json,
    /// In binary, on MQTT 5.
    Raw,
}

/// Chunks that a device misses of a module that it has begun to gather.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Who asks, and is answered on its own topic.
    pub device: DeviceName,
    /// The module it gathers.
    pub digest: Digest,
    /// How that module was cut, in bytes.
    pub chunk_size: u32,
    /// What is missing.
    pub chunks: ChunkRanges,
}

/// A device's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The module's reference, as the device wrote it; answers repeat it.
    pub app_name: String,
    /// What it said besides; `None` from a device that speaks the plain dialect.
    pub full: Option<Full>,
}

/// What a device says that speaks the full dialect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Full {
    /// Who asks.
    pub device: Option<DeviceName>,
    /// How it wants its chunks; JSON unless said.
    pub format: Option<Wanted>,
    /// The chunks that it wants, where it does not want the whole module.
    pub missing: Option<Missing>,
}

/// Why a request is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a request at all: counted, never answered.
    #[error("no JSON object of at most {MAX_REQUEST} bytes with an `app_name` of at most {MAX_APP_NAME}")]
    Unanswerable,
    /// A request that can be answered with an error notice.
    #[error("{message}")]
    Answerable {
        /// What was asked for.
        app_name: String,
        /// Who asked, where it can be told.
        device: Option<DeviceName>,
        /// What is wrong with it, for people.
        message: String,
    },
}

#[derive(Deserialize)]
struct Wire<'a> {
    app_name: String,
    #[serde(borrow, default)]
    device: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    format: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    digest: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    chunk_size: Option<&'a serde_json::value::RawValue>,
    #[serde(borrow, default)]
    chunks: Option<&'a serde_json::value::RawValue>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// [`BadRequest::Unanswerable`] where it is too long, no JSON object, or has no `app_name`;
    /// [`BadRequest::Answerable`] where an optional field is not as it should be.
    pub fn parse(payload: &[u8]) -> Result<Self, BadRequest> {
        if payload.len() > MAX_REQUEST {
            return Err(BadRequest::Unanswerable);
        }
        let wire: Wire<'_> = object(payload).ok_or(BadRequest::Unanswerable)?;
        if wire.app_name.is_empty() || wire.app_name.len() > MAX_APP_NAME {
            return Err(BadRequest::Unanswerable);
        }
        let device = read(wire.device);
        match wire.full(&device) {
            Ok(full) => Ok(Self { app_name: wire.app_name, full }),
            Err(message) => {
                Err(BadRequest::Answerable { app_name: wire.app_name, device: device.ok().flatten(), message })
            }
        }
    }

    /// The request as bytes.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Out<'a> {
            app_name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            device: Option<&'a DeviceName>,
            #[serde(skip_serializing_if = "Option::is_none")]
            format: Option<Wanted>,
            #[serde(skip_serializing_if = "Option::is_none")]
            digest: Option<Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            chunk_size: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            chunks: Option<&'a ChunkRanges>,
        }
        let full = self.full.as_ref();
        let missing = full.and_then(|full| full.missing.as_ref());
        // Strings, numbers and lists of numbers always serialise.
        serde_json::to_vec(&Out {
            app_name: &self.app_name,
            device: full.and_then(|full| full.device.as_ref()),
            format: full.and_then(|full| full.format),
            digest: missing.map(|missing| missing.digest),
            chunk_size: missing.map(|missing| missing.chunk_size),
            chunks: missing.map(|missing| &missing.chunks),
        })
        .unwrap_or_default()
    }
}

impl Wire<'_> {
    fn full(&self, device: &Result<Option<DeviceName>, ()>) -> Result<Option<Full>, String> {
        let device = device.clone().map_err(|()| InvalidDeviceName.to_string())?;
        let format: Option<Wanted> =
            read(self.format).map_err(|()| "`format` must be \"json\" or \"raw\"".to_owned())?;
        let digest = read(self.digest)
            .map_err(|()| "`digest` must be `sha256:` and 64 lower-case hexadecimal digits".to_owned())?;
        let chunk_size: Option<u32> =
            read(self.chunk_size).map_err(|()| "`chunk_size` must be a number of bytes".to_owned())?;
        let chunks: Option<Vec<(u32, u32)>> = read(self.chunks).map_err(|()| InvalidRanges::Unsorted.to_string())?;
        let missing = match (digest, chunk_size, chunks) {
            (None, None, None) => None,
            (Some(digest), Some(chunk_size), Some(chunks)) => Some(Missing {
                device: device.clone().ok_or("`chunks` needs a `device` to answer to")?,
                digest,
                chunk_size,
                chunks: chunks.try_into().map_err(|e: InvalidRanges| e.to_string())?,
            }),
            _ => return Err("`digest`, `chunk_size` and `chunks` go together".to_owned()),
        };
        let full = Full { device, format, missing };
        Ok((full != Full::default()).then_some(full))
    }
}

/// An optional field; `null` is as good as absent.
fn read<'a, T: Deserialize<'a>>(field: Option<&'a serde_json::value::RawValue>) -> Result<Option<T>, ()> {
    match field {
        None => Ok(None),
        Some(raw) => serde_json::from_str(raw.get()).map_err(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(payload: &str) -> String {
        match Request::parse(payload.as_bytes()) {
            Err(BadRequest::Answerable { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_plain_request_is_an_app_name_alone() {
        let request = Request::parse(br#"{"app_name": "registry.example/wasm/add:1.2"}"#).unwrap();
        assert_eq!(request, Request { app_name: "registry.example/wasm/add:1.2".to_owned(), full: None });
    }

    #[test]
    fn fields_that_nobody_knows_leave_a_request_plain() {
        assert_eq!(Request::parse(br#"{"app_name": "a", "colour": "red"}"#).unwrap().full, None);
    }

    #[test]
    fn any_optional_field_makes_a_request_full() {
        let request = Request::parse(br#"{"app_name": "a", "format": "json"}"#).unwrap();
        assert_eq!(request.full, Some(Full { format: Some(Wanted::Json), ..Full::default() }));
    }

    #[test]
    fn what_is_no_request_is_not_answered() {
        let long = format!(r#"{{"app_name": "{}"}}"#, "a".repeat(MAX_APP_NAME + 1));
        let huge = format!(r#"{{"app_name": "a", "x": "{}"}}"#, "a".repeat(MAX_REQUEST));
        let deep = format!(r#"{{"app_name": "a", "x": {}"#, "[".repeat(2000));
        for payload in
            ["", "null", "[]", r#"["a"]"#, "{}", r#"{"app_name": 1}"#, r#"{"app_name": ""}"#, &long, &huge, &deep]
        {
            assert_eq!(Request::parse(payload.as_bytes()), Err(BadRequest::Unanswerable), "{payload}");
        }
    }

    #[test]
    fn each_field_that_is_wrong_is_named() {
        assert!(message(r#"{"app_name": "a", "device": "no name"}"#).contains("`device`"));
        assert!(message(r#"{"app_name": "a", "format": "xml"}"#).contains("`format`"));
        assert!(message(r#"{"app_name": "a", "digest": "md5:1"}"#).contains("`digest`"));
        assert!(message(r#"{"app_name": "a", "chunk_size": -1}"#).contains("`chunk_size`"));
        assert!(message(r#"{"app_name": "a", "chunk_size": 1}"#).contains("go together"));
        let chunks = format!(r#"{{"app_name": "a", "digest": "{DIGEST}", "chunk_size": 1, "chunks": [[0, 0]]}}"#);
        assert!(message(&chunks).contains("needs a `device`"));
        let chunks = chunks.replace("[[0, 0]]", r#"[[1, 0]], "device": "d""#);
        assert!(message(&chunks).contains("sorted"));
    }

    #[test]
    fn a_request_for_missing_chunks_reads_back() {
        let device: DeviceName = "d".parse().unwrap();
        let request = Request {
            app_name: "a\"b".to_owned(),
            full: Some(Full {
                device: Some(device.clone()),
                format: Some(Wanted::Raw),
                missing: Some(Missing {
                    device,
                    digest: DIGEST.parse().unwrap(),
                    chunk_size: 512_000,
                    chunks: ChunkRanges::first_of([1, 2, 5]).unwrap(),
                }),
            }),
        };
        assert_eq!(Request::parse(&request.to_json()), Ok(request));
    }

    fn anything(depth: u32) -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(?s).{0,80}".prop_map(Value::from),
            Just(Value::from(DIGEST)),
        ];
        leaf.prop_recursive(depth, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(".{0,9}", inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_request_reads_back(
            app_name in "(?s).{1,100}",
            device in prop::option::of("[A-Za-z0-9_-]{1,64}"),
            format in prop::option::of(prop::sample::select(vec![Wanted::Json, Wanted::Raw])),
            missing in prop::option::of((any::<u32>(), prop::collection::btree_set(any::<u32>(), 1..80))),
        ) {
            let device: Option<DeviceName> = device.map(|device| device.parse().unwrap());
            let missing = device.clone().zip(missing).map(|(device, (chunk_size, chunks))| {
                let chunks = ChunkRanges::first_of(chunks).unwrap();
                Missing { device, digest: DIGEST.parse().unwrap(), chunk_size, chunks }
            });
            let full = Some(Full { device, format, missing }).filter(|full| *full != Full::default());
            let request = Request { app_name, full };
            let json = request.to_json();
            prop_assert!(json.len() <= MAX_REQUEST);
            prop_assert_eq!(Request::parse(&json), Ok(request));
        }

        #[test]
        fn any_value_in_any_field_is_taken_or_named(
            field in prop::sample::select(vec!["device", "format", "digest", "chunk_size", "chunks", "colour"]),
            value in anything(4),
        ) {
            let mut request = serde_json::json!({"app_name": "a"});
            request[field] = value;
            match Request::parse(request.to_string().as_bytes()) {
                Ok(request) => prop_assert_eq!(request.app_name, "a"),
                Err(BadRequest::Answerable { message, .. }) => prop_assert!(message.contains(field), "{}", message),
                Err(BadRequest::Unanswerable) => prop_assert!(request.to_string().len() > MAX_REQUEST),
            }
        }

        #[test]
        fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&payload);
        }
    }
}
