//! `docs/reference.md`: a heading for each field, and under it, quoted, what the schema says of it.
//!
//! The quoted part is generated: with `WASMPROXY_GENERATE=1` in the environment the first test writes it anew, as
//! `make generate` does. All else in the document is written by hand, and checked here.

use std::{collections::BTreeSet, env, fs};

use serde_json::Value;
use wasmproxy::api::{
    WasmProxyStatus,
    conditions::{ConditionType, Reason},
};

use crate::{
    repository,
    schema::{fields, root, sentences},
};

const DOCUMENT: &str = "docs/reference.md";

/// Where the quoted lines are broken, in bytes.
const WIDTH: usize = 120;

fn document() -> String {
    fs::read_to_string(repository(DOCUMENT)).unwrap()
}

/// The lines outside of fenced blocks, each with its number.
fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    document.lines().enumerate().filter(move |(_, line)| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// What is in backticks in a heading of nothing else.
fn heading(line: &str) -> Option<&str> {
    line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(" `")?.strip_suffix('`')
}

fn headings(document: &str) -> Vec<&str> {
    prose(document).filter_map(|(_, line)| heading(line)).collect()
}

/// What the schema says of each field, by what its heading says.
fn quotations() -> Vec<(String, String)> {
    let whole = root();
    let whole = ("WasmProxy".to_owned(), quotation("object in a namespace", &whole));
    fields()
        .into_iter()
        .map(|field| (field.path.clone(), quotation(&field.facts(), &field.schema)))
        .chain([whole])
        .collect()
}

fn quotation(facts: &str, schema: &Value) -> String {
    let mut lines = wrapped(facts, "");
    if let Some(description) = schema["description"].as_str() {
        lines.push(String::new());
        lines.extend(wrapped(&escaped(description), ""));
    }
    let sentences = sentences(schema);
    if !sentences.is_empty() {
        lines.push(String::new());
        lines.extend(sentences.into_iter().flat_map(|sentence| wrapped(&format!("- {}", escaped(sentence)), "  ")));
    }
    lines.into_iter().map(|line| format!("> {line}").trim_end().to_owned() + "\n").collect()
}

/// Descriptions and sentences know no Markdown.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| "*_<`[".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

fn wrapped(text: &str, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        if line.len() + word.len() >= WIDTH - "> ".len() {
            lines.push(format!("{indent}{word}"));
        } else {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

/// The document with each quotation as it has to be.
fn generated(document: &str) -> String {
    let quotations = quotations();
    let mut lines = document.lines().peekable();
    let mut new = String::new();
    while let Some(line) = lines.next() {
        new.extend([line, "\n"]);
        let Some((_, quotation)) = quotations.iter().find(|(path, _)| heading(line) == Some(path)) else { continue };
        new.extend(["\n", quotation]);
        // What was quoted there before.
        while lines.next_if(|line| line.is_empty() || line.starts_with('>')).is_some() {}
        new.push('\n');
    }
    new
}

#[test]
fn what_is_quoted_under_each_field_is_what_the_schema_says() {
    let (document, generated) = (document(), generated(&document()));
    if env::var_os("WASMPROXY_GENERATE").is_some() {
        fs::write(repository(DOCUMENT), generated).unwrap();
        return;
    }
    let differs = document.lines().zip(generated.lines()).find(|(is, should)| is != should);
    assert_eq!(differs, None, "{DOCUMENT} is not what the schema says: run `make generate`");
    assert_eq!(document.len(), generated.len(), "{DOCUMENT} is not what the schema says: run `make generate`");
}

/// Fails where one of `known` is not among `found` exactly once, or something else is.
fn each_once(found: &[&str], known: impl Iterator<Item = String>) {
    let known: BTreeSet<_> = known.collect();
    let distinct: BTreeSet<_> = found.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(distinct.difference(&known).collect::<Vec<_>>(), [""; 0], "there is no such thing");
    assert_eq!(known.difference(&distinct).collect::<Vec<_>>(), [""; 0], "is not there");
    assert_eq!(found.len(), distinct.len(), "one of them is there twice");
}

#[test]
fn every_field_and_every_condition_has_one_heading_and_nothing_else_has() {
    let conditions = ConditionType::ALL.iter().map(ToString::to_string);
    each_once(&headings(&document()), quotations().into_iter().map(|(path, _)| path).chain(conditions));
}

#[test]
fn every_reason_is_explained_once() {
    let document = document();
    let rows = document.lines().skip_while(|line| !line.starts_with("| reason ")).skip(2);
    let explained = rows.take_while(|line| line.starts_with('|')).map(|row| row.split('`').nth(1).unwrap());
    each_once(&explained.collect::<Vec<_>>(), Reason::ALL.iter().map(ToString::to_string));
}

#[test]
fn every_status_that_is_shown_is_one_to_the_letter() {
    let document = document();
    let examples: Vec<_> =
        document.split("```yaml status\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() > 5, "{} examples", examples.len());
    for example in examples {
        let shown: Value = serde_saphyr::from_str(example).unwrap();
        let status: WasmProxyStatus = serde_json::from_value(shown["status"].clone()).unwrap();
        assert_eq!(serde_json::to_value(&status).unwrap(), shown["status"], "{example}");
        for condition in status.conditions {
            assert!(ConditionType::ALL.iter().any(|about| about.as_str() == condition.type_), "{}", condition.type_);
            assert!(Reason::ALL.iter().any(|reason| reason.as_str() == condition.reason), "{}", condition.reason);
        }
    }
}

/// As GitHub makes them of headings.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn anchors(document: &str) -> BTreeSet<String> {
    prose(document).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| anchor(line)).collect()
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for name in ["reference.md", "operations.md", "metrics.md"] {
        let text = fs::read_to_string(repository("docs").join(name)).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = repository("docs").join(if file.is_empty() { name } else { file });
            assert!(target.exists(), "{name}: {link}");
            let there = fragment.is_empty() || anchors(&fs::read_to_string(target).unwrap()).contains(fragment);
            assert!(there, "{name}: {link}");
        }
    }
}
