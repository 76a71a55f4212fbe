//! Which of an archive's entries is the module: by names alone, and without a guess.

use super::{UnpackError, UnusableLayer, archive::Entry};
use crate::registry::artifact::Seen;

/// What the "compat" specification calls the module.
const PLUGIN: &[u8] = b"plugin.wasm";

/// How many candidates are remembered: enough to name some where there are several.
const MOST: usize = 9;

/// An entry that is, or may be, the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::registry) struct Found {
    pub(super) number: u32,
    /// Normalised.
    pub(super) name: Vec<u8>,
    /// In bytes.
    pub(in crate::registry) size: u64,
}

/// The candidates of the entries seen so far.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    entrypoint: Option<&'a [u8]>,
    by_plugin: Option<Found>,
    by_entrypoint: Option<Found>,
    by_suffix: Vec<Found>,
    /// There were more than are remembered.
    has_more: bool,
}

impl<'a> Choice<'a> {
    pub(super) fn new(entrypoint: Option<&'a [u8]>) -> Self {
        Self { entrypoint, ..Self::default() }
    }

    /// Takes an entry into account. One of the same name as another takes its place, whatever it is.
    pub(super) fn see(&mut self, entry: &Entry) {
        let name = normalised(&entry.path);
        let candidate = entry.is_regular.then(|| Found { number: entry.number, name: name.clone(), size: entry.size });
        if name == PLUGIN {
            self.by_plugin.clone_from(&candidate);
        }
        if self.entrypoint == Some(&name) {
            self.by_entrypoint.clone_from(&candidate);
        }
        self.by_suffix.retain(|other| other.name != name);
        if is_module(&name) {
            match self.by_suffix.len() {
                MOST => self.has_more |= candidate.is_some(),
                _ => self.by_suffix.extend(candidate),
            }
        }
    }

    /// The module: `plugin.wasm`, the entrypoint, or the only `*.wasm`.
    pub(super) fn chosen(self) -> Result<Found, UnpackError> {
        if let Some(candidate) = self.by_plugin.or(self.by_entrypoint) {
            return Ok(candidate);
        }
        let mut candidates = self.by_suffix.into_iter();
        match (candidates.next(), candidates.as_slice()) {
            (Some(only), []) if !self.has_more => Ok(only),
            (Some(first), others) => {
                let names = others.iter().map(|other| other.name.as_slice());
                Err(UnusableLayer::SeveralModules(seen(std::iter::once(&*first.name).chain(names))).into())
            }
            (None, _) if self.has_more => Err(UnusableLayer::SeveralModules(seen([])).into()),
            (None, _) => Err(UnusableLayer::NoModule.into()),
        }
    }
}

/// Names, fit for a message.
pub(super) fn seen<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    Seen::new(names.into_iter().map(|name| String::from_utf8_lossy(name).into_owned()))
}

/// A path as it is from the root: without `.`, and with one `/` between names. `..` is a name like others.
pub(super) fn normalised(path: &[u8]) -> Vec<u8> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    names.collect::<Vec<_>>().join(&b'/')
}

/// Ends as modules do, and is no whiteout, which says that a file of a lower layer is gone (OCI image specification,
/// "Whiteouts").
fn is_module(name: &[u8]) -> bool {
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    base.ends_with(b".wasm") && !base.starts_with(b".wh.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the chosen one; files are written as they are named, anything else with a `!` in front.
    fn chosen(paths: &[&str], entrypoint: Option<&str>) -> Result<u32, String> {
        let mut choice = Choice::new(entrypoint.map(str::as_bytes));
        for (number, path) in (1..).zip(paths) {
            let (is_regular, path) = path.strip_prefix('!').map_or((true, *path), |path| (false, path));
            choice.see(&Entry { number, path: path.into(), size: 100, is_regular });
        }
        choice.chosen().map(|candidate| candidate.number).map_err(|error| error.to_string())
    }

    #[test]
    fn plugin_wasm_comes_before_the_entrypoint_and_that_before_the_only_module() {
        assert_eq!(chosen(&["a.wasm", "bin/run", "plugin.wasm"], Some("bin/run")), Ok(3));
        assert_eq!(chosen(&["a.wasm", "b.wasm", "bin/run"], Some("bin/run")), Ok(3));
        assert_eq!(chosen(&["README", "lib/a.wasm", "bin/run"], Some("bin/other")), Ok(2));
    }

    #[test]
    fn plugin_wasm_is_at_the_root_however_that_is_written() {
        for path in ["plugin.wasm", "./plugin.wasm", "/plugin.wasm", ".//./plugin.wasm"] {
            assert_eq!(chosen(&["a.wasm", path], None), Ok(2), "{path}");
        }
        for path in ["lib/plugin.wasm", "../plugin.wasm", "Plugin.wasm"] {
            assert!(chosen(&["a.wasm", path], None).is_err(), "{path}");
        }
    }

    #[test]
    fn of_several_modules_none_is_guessed() {
        let error = chosen(&["a.wasm", "/lib/b.wasm", "evil\u{1b}[2J.wasm"], None).unwrap_err();
        assert!(error.contains("a.wasm, lib/b.wasm, evil[2J.wasm"), "{error}");
        let many: Vec<_> = (0..1000).map(|i| format!("{i}/{}.wasm", "x".repeat(1000))).collect();
        let error = chosen(&many.iter().map(String::as_str).collect::<Vec<_>>(), None).unwrap_err();
        assert!(error.contains("0/xxx") && error.len() < 1000, "{error}");
    }

    #[test]
    fn of_more_modules_than_are_remembered_none_is_guessed_whatever_takes_their_places() {
        let names: Vec<_> = (0..=MOST).map(|i| format!("{i}.wasm")).collect();
        for kept in [0, 1] {
            let replaced: Vec<_> = names[kept..MOST].iter().map(|name| format!("!{name}")).collect();
            let paths: Vec<_> = names.iter().chain(&replaced).map(String::as_str).collect();
            let error = chosen(&paths, None).unwrap_err();
            assert!(error.contains("several modules"), "{error}");
        }
    }

    #[test]
    fn links_and_whiteouts_are_no_modules() {
        assert_eq!(chosen(&["a.wasm", "!plugin.wasm", ".wh.b.wasm", "lib/.wh.c.wasm"], Some("plugin.wasm")), Ok(1));
        assert!(chosen(&["!plugin.wasm", "a.txt", ".wasm/b"], None).is_err());
    }

    #[test]
    fn the_last_entry_of_a_name_is_the_one() {
        assert_eq!(chosen(&["plugin.wasm", "./plugin.wasm"], None), Ok(2));
        assert_eq!(chosen(&["a.wasm", "/a.wasm"], None), Ok(2));
        assert_eq!(chosen(&["plugin.wasm", "a.wasm", "!plugin.wasm"], None), Ok(2));
        assert!(chosen(&["a.wasm", "!a.wasm"], None).is_err());
    }
}
