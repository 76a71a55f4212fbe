//! Devices that say that they hold a module.

mod journal;

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use journal::Journal;

use crate::{digest::Digest, protocol::DeviceName, registry::Reference};

/// The most distinct devices that are counted for an artifact.
const MAX_DEVICES: usize = 1000;

/// Who holds what, by their own word: counted once a device and module, also over restarts where there is a place to note it.
///
/// Only of artifacts that the worker knows, so that nobody can fill it with others.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    holders: HashMap<Reference, Holders>,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct Holders {
    digest: Digest,
    devices: HashSet<DeviceName>,
}

/// What a receipt has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    /// It is the first of that device for that module.
    pub(super) is_first: bool,
    /// Devices that have said the same.
    pub(super) devices: u32,
}

impl Receipts {
    /// Those that an earlier worker has noted beside its `notes`, and a place to note more.
    pub(super) fn kept_in(notes: &Path) -> Self {
        let mut receipts = Self::default();
        let mut journal = Journal::open(&notes.with_extension("receipts"), |reference, digest, device| {
            receipts.insert(&reference, digest, device);
        });
        // Where that fails, so does the next note, and says why.
        let _ = journal.replace(&receipts.holders);
        Self { journal: Some(journal), ..receipts }
    }

    /// Counts what `device` says of the module that `reference` means.
    ///
    /// Beyond the bound nothing is counted: receipts are claims, and must cost no more memory than that.
    pub(super) fn count(&mut self, reference: &Reference, digest: Digest, device: &DeviceName) -> Count {
        let is_first = self.insert(reference, digest, device.clone());
        if is_first && let Some(journal) = &mut self.journal {
            journal.append(reference, digest, device, &self.holders);
        }
        let devices = self.holders.get(reference).map_or(0, |holders| holders.devices.len());
        Count { is_first, devices: u32::try_from(devices).unwrap_or(u32::MAX) }
    }

    /// Forgets all artifacts but these.
    pub(super) fn retain(&mut self, known: impl Fn(&Reference) -> bool) {
        self.holders.retain(|reference, _| known(reference));
    }

    fn insert(&mut self, reference: &Reference, digest: Digest, device: DeviceName) -> bool {
        let new = || Holders { digest, devices: HashSet::new() };
        let holders = self.holders.entry(reference.clone()).or_insert_with(new);
        if holders.digest != digest {
            *holders = new();
        }
        holders.devices.len() < MAX_DEVICES && holders.devices.insert(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(receipts: &mut Receipts, name: &str, module: &[u8], device: &str) -> bool {
        let reference = Reference::parse(name, "registry.example").unwrap();
        receipts.count(&reference, Digest::of(module), &device.parse().unwrap()).is_first
    }

    #[test]
    fn a_device_counts_once_for_a_module() {
        let mut receipts = Receipts::default();
        assert!(counts(&mut receipts, "add:1", b"a", "press-4"));
        assert!(!counts(&mut receipts, "add:1", b"a", "press-4"));
        assert!(counts(&mut receipts, "add:1", b"a", "press-5"));
        assert!(counts(&mut receipts, "add:2", b"a", "press-4"), "another artifact, though the same bytes");
    }

    #[test]
    fn a_tag_that_moves_there_and_back_counts_anew() {
        let mut receipts = Receipts::default();
        for module in [b"a", b"b", b"a"] {
            assert!(counts(&mut receipts, "add:1", module, "press-4"));
        }
    }

    #[test]
    fn devices_are_counted_up_to_a_bound() {
        let mut receipts = Receipts::default();
        let counted = (0..2000).filter(|i| counts(&mut receipts, "add:1", b"a", &format!("d{i}"))).count();
        assert_eq!(counted, MAX_DEVICES);
    }

    #[test]
    fn what_is_not_known_any_more_is_forgotten() {
        let mut receipts = Receipts::default();
        counts(&mut receipts, "add:1", b"a", "press-4");
        receipts.retain(|_| false);
        assert!(receipts.holders.is_empty());
    }

    #[test]
    fn a_worker_that_starts_again_knows_who_has_said_so() {
        let folder = tempfile::tempdir().unwrap();
        let notes = folder.path().join("channel.json");
        let mut receipts = Receipts::kept_in(&notes);
        for (name, device) in [("add:1", "press-4"), ("add:2", "press-4"), ("add:1", "press-5")] {
            assert!(counts(&mut receipts, name, b"a", device));
        }
        // Killed and started again, twice: what was read is kept, too.
        for new in ["press-6", "press-7"] {
            let mut receipts = Receipts::kept_in(&notes);
            assert!(!counts(&mut receipts, "add:1", b"a", "press-4"));
            assert!(!counts(&mut receipts, "add:1", b"a", "press-5"));
            assert!(!counts(&mut receipts, "add:2", b"a", "press-4"));
            assert!(counts(&mut receipts, "add:1", b"a", new));
        }
        let mut receipts = Receipts::kept_in(&notes);
        let reference = Reference::parse("add:1", "registry.example").unwrap();
        let count = receipts.count(&reference, Digest::of(b"a"), &"press-4".parse().unwrap());
        assert_eq!(count, Count { is_first: false, devices: 4 });
        assert!(counts(&mut receipts, "add:1", b"b", "press-4"), "another module");
        assert!(!counts(&mut Receipts::kept_in(&notes), "add:1", b"b", "press-4"));
        assert!(counts(&mut Receipts::kept_in(&notes), "add:1", b"a", "press-5"), "and what was before does not count");
    }
}
