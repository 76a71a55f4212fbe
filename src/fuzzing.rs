//! What comes from outside, given any bytes at all: one function for each thing that is parsed, which says what must
//! hold of it whatever the bytes are.
//!
//! A fuzzer finds the bytes (`make fuzz`, and `fuzz/`, which is laid out for `cargo fuzz`). The tests run the same
//! functions over its corpus, and over a few random inputs, so that they do not rot in between. No part of the program:
//! compiled for tests, and where a fuzzer builds (`--cfg fuzzing`).

#![allow(clippy::unwrap_used, reason = "to panic is how it says that something does not hold")]

pub use crate::{
    device::fuzzing::gathering,
    protocol::fuzzing::{chunk_encode, chunk_json, chunk_raw, notice, ranges, receipt, request, topic},
    registry::fuzzing::{challenge, headers, image_config, layer, manifest},
};
use crate::{mqtt::BrokerUrl, registry, worker::AllowList};

/// A function that takes any bytes, and panics where something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name, which is that of its folder in `fuzz/corpus` and of its file in `fuzz/fuzz_targets`.
pub const TARGETS: [(&str, Target); 16] = [
    ("broker_url", broker_url),
    ("challenge", challenge),
    ("chunk_encode", chunk_encode),
    ("chunk_json", chunk_json),
    ("chunk_raw", chunk_raw),
    ("gathering", gathering),
    ("headers", headers),
    ("image_config", image_config),
    ("layer", layer),
    ("manifest", manifest),
    ("notice", notice),
    ("ranges", ranges),
    ("receipt", receipt),
    ("reference", reference),
    ("request", request),
    ("topic", topic),
];

/// The address of a broker: what is shown of it reads back, and never holds credentials.
pub fn broker_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = text.parse::<BrokerUrl>() {
        let shown = url.to_string();
        assert_eq!(shown.parse().as_ref(), Ok(&url));
        assert!(shown.chars().all(|c| c.is_ascii_graphic() && c != '@'), "{shown:?}");
        assert!(!url.host().is_empty() && url.port() != 0 && shown.ends_with(&url.address()));
    }
}

/// A default host and a reference, one a line. Besides all that holds of it: only what is under a host is allowed by the
/// pattern for anything there.
pub fn reference(data: &[u8]) {
    if let Some(reference) = registry::fuzzing::reference(data) {
        let (own, other) = (reference.host(), "registry.example");
        assert!(AllowList::anything_under(own).unwrap().allows(&reference));
        assert_eq!(AllowList::anything_under(other).unwrap().allows(&reference), own == other);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        path::{Path, PathBuf},
    };

    use proptest::prelude::*;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
    }

    fn entries(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_the_fuzzer_found_holds() {
        for (name, target) in TARGETS {
            let corpus = entries(&folder("corpus").join(name));
            assert!(!corpus.is_empty(), "{name} has no corpus");
            for file in corpus {
                eprintln!("{}", file.display()); // shown where it panics
                target(&fs::read(file).unwrap());
            }
        }
    }

    #[test]
    fn every_target_is_there_for_the_fuzzer() {
        let named: BTreeSet<_> = TARGETS.into_iter().map(|(name, _)| name.to_owned()).collect();
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let files: BTreeSet<_> = entries(&folder("fuzz_targets")).into_iter().map(stem).collect();
        assert_eq!(files, named);
        let manifest: toml::Table = fs::read_to_string(folder("Cargo.toml")).unwrap().parse().unwrap();
        let built = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
        assert_eq!(built.collect::<BTreeSet<_>>(), named);
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_target(data in prop::collection::vec(any::<u8>(), 0..300)) {
            for (_, target) in TARGETS {
                target(&data);
            }
        }

        #[test]
        fn no_text_breaks_a_target(text in "(?s).{0,200}") {
            for (_, target) in TARGETS {
                target(text.as_bytes());
            }
        }
    }
}
