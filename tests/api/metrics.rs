//! `docs/metrics.md`: a table of what is said, under a heading for whoever says it. The tables are generated, as the quotations in
//! the reference are.

use std::{env, fs};

use wasmproxy::{
    controller,
    resource::api_requests::API_REQUESTS,
    telemetry::metrics::{
        build::BUILD,
        family::{Family, Kind},
    },
    worker,
};

use crate::repository;

const DOCUMENT: &str = "docs/metrics.md";

/// The headings, and what stands under each.
fn tables() -> [(&'static str, Vec<&'static Family>); 4] {
    [
        ("## Every process", vec![&BUILD]),
        ("## A controller", controller::metrics::FAMILIES.to_vec()),
        ("## A worker", worker::metrics::FAMILIES.to_vec()),
        ("## With a cluster", vec![&API_REQUESTS]),
    ]
}

fn table(families: &[&Family]) -> String {
    let mut table = "| metric | kind | labels | |\n|---|---|---|---|\n".to_owned();
    for family in families {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = if family.kind == Kind::Info { "gauge, always 1" } else { family.kind.as_str() };
        let (name, help) = (family.full_name(), family.help.trim_end_matches('.'));
        table += &format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "));
    }
    table
}

/// The document with each table as it has to be, at the end of what its heading is over.
fn generated(document: &str) -> String {
    let mut new = String::new();
    for section in document.split_inclusive("\n\n") {
        if !section.starts_with('|') {
            new += section;
        }
    }
    for (heading, families) in tables() {
        let begin = new.find(&format!("{heading}\n")).unwrap_or_else(|| panic!("{DOCUMENT} has no {heading:?}"));
        let end = new[begin..].find("\n## ").map_or(new.len(), |end| begin + end + 1);
        let text = new[begin..end].trim_end().to_owned();
        let rest = if end == new.len() { "" } else { "\n" };
        new.replace_range(begin..end, &format!("{text}\n\n{}{rest}", table(&families)));
    }
    new
}

#[test]
fn every_metric_is_described_as_it_describes_itself() {
    let document = fs::read_to_string(repository(DOCUMENT)).unwrap();
    let generated = generated(&document);
    if env::var_os("WASMPROXY_GENERATE").is_some() {
        fs::write(repository(DOCUMENT), generated).unwrap();
        return;
    }
    assert_eq!(document, generated, "{DOCUMENT} is not what the code says: run `make generate`");
}
