//! What must hold of whatever is said on a channel: see [`crate::fuzzing`].

#![allow(clippy::unwrap_used, reason = "to panic is how it says that something does not hold")]

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Chunk, ChunkEncoder, ChunkHead, ChunkRanges, Complete, DeviceName, ErrorNotice, Format, Layout, MAX_APP_NAME,
    Receipt, Request, TopicPrefix, Topics,
    ranges::MAX_CHUNKS,
    request::{BadRequest, MAX_REQUEST},
    topics::{MAX_PREFIX, MAX_TOPIC},
};
use crate::digest::Digest;

/// A request: within its bounds, and what is written of it reads back and is no longer than what came.
pub fn request(data: &[u8]) {
    match Request::parse(data) {
        Ok(request) => {
            let json = request.to_json();
            assert!(json.len() <= data.len() && data.len() <= MAX_REQUEST);
            assert_eq!(Request::parse(&json).as_ref(), Ok(&request));
            assert!((1..=MAX_APP_NAME).contains(&request.app_name.len()));
            if let Some(missing) = request.full.and_then(|full| full.missing) {
                check_ranges(&missing.chunks);
            }
        }
        Err(BadRequest::Answerable { app_name, message, .. }) => {
            assert!((1..=MAX_APP_NAME).contains(&app_name.len()));
            assert!(message.len() < 200, "what is wrong is said, not repeated: {message}");
        }
        Err(BadRequest::Unanswerable) => {}
    }
}

/// A receipt.
pub fn receipt(data: &[u8]) {
    if let Some(receipt) = Receipt::parse(data) {
        assert!(is_object(data) && data.len() <= MAX_REQUEST && receipt.app_name.len() <= MAX_APP_NAME);
        assert_eq!(Receipt::parse(&serde_json::to_vec(&receipt).unwrap()), Some(receipt));
    }
}

/// Either notice, as a device hears it.
pub fn notice(data: &[u8]) {
    if let Ok(complete) = Complete::parse(data) {
        assert_eq!(Complete::parse(&serde_json::to_vec(&complete).unwrap()).unwrap(), complete);
        if let Some(layout) = complete.layout() {
            assert_eq!((layout.size(), layout.total()), (complete.size, complete.total_chunks));
        }
    }
    if let Ok(error) = ErrorNotice::parse(data) {
        let shown = format!("{}{}", error.code, error.message);
        assert!(!shown.chars().any(char::is_control) && shown.len() <= 3000, "{shown:?}");
        assert_eq!(ErrorNotice::parse(&serde_json::to_vec(&error).unwrap()).unwrap(), error);
    }
}

/// A chunk in JSON, of either dialect.
pub fn chunk_json(data: &[u8]) {
    if let Ok(chunk) = Chunk::from_json(data) {
        assert!(is_object(data));
        check_chunk(&chunk);
        if let Some((digest, layout)) = chunk.whole {
            let head = ChunkHead { app_name: chunk.app_name.clone(), digest, layout };
            let payload = encode(&head, Format::Full, chunk.index, &chunk.data, chunk.data.len());
            assert_eq!(Chunk::from_json(&payload), Ok(chunk));
        }
    }
}

/// A chunk in binary: lines of `name=value` up to an empty one are its properties, the rest its payload.
pub fn chunk_raw(data: &[u8]) {
    let (mut properties, mut payload) = (Vec::new(), data);
    while let Some(end) = payload.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&payload[..end]).into_owned();
        payload = &payload[end + 1..];
        match line.split_once('=') {
            Some((name, value)) => properties.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    if let Ok(chunk) = Chunk::from_raw(&properties, payload) {
        check_chunk(&chunk);
        let (digest, layout) = chunk.whole.unwrap();
        let head = ChunkHead { app_name: chunk.app_name.clone(), digest, layout };
        assert_eq!(encode(&head, Format::Raw, chunk.index, &chunk.data, chunk.data.len()), payload);
        assert_eq!(Chunk::from_raw(&head.properties(chunk.index), payload), Ok(chunk));
    }
}

fn check_chunk(chunk: &Chunk) {
    assert!(chunk.index < chunk.total && !chunk.data.is_empty());
    if let Some((_, layout)) = chunk.whole {
        assert_eq!((layout.total(), layout.len_of(chunk.index)), (chunk.total, chunk.data.len()));
        assert!(layout.offset(chunk.index) + chunk.data.len() as u64 <= layout.size());
    }
}

/// The encoder, whose bytes come in pieces, against plain libraries that have them all at once. The first three bytes
/// choose the chunk size, the length of the pieces and the length of the name, the rest is name and module.
pub fn chunk_encode(data: &[u8]) {
    let Some((&[chunk_size, piece, name], rest)) = data.split_first_chunk() else { return };
    let (name, module) = rest.split_at(rest.len().min(name.into()));
    let app_name = String::from_utf8_lossy(name).into_owned();
    let Ok(layout) = Layout::new(module.len() as u64, chunk_size.into()) else { return };
    let head = ChunkHead { app_name, digest: Digest::of(module), layout };
    for (index, data) in (0..).zip(module.chunks(layout.chunk_size() as usize)) {
        for format in [Format::Plain, Format::Full, Format::Raw] {
            let payload = encode(&head, format, index, data, piece.into());
            assert!(payload.len() <= head.max_payload(format));
            assert_eq!(payload, expected(&head, format, index, data));
        }
        let plain = Chunk::from_json(&encode(&head, Format::Plain, index, data, piece.into())).unwrap();
        assert_eq!((plain.index, plain.total, plain.data.as_slice()), (index, layout.total(), data));
    }
}

fn encode(head: &ChunkHead, format: Format, index: u32, data: &[u8], piece: usize) -> Vec<u8> {
    let mut encoder = ChunkEncoder::new(head, format, index);
    for piece in data.chunks(piece.max(1)) {
        assert_eq!(encoder.push(piece), piece.len());
    }
    assert!(encoder.is_full() && encoder.push(b"more") == 0);
    encoder.finish().to_vec()
}

fn expected(head: &ChunkHead, format: Format, index: u32, data: &[u8]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Wire<'a> {
        app_name: &'a str,
        chunk_idx: u32,
        total_chunks: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        chunk_size: Option<u32>,
        data: String,
    }
    let (layout, full) = (head.layout, format == Format::Full);
    let wire = Wire {
        app_name: &head.app_name,
        chunk_idx: index,
        total_chunks: layout.total(),
        digest: full.then_some(head.digest),
        size: full.then_some(layout.size()),
        chunk_size: full.then_some(layout.chunk_size()),
        data: data_encoding::BASE64.encode(data),
    };
    if format == Format::Raw { data.to_vec() } else { serde_json::to_vec(&wire).unwrap() }
}

/// Ranges of chunks: from JSON, and as the shortest way to name numbers.
pub fn ranges(data: &[u8]) {
    if let Ok(ranges) = serde_json::from_slice::<ChunkRanges>(data) {
        check_ranges(&ranges);
    }
    let numbers: BTreeSet<u32> = data.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes)).collect();
    if let Some(ranges) = ChunkRanges::first_of(numbers.iter().copied()) {
        check_ranges(&ranges);
        assert!(ranges.iter().eq(numbers.into_iter().take(MAX_CHUNKS as usize)));
    }
}

fn check_ranges(ranges: &ChunkRanges) {
    let numbers: Vec<u32> = ranges.iter().collect();
    assert!((1..=MAX_CHUNKS as usize).contains(&numbers.len()) && numbers.is_sorted_by(|a, b| a < b));
    assert_eq!(numbers.last(), Some(&ranges.last()));
    let json = serde_json::to_string(ranges).unwrap();
    assert_eq!(serde_json::from_str::<ChunkRanges>(&json).unwrap(), *ranges);
}

/// A prefix, a device and a topic, one a line: no topic has a wildcard in it or is too long, and a receipt's names its
/// sender.
pub fn topic(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (prefix, device, topic) = (line(), line().parse::<DeviceName>(), line());
    for named in [TopicPrefix::of_channel(prefix), TopicPrefix::of_tenant(prefix, topic), TopicPrefix::new(prefix)] {
        let Ok(prefix) = named else { continue };
        assert!(prefix.as_str().len() <= MAX_PREFIX);
        let topics = Topics::new(&prefix);
        let Topics { requests, plain, chunk, raw, complete, error, .. } = &topics;
        let mut said: Vec<_> = [requests, plain, chunk, raw, complete, error].into_iter().cloned().collect();
        if let Ok(device) = &device {
            said.extend(topics.device(device));
            if let Ok(receipt) = topics.receipt(device) {
                assert_eq!(topics.receipt_sender(&receipt).as_ref(), Some(device));
                said.push(receipt);
            }
        }
        for topic in &said {
            assert!(topic.len() <= MAX_TOPIC && !topic.contains(['+', '#', '\0']) && !topic.starts_with(['$', '/']));
        }
        assert_eq!(said.iter().collect::<BTreeSet<_>>().len(), said.len(), "each has its own");
        if let Some(sender) = topics.receipt_sender(topic) {
            assert!(topic.ends_with(&sender.to_string()));
        }
    }
}

fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}
