//! The little of ELF (`man 5 elf`) that tells a static binary from others, for 64 bits and little endian.

/// What the headers of a binary say.
pub struct Header {
    /// As images name it.
    pub architecture: &'static str,
    /// Whether it names an interpreter, the dynamic linker, without which it does not start.
    pub interpreted: bool,
}

const PT_INTERP: u32 = 3;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;

/// The headers of `binary`. Panics if it is none.
pub fn read(binary: &[u8]) -> Header {
    assert!(binary.starts_with(b"\x7fELF\x02\x01"), "no binary of 64 bits");
    let architecture = match half(binary, 0x12) {
        EM_X86_64 => "amd64",
        EM_AARCH64 => "arm64",
        other => panic!("a binary for machine {other}"),
    };
    let table = word(binary, 0x20);
    let (size, count) = (usize::from(half(binary, 0x36)), usize::from(half(binary, 0x38)));
    assert!(count > 0, "no program header");
    let kind = |index| u32::from_le_bytes(bytes(binary, table + index * size));
    Header { architecture, interpreted: (0..count).any(|index| kind(index) == PT_INTERP) }
}

/// The size in bytes of the section of this name, if there is one.
pub fn section(binary: &[u8], name: &str) -> Option<usize> {
    let (table, size) = (word(binary, 0x28), usize::from(half(binary, 0x3a)));
    let (count, names) = (usize::from(half(binary, 0x3c)), usize::from(half(binary, 0x3e)));
    let names = word(binary, table + names * size + 0x18);
    let is_called = |at: usize| {
        let called = &binary[names + u32::from_le_bytes(bytes(binary, at)) as usize..];
        called.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    };
    let found = (0..count).map(|index| table + index * size).find(|&at| is_called(at))?;
    Some(word(binary, found + 0x20))
}

fn word(binary: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes(binary, at))).unwrap()
}

fn half(binary: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(binary, at))
}

fn bytes<const N: usize>(binary: &[u8], at: usize) -> [u8; N] {
    binary[at..at + N].try_into().unwrap()
}
