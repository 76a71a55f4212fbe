//! `docs/metrics.md`: a table of what is said, under a heading for whoever says it. The tables are generated, as the quotations in
//! the reference are.

use std::{collections::BTreeSet, env, fs};

use serde_json::Value;

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

/// What is known, as one asks for it.
fn known() -> BTreeSet<String> {
    let families = tables().into_iter().flat_map(|(_, families)| families);
    let names = families.flat_map(|family| {
        let name = family.full_name();
        let endings: &[&str] = if family.kind == Kind::Histogram { &["_bucket", "_count", "_sum"] } else { &[""] };
        endings.iter().map(move |ending| format!("{name}{ending}"))
    });
    names.collect()
}

/// Every name of ours in a text.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("wasmproxy_")).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_ask_for_what_there_is_and_the_dashboard_leaves_nothing_out() {
    let read = |file: &str| named(&fs::read_to_string(repository("charts/wasmproxy").join(file)).unwrap());
    let (rules, dashboard) = (read("alerts/wasmproxy.yaml"), read("dashboards/wasmproxy.json"));
    assert_eq!(rules.difference(&known()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(dashboard.difference(&known()).collect::<Vec<_>>(), [""; 0]);
    let unseen: Vec<_> = known().difference(&dashboard).cloned().collect();
    assert_eq!(unseen, ["wasmproxy_reconcile_duration_seconds_count", "wasmproxy_reconcile_duration_seconds_sum"]);
}

#[test]
fn every_alert_has_a_section_that_says_what_to_do() {
    let rules = fs::read_to_string(repository("charts/wasmproxy/alerts/wasmproxy.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    let document = fs::read_to_string(repository("docs/operations.md")).unwrap();
    let mut alerts = Vec::new();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let runbook =
            format!("https://github.com/wasmproxy/wasmproxy/blob/main/docs/operations.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], runbook);
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string(), "{name}");
        alerts.push(name.to_owned());
    }
    let headings = document.lines().filter_map(|line| line.strip_prefix("### WasmProxy"));
    assert_eq!(headings.map(|rest| format!("WasmProxy{rest}")).collect::<Vec<_>>(), alerts);
}
