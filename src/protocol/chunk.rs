//! A piece of a module: encoded straight from the bytes as they arrive, and decoded by the device.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::{Layout, object};
use crate::digest::Digest;

/// How a chunk is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// JSON with the four fields that old devices know, and no other.
    Plain,
    /// JSON with the module's digest, size and chunk size besides.
    Full,
    /// The bytes as they are; the other fields are MQTT 5 user properties.
    Raw,
}

/// What all chunks of a pass say besides their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHead {
    /// The reference as the device or the configuration wrote it.
    pub app_name: String,
    /// The digest of the whole module.
    pub digest: Digest,
    /// How the module is cut.
    pub layout: Layout,
}

impl ChunkHead {
    /// The user properties of a [`Format::Raw`] chunk.
    pub fn properties(&self, index: u32) -> Vec<(String, String)> {
        [
            ("app_name", self.app_name.clone()),
            ("chunk_idx", index.to_string()),
            ("total_chunks", self.layout.total().to_string()),
            ("digest", self.digest.to_string()),
            ("size", self.layout.size().to_string()),
            ("chunk_size", self.layout.chunk_size().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The most bytes that an encoded chunk of `format` takes.
    pub fn max_payload(&self, format: Format) -> usize {
        self.payload_len(format, &self.opening(format, u32::MAX), self.layout.len_of(0))
    }

    fn payload_len(&self, format: Format, opening: &str, len: usize) -> usize {
        match format {
            Format::Raw => len,
            Format::Plain | Format::Full => opening.len() + len.div_ceil(3) * 4 + CLOSING.len(),
        }
    }

    /// What stands before the data.
    fn opening(&self, format: Format, index: u32) -> String {
        // A string always serialises.
        let name = serde_json::to_string(&self.app_name).unwrap_or_default();
        let (total, layout) = (self.layout.total(), &self.layout);
        let full = match format {
            Format::Raw => return String::new(),
            Format::Plain => String::new(),
            Format::Full => {
                format!(r#""digest":"{}","size":{},"chunk_size":{},"#, self.digest, layout.size(), layout.chunk_size())
            }
        };
        format!(r#"{{"app_name":{name},"chunk_idx":{index},"total_chunks":{total},{full}"data":""#)
    }
}

const CLOSING: &[u8] = b"\"}";

/// Encodes one chunk as its bytes come in; the encoded chunk is the only copy of them.
pub struct ChunkEncoder {
    out: Vec<u8>,
    format: Format,
    /// Bytes still to come.
    left: usize,
    /// Up to two bytes that wait for a group of three.
    carry: [u8; 3],
    carried: usize,
}

impl ChunkEncoder {
    /// Begins chunk `index`.
    pub fn new(head: &ChunkHead, format: Format, index: u32) -> Self {
        Self::new_in(Vec::new(), head, format, index)
    }

    /// Begins chunk `index`, in this buffer instead of a new one.
    pub fn new_in(mut out: Vec<u8>, head: &ChunkHead, format: Format, index: u32) -> Self {
        let opening = head.opening(format, index);
        let left = head.layout.len_of(index);
        out.clear();
        out.reserve_exact(head.payload_len(format, &opening, left));
        out.extend_from_slice(opening.as_bytes());
        Self { out, format, left, carry: [0; 3], carried: 0 }
    }

    /// Takes in as many of `bytes` as this chunk holds, and returns how many those were.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        let bytes = &bytes[..taken];
        match self.format {
            Format::Raw => self.out.extend_from_slice(bytes),
            Format::Plain | Format::Full => self.encode(bytes),
        }
        taken
    }

    fn encode(&mut self, mut bytes: &[u8]) {
        while self.carried > 0 && self.carried < 3 {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.carry[self.carried] = *first;
            self.carried += 1;
            bytes = rest;
        }
        if self.carried == 3 {
            base64_simd::STANDARD.encode_append(self.carry, &mut self.out);
            self.carried = 0;
        }
        let (groups, rest) = bytes.split_at(bytes.len() - bytes.len() % 3);
        base64_simd::STANDARD.encode_append(groups, &mut self.out);
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len();
    }

    /// Whether all bytes of the chunk are in.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// The encoded chunk.
    pub fn finish(self) -> Bytes {
        self.finish_buffer().into()
    }

    /// The buffer that it began in, with the encoded chunk.
    pub fn finish_buffer(mut self) -> Vec<u8> {
        if self.format != Format::Raw {
            base64_simd::STANDARD.encode_append(&self.carry[..self.carried], &mut self.out);
            self.out.extend_from_slice(CLOSING);
        }
        self.out
    }
}

/// A chunk as a device receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The reference that was asked for.
    pub app_name: String,
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub total: u32,
    /// The digest and layout of the whole; `None` in the plain dialect.
    pub whole: Option<(Digest, Layout)>,
    /// The module's bytes.
    pub data: Vec<u8>,
}

/// Why a payload is no chunk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChunk {
    /// The payload is no JSON object with the fields of a chunk, or a property is missing or no number.
    #[error("not a chunk")]
    Malformed,
    /// The data is no base64.
    #[error("the chunk's data is not base64")]
    Base64,
    /// The number, size and length do not fit together.
    #[error("the chunk's number, size and length do not fit together")]
    Inconsistent,
}

#[derive(Deserialize)]
struct Wire<'a> {
    app_name: String,
    chunk_idx: u32,
    total_chunks: u32,
    digest: Option<Digest>,
    size: Option<u64>,
    chunk_size: Option<u32>,
    #[serde(borrow)]
    data: Cow<'a, str>,
}

impl Chunk {
    /// Reads a chunk in JSON, of either dialect.
    ///
    /// # Errors
    /// See [`InvalidChunk`].
    pub fn from_json(payload: &[u8]) -> Result<Self, InvalidChunk> {
        let wire: Wire<'_> = object(payload).ok_or(InvalidChunk::Malformed)?;
        let whole = match (wire.digest, wire.size, wire.chunk_size) {
            (None, None, None) => None,
            (Some(digest), Some(size), Some(chunk_size)) => {
                Some((digest, Layout::new(size, chunk_size).map_err(|_| InvalidChunk::Inconsistent)?))
            }
            _ => return Err(InvalidChunk::Malformed),
        };
        let data = base64_simd::STANDARD.decode_to_vec(wire.data.as_bytes()).map_err(|_| InvalidChunk::Base64)?;
        Self { app_name: wire.app_name, index: wire.chunk_idx, total: wire.total_chunks, whole, data }.checked()
    }

    /// Reads a chunk in binary: its user properties and its bytes.
    ///
    /// # Errors
    /// See [`InvalidChunk`].
    pub fn from_raw(properties: &[(String, String)], payload: &[u8]) -> Result<Self, InvalidChunk> {
        let get = |name: &str| {
            properties
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
                .ok_or(InvalidChunk::Malformed)
        };
        let number = |name| get(name)?.parse().map_err(|_| InvalidChunk::Malformed);
        let size = get("size")?.parse().map_err(|_| InvalidChunk::Malformed)?;
        let layout = Layout::new(size, number("chunk_size")?).map_err(|_| InvalidChunk::Inconsistent)?;
        let digest = get("digest")?.parse().map_err(|_| InvalidChunk::Malformed)?;
        Self {
            app_name: get("app_name")?.to_owned(),
            index: number("chunk_idx")?,
            total: number("total_chunks")?,
            whole: Some((digest, layout)),
            data: payload.to_vec(),
        }
        .checked()
    }

    fn checked(self) -> Result<Self, InvalidChunk> {
        let fits = match &self.whole {
            None => true,
            Some((_, layout)) => layout.total() == self.total && layout.len_of(self.index) == self.data.len(),
        };
        if fits && self.index < self.total && !self.data.is_empty() {
            Ok(self)
        } else {
            Err(InvalidChunk::Inconsistent)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(size: u64, chunk_size: u32) -> ChunkHead {
        ChunkHead {
            app_name: "registry.example/\"add\":1".to_owned(),
            digest: Digest::of(b""),
            layout: Layout::new(size, chunk_size).unwrap(),
        }
    }

    fn encoded(head: &ChunkHead, format: Format, index: u32, pieces: &[&[u8]]) -> Bytes {
        let mut encoder = ChunkEncoder::new(head, format, index);
        for piece in pieces {
            encoder.push(piece);
        }
        assert!(encoder.is_full());
        encoder.finish()
    }

    #[test]
    fn a_plain_chunk_has_the_four_fields_of_old_devices_in_their_order() {
        let head = ChunkHead { app_name: "add:1".to_owned(), ..head(4, 10) };
        assert_eq!(
            encoded(&head, Format::Plain, 0, &[b"\0asm"]),
            r#"{"app_name":"add:1","chunk_idx":0,"total_chunks":1,"data":"AGFzbQ=="}"#
        );
    }

    #[test]
    fn a_chunk_takes_no_more_than_it_holds() {
        let mut encoder = ChunkEncoder::new(&head(5, 3), Format::Full, 1);
        assert_eq!(encoder.push(b"abc"), 2);
        assert_eq!(encoder.push(b"d"), 0);
        assert!(encoder.is_full());
    }

    #[test]
    fn an_encoded_chunk_was_allocated_once_and_in_full() {
        let head = head(10_000, 7_000);
        let encoder = ChunkEncoder::new(&head, Format::Full, 0);
        let capacity = encoder.out.capacity();
        let payload = encoded(&head, Format::Full, 0, &[&[7; 7_000]]);
        assert_eq!(payload.len(), capacity);
        assert!(payload.len() <= head.max_payload(Format::Full));
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let plain = |index, total, data| {
            format!(r#"{{"app_name":"a","chunk_idx":{index},"total_chunks":{total},"data":"{data}"}}"#)
        };
        for (payload, error) in [
            ("{}".to_owned(), InvalidChunk::Malformed),
            (r#"["a",0,1,null,null,null,"AA=="]"#.to_owned(), InvalidChunk::Malformed),
            (plain(0, 1, "?"), InvalidChunk::Base64),
            (plain(1, 1, "AA=="), InvalidChunk::Inconsistent),
            (plain(0, 1, ""), InvalidChunk::Inconsistent),
        ] {
            assert_eq!(Chunk::from_json(payload.as_bytes()), Err(error), "{payload}");
        }
    }

    #[test]
    fn nothing_is_nested_too_deep_to_be_passed_over() {
        let deep = [&"[".repeat(1_000_000), "0", &"]".repeat(1_000_000)].concat();
        let chunk = format!(r#"{{"app_name":"a","chunk_idx":0,"total_chunks":1,"x":{deep},"data":"AA=="}}"#);
        assert_eq!(Chunk::from_json(chunk.as_bytes()).unwrap().data, [0]);
        let chunk = chunk.replace("AA==", "").replace("\"x\"", "\"digest\"");
        assert_eq!(Chunk::from_json(chunk.as_bytes()), Err(InvalidChunk::Malformed));
    }

    proptest! {
        #[test]
        fn a_chunk_reads_back_however_its_bytes_came_in(
            data in prop::collection::vec(any::<u8>(), 1..200),
            cuts in prop::collection::vec(0usize..200, 0..6),
            full in any::<bool>(),
        ) {
            let head = head(data.len() as u64, 200);
            let format = if full { Format::Full } else { Format::Plain };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &data[cut[0]..cut[1]]).collect();
            let chunk = Chunk::from_json(&encoded(&head, format, 0, &pieces)).unwrap();
            prop_assert_eq!(&chunk.app_name, &head.app_name);
            prop_assert_eq!(chunk.whole, full.then_some((head.digest, head.layout)));
            prop_assert_eq!(chunk.data, data);
        }

        #[test]
        fn a_raw_chunk_reads_back(data in prop::collection::vec(any::<u8>(), 1..200)) {
            let head = head(data.len() as u64, 200);
            let payload = encoded(&head, Format::Raw, 0, &[&data]);
            let chunk = Chunk::from_raw(&head.properties(0), &payload).unwrap();
            prop_assert_eq!(chunk.whole, Some((head.digest, head.layout)));
            prop_assert_eq!(chunk.data, data);
        }

        #[test]
        fn a_chunk_that_is_accepted_fits_its_layout(
            index in 0u32..5, total in 0u32..5, size in 0u64..20, chunk_size in 0u32..8, len in 0usize..9,
        ) {
            let properties = [
                ("app_name", "a".to_owned()),
                ("chunk_idx", index.to_string()),
                ("total_chunks", total.to_string()),
                ("digest", Digest::of(b"").to_string()),
                ("size", size.to_string()),
                ("chunk_size", chunk_size.to_string()),
            ];
            let properties = properties.map(|(name, value)| (name.to_owned(), value));
            let json = serde_json::json!({
                "app_name": "a", "chunk_idx": index, "total_chunks": total, "digest": Digest::of(b""), "size": size,
                "chunk_size": chunk_size, "data": base64_simd::STANDARD.encode_to_string(vec![7; len]),
            });
            let raw = Chunk::from_raw(&properties, &vec![7; len]);
            prop_assert_eq!(&raw, &Chunk::from_json(json.to_string().as_bytes()), "either format, the same verdict");
            let fits = Layout::new(size, chunk_size)
                .is_ok_and(|layout| layout.total() == total && layout.len_of(index) == len && index < total);
            prop_assert_eq!(raw.is_ok(), fits);
        }

        #[test]
        fn no_bytes_make_it_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Chunk::from_json(&payload);
            let _ = Chunk::from_raw(&[], &payload);
        }
    }
}
