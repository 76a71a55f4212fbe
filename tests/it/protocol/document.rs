//! What docs/protocol.md says is so.

use std::collections::BTreeSet;

use serde_json::json;
use wasmproxy::{
    digest::Digest,
    protocol::{
        Chunk, ChunkEncoder, ChunkHead, ChunkRanges, ChunkSize, Complete, DeviceName, ErrorCode, ErrorNotice, Format,
        Layout, MAX_APP_NAME, Missing, Receipt, Request, TopicPrefix, Topics,
        notice::MAX_NOTICE,
        ranges::MAX_CHUNKS,
        request::{Full, MAX_REQUEST, Wanted},
        topics::{MAX_PREFIX, MAX_TOPIC},
    },
};

use super::{block, table};

/// The module of all examples.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const NAME: &str = "wasm/add:1.2";

fn head() -> ChunkHead {
    ChunkHead { app_name: NAME.to_owned(), digest: Digest::of(MODULE), layout: Layout::new(8, 5).unwrap() }
}

fn device() -> DeviceName {
    "press-4".parse().unwrap()
}

/// All chunks of the module, a line each.
fn written(format: Format) -> String {
    let chunk = |(index, data): (u32, &[u8])| {
        let mut encoder = ChunkEncoder::new(&head(), format, index);
        encoder.push(data);
        String::from_utf8(encoder.finish().to_vec()).unwrap() + "\n"
    };
    (0..).zip(MODULE.chunks(5)).map(chunk).collect()
}

#[test]
fn requests_are_read_as_the_document_says() {
    let read = |info: &str| Request::parse(block(info).as_bytes()).unwrap();
    let app_name = NAME.to_owned();
    assert_eq!(read("json request plain"), Request { app_name: app_name.clone(), full: None });
    let full = Full { device: Some(device()), format: Some(Wanted::Raw), missing: None };
    assert_eq!(read("json request whole"), Request { app_name: app_name.clone(), full: Some(full) });
    let chunks = ChunkRanges::try_from(vec![(0, 0), (2, 7)]).unwrap();
    let missing = Missing { device: device(), digest: Digest::of(MODULE), chunk_size: 5, chunks };
    let full = Full { device: Some(device()), format: None, missing: Some(missing) };
    assert_eq!(read("json request missing"), Request { app_name, full: Some(full) });
}

#[test]
fn chunks_are_written_as_the_document_says() {
    for (info, format) in [("json chunk plain", Format::Plain), ("json chunk full", Format::Full)] {
        let written = written(format);
        assert_eq!(block(info), written);
        let read = written.lines().map(|line| Chunk::from_json(line.as_bytes()).unwrap().data);
        assert_eq!(read.collect::<Vec<_>>().concat(), MODULE);
    }
    let properties = head().properties(1).into_iter().map(|(name, value)| format!("{name}: {value}\n"));
    assert_eq!(block("text properties"), properties.collect::<String>());
}

#[test]
fn notices_and_receipts_are_written_as_the_document_says() {
    let complete = Complete::from(&head());
    assert_eq!(block("json complete").trim_end(), serde_json::to_string(&complete).unwrap());
    for line in block("json error").lines() {
        let notice = ErrorNotice::parse(line.as_bytes()).unwrap();
        assert_eq!(line, serde_json::to_string(&notice).unwrap());
        assert_eq!(notice.now.is_some(), notice.code == ErrorCode::Changed);
    }
    let receipt = Receipt { app_name: NAME.to_owned(), digest: Digest::of(MODULE) };
    assert_eq!(block("json receipt").trim_end(), serde_json::to_string(&receipt).unwrap());
    assert_eq!(Receipt::parse(block("json receipt").as_bytes()), Some(receipt));
}

#[test]
fn every_code_is_in_the_document_and_says_whether_to_ask_again() {
    let listed = table("| code | meaning | `retryable` | what to do |");
    for row in &listed {
        let code: ErrorCode = serde_json::from_value(json!(row[0].trim_matches('`'))).unwrap();
        assert!(!matches!(code, ErrorCode::Unknown(_)), "{code}");
        assert_eq!(row[2], code.is_retryable().to_string(), "{code}");
    }
    // Does not compile where there is another: count it here, and put it into the document.
    let known = |code: &ErrorCode| match code {
        ErrorCode::BadRequest
        | ErrorCode::NotAllowed
        | ErrorCode::NotFound
        | ErrorCode::Unauthorized
        | ErrorCode::UnsupportedArtifact
        | ErrorCode::TooLarge
        | ErrorCode::Changed
        | ErrorCode::DigestMismatch
        | ErrorCode::RegistryUnavailable
        | ErrorCode::Busy
        | ErrorCode::Unknown(_) => 10,
    };
    let distinct: BTreeSet<_> = listed.iter().map(|row| &row[0]).collect();
    assert_eq!(distinct.len(), known(&ErrorCode::Busy));
}

#[test]
fn the_limits_are_those_of_the_document() {
    let limits = [
        ("request, in bytes", MAX_REQUEST),
        ("`app_name`, in bytes", MAX_APP_NAME),
        ("`device`, in characters", 64),
        ("chunks in one request", MAX_CHUNKS as usize),
        ("topic, in bytes", MAX_TOPIC),
        ("prefix of a channel, in bytes", MAX_PREFIX),
        ("notice, in bytes", MAX_NOTICE),
        ("smallest `chunk_size`, in bytes (the last chunk may be smaller)", ChunkSize::MIN as usize),
        ("`chunk_size` unless something else is configured, in bytes", ChunkSize::DEFAULT.get() as usize),
        ("largest `chunk_size`, in bytes", ChunkSize::MAX as usize),
    ];
    let limits = limits.map(|(what, limit)| vec![what.to_owned(), limit.to_string()]);
    assert_eq!(table("| what | limit |"), limits);
    assert!("d".repeat(64).parse::<DeviceName>().is_ok() && "d".repeat(65).parse::<DeviceName>().is_err());
}

#[test]
fn the_longest_request_that_a_device_may_need_is_short_enough() {
    let device: DeviceName = "d".repeat(64).parse().unwrap();
    let chunks = (0..MAX_CHUNKS).map(|i| u32::MAX - 2 * (MAX_CHUNKS - i)).map(|index| (index, index));
    let missing = Missing {
        device: device.clone(),
        digest: Digest::of(MODULE),
        chunk_size: u32::MAX,
        chunks: ChunkRanges::try_from(chunks.collect::<Vec<_>>()).unwrap(),
    };
    let full = Full { device: Some(device), format: Some(Wanted::Json), missing: Some(missing) };
    let request = Request { app_name: "a".repeat(MAX_APP_NAME), full: Some(full) };
    assert_eq!(Request::parse(&request.to_json()), Ok(request));
}

#[test]
fn a_chunk_takes_no_more_than_the_document_says() {
    // All numbers at their longest, and a byte of data.
    let layout = Layout::new(u64::from(u32::MAX), 1).unwrap();
    let head = ChunkHead { app_name: String::new(), digest: Digest::of(MODULE), layout };
    assert!(head.max_payload(Format::Full) < 4 + 512);
}

#[test]
fn the_topics_are_those_of_the_document() {
    let topics = Topics::new(&TopicPrefix::new("{prefix}").unwrap());
    let of_device = |topic: String| topic.replace("press-4", "{device}");
    let expected = [
        topics.requests.clone(),
        of_device(topics.receipt(&device()).unwrap()),
        topics.plain.clone(),
        topics.chunk.clone(),
        topics.raw.clone(),
        of_device(topics.device(&device()).unwrap()),
        topics.complete.clone(),
        topics.error.clone(),
    ];
    let listed = table("| topic | who publishes | what |");
    let listed: Vec<_> = listed.into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    assert_eq!(listed, expected);
}
