//! Devices that say that they hold a module.

use std::collections::{HashMap, HashSet};

use crate::{digest::Digest, protocol::DeviceName, registry::Reference};

/// The most distinct devices that are counted for an artifact.
const MAX_DEVICES: usize = 1000;

/// Who holds what, by their own word: counted once a device and module.
///
/// Only of artifacts that the worker knows, so that nobody can fill it with others.
#[derive(Debug, Default)]
pub(super) struct Receipts(HashMap<Reference, Holders>);

#[derive(Debug)]
struct Holders {
    digest: Digest,
    devices: HashSet<DeviceName>,
}

impl Receipts {
    /// Whether this is the first time that `device` says so of the module that `reference` means.
    ///
    /// Beyond the bound nothing is counted: receipts are claims, and must cost no more memory than that.
    pub(super) fn count(&mut self, reference: Reference, digest: Digest, device: DeviceName) -> bool {
        let holders = self.0.entry(reference).or_insert_with(|| Holders { digest, devices: HashSet::new() });
        if holders.digest != digest {
            *holders = Holders { digest, devices: HashSet::new() };
        }
        holders.devices.len() < MAX_DEVICES && holders.devices.insert(device)
    }

    /// Forgets all artifacts but these.
    pub(super) fn retain(&mut self, known: impl Fn(&Reference) -> bool) {
        self.0.retain(|reference, _| known(reference));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(receipts: &mut Receipts, name: &str, module: &[u8], device: &str) -> bool {
        let reference = Reference::parse(name, "registry.example").unwrap();
        receipts.count(reference, Digest::of(module), device.parse().unwrap())
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
        assert!(receipts.0.is_empty());
    }
}
