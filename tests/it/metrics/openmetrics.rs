//! A reader of `OpenMetrics` that takes nothing but what its specification allows, and of that only what we say.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use reqwest::header::CONTENT_TYPE;
use tokio::time::sleep;

use crate::waiting::soon;

/// What a process says at one moment.
#[derive(Debug, PartialEq)]
pub struct Scrape {
    /// What each metric is for, and how it is to be read.
    pub families: BTreeMap<String, Family>,
    samples: BTreeMap<Series, f64>,
}

/// What the lines before samples say.
#[derive(Debug, PartialEq)]
pub struct Family {
    pub kind: String,
    help: String,
    unit: Option<String>,
}

/// A name and its labels.
type Series = (String, BTreeMap<String, String>);

impl Scrape {
    /// Asks a process as Prometheus does.
    pub async fn of(port: u16) -> Self {
        let answer = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap();
        assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        Self::parse(&answer.text().await.unwrap())
    }

    /// Asks again and again until it is as it should be.
    pub async fn until(port: u16, is: impl Fn(&Self) -> bool) -> Self {
        let wait = async {
            loop {
                let scrape = Self::of(port).await;
                if is(&scrape) {
                    return scrape;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        soon("a metric", wait).await
    }

    /// The sample with exactly these labels, if there is one.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples.get(&(name.to_owned(), labels)).copied()
    }

    /// All samples of that name, without their labels.
    pub fn all(&self, name: &str) -> Vec<f64> {
        self.samples.iter().filter(|((known, _), _)| known == name).map(|(_, value)| *value).collect()
    }

    /// Reads the text format.
    ///
    /// # Panics
    /// Where the text is odd: it says at which line.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the end is not said");
        let mut this = Self { families: BTreeMap::new(), samples: BTreeMap::new() };
        let mut current = None;
        for line in body.lines() {
            let said = match line.strip_prefix("# ") {
                Some(comment) => this.describe(comment, &mut current),
                None => current.as_deref().and_then(|family| this.take(line, family)),
            };
            assert!(said.is_some(), "odd: {line}");
        }
        this.families.keys().for_each(|family| this.check_histogram(family));
        this
    }

    /// `HELP`, `TYPE` and `UNIT`, in that order, before all samples of a family.
    fn describe(&mut self, comment: &str, current: &mut Option<String>) -> Option<()> {
        let (what, rest) = comment.split_once(' ')?;
        let (name, value) = rest.split_once(' ')?;
        if what == "HELP" {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let is_sentence = value.ends_with('.') && !value.contains('\\');
            let family = Family { kind: String::new(), help: value.to_owned(), unit: None };
            let is_new = self.families.insert(name.to_owned(), family).is_none();
            *current = Some(name.to_owned());
            return (is_plain && is_sentence && is_new && name.starts_with("wasmproxy_")).then_some(());
        }
        let family = self.families.get_mut(current.as_ref().filter(|current| *current == name)?)?;
        match what {
            "TYPE" if family.kind.is_empty() => value.clone_into(&mut family.kind),
            "UNIT" if family.unit.is_none() && name.ends_with(&format!("_{value}")) => {
                family.unit = Some(value.to_owned());
            }
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, line: &str, family: &str) -> Option<()> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, pairs(labels.strip_suffix('}')?)?),
            None => (series, BTreeMap::new()),
        };
        let endings: &[&str] = match self.families[family].kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            "info" => &["_info"],
            _ => return None,
        };
        let value: f64 = value.parse().ok()?;
        let is_named_so = endings.contains(&name.strip_prefix(family)?);
        let is_new = self.samples.insert((name.to_owned(), labels), value).is_none();
        (is_named_so && is_new && value >= 0.0).then_some(())
    }

    /// A bucket holds what is in the smaller ones, and the largest one everything.
    fn check_histogram(&self, family: &str) {
        if self.families[family].kind != "histogram" {
            return;
        }
        let name = format!("{family}_bucket");
        let bound = |labels: &BTreeMap<String, String>| labels["le"].parse::<f64>().unwrap();
        let mut buckets: Vec<_> =
            self.samples.iter().filter(|((known, _), _)| *known == name).map(|((_, l), n)| (bound(l), *n)).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{family}: {buckets:?}");
        let all = self.get(&format!("{family}_count"), &[]).unwrap();
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, all)), "{family}");
    }
}

/// `name="value"`, with commas between, each name once.
fn pairs(text: &str) -> Option<BTreeMap<String, String>> {
    let mut names = BTreeSet::new();
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        // None of ours needs to be escaped.
        let is_plain = !value.contains(['"', '\\']) && name.bytes().all(|byte| byte.is_ascii_lowercase());
        (is_plain && names.insert(name.to_owned())).then(|| (name.to_owned(), value.to_owned()))
    };
    text.split(',').map(pair).collect()
}
