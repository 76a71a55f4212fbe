//! The protocol as device developers read it, held against the code and against a real broker.

mod access;
mod document;

use std::fs;

use crate::lab::repository;

/// The text of docs/protocol.md.
fn document() -> String {
    fs::read_to_string(repository().join("docs/protocol.md")).unwrap()
}

/// The blocks that are fenced with this after the backticks.
///
/// # Panics
/// Where there are none: then nothing would be tested.
fn blocks(info: &str) -> Vec<String> {
    let (document, fence) = (document(), format!("```{info}\n"));
    let blocks = document.split(&fence).skip(1);
    let blocks: Vec<_> = blocks.map(|rest| rest.split("```").next().unwrap().to_owned()).collect();
    assert!(!blocks.is_empty(), "docs/protocol.md has no block of {info:?}");
    blocks
}

/// The only such block.
fn block(info: &str) -> String {
    let mut blocks = blocks(info);
    assert_eq!(blocks.len(), 1, "{info}");
    blocks.remove(0)
}

/// The cells of the rows of the table with this header.
fn table(header: &str) -> Vec<Vec<String>> {
    let document = document();
    let rows = document.lines().skip_while(|line| *line != header).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<_> = rows.map(cells).collect();
    assert!(!rows.is_empty(), "docs/protocol.md has no table {header:?}");
    rows
}
