//! What every byte of a module goes through.

use std::hint::black_box;

use bytes::Bytes;
use wasmproxy::{
    digest::Digest,
    hot::fingerprint,
    protocol::{Chunk, ChunkEncoder, ChunkHead, Format, Layout},
};

use crate::Case;

/// A chunk's bytes: as many as are usual.
const CHUNK: u32 = 512_000;

/// What comes of a connection at a time: no multiple of three, as base64 would have it.
const PIECE: usize = 16 * 1024;

pub fn cases() -> Vec<Case> {
    let data: Bytes = std::iter::repeat_with(|| fastrand::u8(..)).take(CHUNK as usize).collect();
    let layout = Layout::new(64 * u64::from(CHUNK), CHUNK).unwrap();
    let head = ChunkHead { app_name: "registry.example/wasm/add:1".to_owned(), digest: Digest::of(&data), layout };
    [copies(&data), encoding(&head, &data), hashing(&data), decoding(&head, &data)].into_iter().flatten().collect()
}

/// What the others are to be seen beside.
fn copies(data: &Bytes) -> Vec<Case> {
    let (copied, encoded) = (data.clone(), data.clone());
    let mut copy = Vec::with_capacity(data.len());
    let mut base64 = Vec::with_capacity(data.len().div_ceil(3) * 4);
    vec![
        of_bytes("bare/copy", data, move || {
            copy.clear();
            copy.extend_from_slice(black_box(&copied));
            black_box(copy.as_ptr());
        }),
        of_bytes("bare/base64", data, move || {
            base64.clear();
            base64_simd::STANDARD.encode_append(black_box(&encoded), &mut base64);
            black_box(base64.as_ptr());
        }),
    ]
}

fn encoding(head: &ChunkHead, data: &Bytes) -> Vec<Case> {
    let formats = [("plain", Format::Plain), ("full", Format::Full), ("raw", Format::Raw)];
    let case = |name: String, format: Format, piece: usize| {
        let (head, data_there) = (head.clone(), data.clone());
        of_bytes(name, data, move || encode(&head, format, data_there.chunks(piece)))
    };
    let mut cases: Vec<_> = formats.map(|(name, format)| case(format!("encode/{name}"), format, data.len())).into();
    cases.push(case("encode/full_in_pieces".to_owned(), Format::Full, PIECE));
    cases
}

fn encode<'a>(head: &ChunkHead, format: Format, pieces: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let mut encoder = ChunkEncoder::new(head, format, 7);
    for piece in pieces {
        encoder.push(black_box(piece));
    }
    encoder.finish()
}

fn hashing(data: &Bytes) -> Vec<Case> {
    let (ours, known) = (data.clone(), data.clone());
    vec![
        of_bytes("hash/sha256", data, move || Digest::of(black_box(&ours))),
        of_bytes("hash/fingerprint", data, move || fingerprint(black_box(&known))),
    ]
}

fn decoding(head: &ChunkHead, data: &Bytes) -> Vec<Case> {
    let json = encode(head, Format::Full, std::iter::once(&**data));
    let (properties, raw) = (head.properties(7), data.clone());
    vec![
        of_bytes("decode/json", data, move || Chunk::from_json(black_box(&json)).unwrap()),
        of_bytes("decode/raw", data, move || Chunk::from_raw(black_box(&properties), black_box(&raw)).unwrap()),
    ]
}

fn of_bytes<T>(name: impl Into<String>, data: &Bytes, run: impl FnMut() -> T + 'static) -> Case {
    Case::of_bytes(name, data.len(), run)
}
