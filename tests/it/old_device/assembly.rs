//! How a device of old puts chunks together: by `app_name` alone. The first write of an index wins, nothing is verified,
//! and what is incomplete after five minutes is forgotten.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use serde::Deserialize;

/// How long an incomplete module is kept.
const LIFE: Duration = Duration::from_secs(300);

/// The four fields that it knows; others are passed over.
#[derive(Deserialize)]
struct Chunk {
    app_name: String,
    chunk_idx: usize,
    total_chunks: usize,
    data: String,
}

struct Partial {
    total: usize,
    began: Instant,
    pieces: BTreeMap<usize, Vec<u8>>,
}

/// The modules that are incomplete yet.
#[derive(Default)]
pub struct Assembly {
    by_name: HashMap<String, Partial>,
}

/// What became of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is a part of a module by this name.
    Part(String),
    /// It was the last that was missing.
    Complete(String, Vec<u8>),
}

impl Assembly {
    /// Takes in what was said on the topic.
    ///
    /// # Panics
    /// Where it is no chunk.
    pub fn take(&mut self, payload: &[u8], now: Instant) -> Taken {
        self.by_name.retain(|_, partial| now.duration_since(partial.began) <= LIFE);
        let chunk: Chunk = serde_json::from_slice(payload).expect("only chunks are said to devices of old");
        let data = base64_simd::STANDARD.decode_to_vec(&chunk.data).expect("padded standard base64");
        let name = chunk.app_name;
        let begin = || Partial { total: chunk.total_chunks, began: now, pieces: BTreeMap::new() };
        let partial = self.by_name.entry(name.clone()).or_insert_with(begin);
        if partial.total == chunk.total_chunks {
            partial.pieces.entry(chunk.chunk_idx).or_insert(data);
        }
        if partial.pieces.len() < partial.total {
            return Taken::Part(name);
        }
        let pieces = self.by_name.remove(&name).map(|partial| partial.pieces).unwrap_or_default();
        Taken::Complete(name, pieces.into_values().flatten().collect())
    }
}

fn part(name: &str, index: usize, total: usize, data: &[u8]) -> Vec<u8> {
    let data = base64_simd::STANDARD.encode_to_string(data);
    serde_json::json!({"app_name": name, "chunk_idx": index, "total_chunks": total, "data": data}).to_string().into()
}

#[test]
fn pieces_come_together_in_any_order_and_the_first_of_an_index_wins() {
    let mut assembly = Assembly::default();
    let now = Instant::now();
    assert_eq!(assembly.take(&part("a", 1, 2, b"y"), now), Taken::Part("a".into()));
    assert_eq!(assembly.take(&part("b", 0, 2, b"z"), now), Taken::Part("b".into()));
    assert_eq!(assembly.take(&part("a", 1, 2, b"?"), now), Taken::Part("a".into()));
    assert_eq!(assembly.take(&part("a", 0, 3, b"?"), now), Taken::Part("a".into()));
    assert_eq!(assembly.take(&part("a", 0, 2, b"x"), now), Taken::Complete("a".into(), b"xy".to_vec()));
}

#[test]
fn what_is_incomplete_is_forgotten_after_five_minutes() {
    let mut assembly = Assembly::default();
    let now = Instant::now();
    assembly.take(&part("a", 0, 2, b"x"), now);
    let kept = assembly.take(&part("b", 0, 2, b""), now + LIFE);
    assert_eq!((kept, assembly.by_name.len()), (Taken::Part("b".into()), 2));
    assembly.take(&part("b", 0, 2, b""), now + LIFE + Duration::from_secs(1));
    assert!(!assembly.by_name.contains_key("a"));
}
