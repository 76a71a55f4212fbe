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
    let table = usize::try_from(u64::from_le_bytes(bytes(binary, 0x20))).unwrap();
    let (size, count) = (usize::from(half(binary, 0x36)), usize::from(half(binary, 0x38)));
    assert!(count > 0, "no program header");
    let kind = |index| u32::from_le_bytes(bytes(binary, table + index * size));
    Header { architecture, interpreted: (0..count).any(|index| kind(index) == PT_INTERP) }
}

fn half(binary: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(binary, at))
}

fn bytes<const N: usize>(binary: &[u8], at: usize) -> [u8; N] {
    binary[at..at + N].try_into().unwrap()
}
