//! Devices that say that they hold a module.

use std::collections::{HashMap, HashSet};

use crate::{digest::Digest, protocol::DeviceName};

/// The most distinct devices that are counted for a digest.
const MAX_DEVICES: usize = 1000;

/// The most digests that devices are counted for.
const MAX_DIGESTS: usize = 256;

/// Who holds what, by their own word: counted once a device and digest.
#[derive(Debug, Default)]
pub(super) struct Receipts(HashMap<Digest, HashSet<DeviceName>>);

impl Receipts {
    /// Whether this is the first time that `device` says so of `digest`.
    ///
    /// Beyond the bounds nothing is counted: receipts are claims, and must cost no more memory than that.
    pub(super) fn count(&mut self, digest: Digest, device: DeviceName) -> bool {
        if self.0.len() == MAX_DIGESTS && !self.0.contains_key(&digest) {
            return false;
        }
        let devices = self.0.entry(digest).or_default();
        devices.len() < MAX_DEVICES && devices.insert(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_once_for_a_digest() {
        let mut receipts = Receipts::default();
        let device: DeviceName = "press-4".parse().unwrap();
        assert!(receipts.count(Digest::of(b"a"), device.clone()));
        assert!(!receipts.count(Digest::of(b"a"), device.clone()));
        assert!(receipts.count(Digest::of(b"b"), device));
    }

    #[test]
    fn devices_are_counted_up_to_a_bound() {
        let mut receipts = Receipts::default();
        let counted = (0..2000).filter(|i| receipts.count(Digest::of(b"a"), format!("d{i}").parse().unwrap())).count();
        assert_eq!(counted, MAX_DEVICES);
    }
}
