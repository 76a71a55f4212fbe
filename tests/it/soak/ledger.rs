//! What is true: which modules a name has meant, and when.

use std::{collections::BTreeMap, time::Instant};

use wasmproxy::{digest::Digest, protocol::ErrorCode};

/// What there is to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tag that full devices ask for; it moves.
    Moving,
    /// A tag that old devices ask for. It stays: they put together what they hear over minutes.
    Plain,
    /// A manifest by its digest.
    Pinned,
    /// What there is not.
    Missing,
    /// What this channel does not bring.
    Denied,
    /// An artifact without a module.
    Odd,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Moving, Self::Plain, Self::Pinned, Self::Missing, Self::Denied, Self::Odd];

    /// What a device that asks for it is told, where it cannot have it.
    pub fn refusal(self) -> Option<ErrorCode> {
        match self {
            Self::Moving | Self::Plain | Self::Pinned => None,
            Self::Missing => Some(ErrorCode::NotFound),
            Self::Denied => Some(ErrorCode::NotAllowed),
            Self::Odd => Some(ErrorCode::UnsupportedArtifact),
        }
    }
}

/// A module that a name means for a while.
#[derive(Debug)]
struct Version {
    digest: Digest,
    size: usize,
    /// When the next one had been pushed.
    until: Option<Instant>,
}

/// How a module stands to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was what the name meant at some time since then.
    Current,
    /// It was so before: a pass that was under way was joined.
    Earlier,
    /// It never was.
    Never,
}

/// All names.
#[derive(Debug, Default)]
pub struct Ledger {
    names: BTreeMap<String, (Kind, Vec<Version>)>,
}

impl Ledger {
    /// A name without a module.
    pub fn add(&mut self, name: &str, kind: Kind) {
        self.names.entry(name.to_owned()).or_insert((kind, Vec::new()));
    }

    /// By now, a name means this module and no other.
    pub fn pushed(&mut self, name: &str, digest: Digest, size: usize) {
        let versions = &mut self.names.get_mut(name).unwrap().1;
        if let Some(last) = versions.last_mut() {
            last.until = Some(Instant::now());
        }
        versions.push(Version { digest, size, until: None });
    }

    pub fn names(&self, kinds: &[Kind]) -> Vec<&str> {
        let names = self.names.iter().filter(|(_, (kind, _))| kinds.contains(kind));
        names.map(|(name, _)| name.as_str()).collect()
    }

    pub fn kind(&self, name: &str) -> Kind {
        self.names[name].0
    }

    /// The size of what a name means, in bytes.
    pub fn size(&self, name: &str) -> Option<usize> {
        Some(self.names[name].1.last()?.size)
    }

    /// How a module stands to a name, to somebody who asked at that time.
    pub fn standing(&self, name: &str, digest: Digest, asked: Instant) -> Standing {
        let versions = self.names.get(name).map(|(_, versions)| versions.as_slice()).unwrap_or_default();
        let mut standing = Standing::Never;
        for version in versions.iter().filter(|version| version.digest == digest) {
            if version.until.is_none_or(|until| until >= asked) {
                return Standing::Current;
            }
            standing = Standing::Earlier;
        }
        standing
    }

    /// How often a name has got another meaning since then.
    pub fn moved(&self, name: &str, since: Instant) -> u32 {
        let ended = self.names[name].1.iter().filter(|version| version.until.is_some_and(|until| until >= since));
        u32::try_from(ended.count()).unwrap()
    }

    /// How many modules have been pushed.
    pub fn modules(&self) -> usize {
        self.names.values().map(|(_, versions)| versions.len()).sum()
    }
}

/// Bytes that begin as a module does; the rest is noise, so that no mixture of two is a third.
pub fn module(size: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = vec![0; size];
    random.fill(&mut bytes);
    let head = b"\0asm\x01\0\0\0";
    let length = head.len().min(size);
    bytes[..length].copy_from_slice(&head[..length]);
    bytes
}

#[test]
fn a_module_stands_as_it_was_pushed() {
    let mut ledger = Ledger::default();
    ledger.add("a", Kind::Moving);
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let before = Instant::now();
    ledger.pushed("a", one, 3);
    ledger.pushed("a", two, 3);
    let after = Instant::now() + std::time::Duration::from_secs(1);
    let standing = |digest, asked| ledger.standing("a", digest, asked);
    assert_eq!((standing(one, before), standing(two, before)), (Standing::Current, Standing::Current));
    assert_eq!((standing(one, after), standing(two, after)), (Standing::Earlier, Standing::Current));
    assert_eq!(standing(Digest::of(b"three"), before), Standing::Never);
    assert_eq!(ledger.standing("b", one, before), Standing::Never);
}
