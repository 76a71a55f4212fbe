//! What was measured, for people: the table in docs/benchmarks.md, which nobody types.

use std::fs;

use crate::{
    lab::repository,
    samples::{Results, Samples},
};

/// Between these the document is written anew.
const BEGIN: &str = "<!-- What follows was written by `make bench`. -->\n";
const END: &str = "<!-- What `make bench` has written ends here. -->\n";

const DOCUMENT: &str = "docs/benchmarks.md";

/// Puts the table into the document, below a sentence about where and how it was measured.
pub fn write(results: &Results, circumstances: &str) {
    let path = repository().join(DOCUMENT);
    let document = fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let table = table(results);
    fs::write(&path, format!("{before}{BEGIN}\n{circumstances}\n\n{table}\n{END}{after}")).unwrap();
}

/// The table in Markdown. What was not measured has no row.
pub fn table(results: &Results) -> String {
    let rows = [speed(results), many(results), latency(results), cost(results), memory(results)].into_iter().flatten();
    let rows = rows.flatten().map(|Row { what, figure, aim }| format!("| {what} | {figure} | {aim} |\n"));
    format!("| | measured | aim |\n|---|---|---|\n{}", rows.collect::<String>())
}

struct Row {
    what: String,
    figure: String,
    aim: &'static str,
}

type Rows = Vec<Option<Row>>;

fn speed(results: &Results) -> Rows {
    let share = |what: &str, of, whole, aim| {
        let (share, rate) = (results.share(of, whole)?, results.get(of)?);
        let digits = if rate.median() < 10.0 { 2 } else { 0 };
        row(what, format!("{}, at {}", spread(&share, 1.0, 2, ""), spread(rate, 1.0, digits, "MB/s")), aim)
    };
    let large = results.get("large").map_or(0.0, Samples::median);
    vec![
        plain(results, "what the device takes from somebody who waits for nothing", "device's ceiling", 0, "MB/s", ""),
        plain(results, "64 MiB raw, MQTT 5: what broker and device take", "raw 64 MiB", 0, "MB/s", ""),
        plain(results, "the same, MQTT 3.1.1", "raw 64 MiB, MQTT 3.1.1", 0, "MB/s", ""),
        plain(results, "64 MiB from the registry to somebody who throws it away", "registry's own rate", 0, "MB/s", ""),
        share("64 MiB from the registry, the first time, of the raw rate", "registry 64 MiB", "raw 64 MiB", "≥ 0.5"),
        share("64 MiB from the cache, of the raw rate", "cache 64 MiB", "raw 64 MiB", "≥ 0.8"),
        share(&format!("{large} MiB from the cache, pace off, of the raw rate"), "cache large", "raw large", "≥ 0.95"),
        share(
            "over a link of 50 ms and 20 Mbit/s, of a raw publisher there",
            "cache over a link",
            "raw over a link",
            "≥ 0.95",
        ),
    ]
}

fn many(results: &Results) -> Rows {
    let mut rows = Vec::new();
    for modules in [64, 300] {
        let raw = format!("raw {modules} × 1 MiB");
        for (from, aim) in [("registry", "all"), ("cache", "all, ≥ 0.8")] {
            let name = format!("{from} {modules} × 1 MiB");
            rows.push((|| {
                let delivered = results.get(&format!("{name}, delivered"))?;
                let figure = format!(
                    "{}, at {} of the raw rate",
                    delivered.least(),
                    spread(&results.share(&name, &raw)?, 1.0, 2, "")
                );
                row(&format!("{modules} modules of 1 MiB at once from the {from}, delivered"), figure, aim)
            })());
        }
    }
    let whole = |name| results.get(name).map(Samples::most);
    rows.push((|| {
        let downloads = whole("1,000 devices: downloads")?;
        let chunks = whole("1,000 devices: chunks, of one pass")?;
        let figure = format!("{downloads} downloads, {chunks:.2} passes published");
        row("1,000 devices ask for one module, half of them while it is under way", figure, "1, at most 2")
    })());
    rows
}

fn latency(results: &Results) -> Rows {
    let beside = |what: &str, name, own, aim| {
        let own = spread(results.get(own)?, 1.0, 1, "ms");
        row(what, format!("{}; the registry alone: {own}", spread(results.get(name)?, 1.0, 1, "ms")), aim)
    };
    let tail = |what: &str, name, aim| {
        let samples = results.get(name)?;
        let (median, late) = (samples.median(), samples.percentile(99));
        row(what, format!("{median:.1} / {late:.1} ms, of {}", samples.count()), aim)
    };
    vec![
        beside(
            "request to first chunk, 64 MiB, registry; manifest and first 512,000 bytes",
            "registry first chunk",
            "registry's own manifest and first chunk",
            "the registry + 3 ms",
        ),
        beside(
            "request to first chunk, 64 MiB, cache; HEAD",
            "cache first chunk",
            "registry's own HEAD",
            "the registry + 2 ms",
        ),
        plain(results, "go to first chunk, 64 MiB, raw", "raw first chunk", 1, "ms", ""),
        tail(
            "100 KB from the cache by tag, request to last chunk, median / 99th percentile",
            "100 KB by tag",
            "≤ 1.5 / ≤ 5 ms",
        ),
        tail("the same by digest, which the registry is not asked about", "100 KB by digest", ""),
        tail("the registry's HEAD alone, in the same rhythm", "100 KB, registry's own HEAD", ""),
    ]
}

fn cost(results: &Results) -> Rows {
    vec![
        plain(results, "CPU for 1 GB, registry", "registry CPU", 2, "s", "≤ 2.0 s"),
        plain(results, "CPU for 1 GB, cache", "cache CPU", 2, "s", "≤ 1.3 s"),
        plain(results, "the same, of a large module", "cache large CPU", 2, "s", "≤ 1.3 s"),
        plain(results, "start to subscribed", "start to subscribed", 1, "ms", "≤ 50 ms"),
    ]
}

fn memory(results: &Results) -> Rows {
    let mut rows = vec![
        mebibytes(results, "idle memory", "idle memory", "≤ 8 MiB"),
        mebibytes(results, "of that neither program nor file", "idle memory, anonymous", ""),
    ];
    for size in [64, 1024] {
        for (what, name) in [
            (format!("peak memory, one module of {size} MiB, registry"), format!("peak memory, {size} MiB, registry")),
            (format!("peak memory, one module of {size} MiB, then cache"), format!("peak memory, {size} MiB, cache")),
            (format!("peak memory, 64 modules of {size} MiB at once"), format!("peak memory, 64 passes of {size} MiB")),
        ] {
            rows.push(mebibytes(results, &what, &name, "≤ 24 MiB"));
        }
    }
    rows
}

fn row(what: &str, figure: String, aim: &'static str) -> Option<Row> {
    Some(Row { what: what.to_owned(), figure, aim })
}

fn plain(results: &Results, what: &str, name: &str, digits: usize, unit: &str, aim: &'static str) -> Option<Row> {
    row(what, spread(results.get(name)?, 1.0, digits, unit), aim)
}

fn mebibytes(results: &Results, what: &str, name: &str, aim: &'static str) -> Option<Row> {
    row(what, spread(results.get(name)?, 1.0 / f64::from(1 << 20), 1, "MiB"), aim)
}

/// The median, and in brackets the least and the most, where there are several.
fn spread(samples: &Samples, scale: f64, digits: usize, unit: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
    let show = |value: f64| format!("{:.digits$}", value * scale);
    let median = show(samples.median());
    if samples.count() == 1 {
        return median + &unit;
    }
    format!("{median}{unit} ({}–{})", show(samples.least()), show(samples.most()))
}
