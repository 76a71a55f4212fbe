use flate2::{Compression as Level, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};

use super::*;

const MODULE: &[u8] = b"\0asm\x01\0\0\0and more";

fn search() -> Search {
    Search { compression: Compression::None, entrypoint: None, max_module_size: 1 << 20, max_unpacked_size: 4 << 20 }
}

fn gzipped() -> Search {
    Search { compression: Compression::Gzip, ..search() }
}

/// What comes out, or the message of what went wrong.
fn unpacked(layer: &[u8], search: &Search) -> Result<Vec<u8>, String> {
    let (mut output, stop) = (Vec::new(), CancellationToken::new());
    let found = find(layer, search, &stop).map_err(|error| error.to_string())?;
    let digest = write(layer, search, &found, &mut output, &stop).map_err(|error| error.to_string())?;
    assert_eq!((digest, found.size), (Digest::of(&output), output.len() as u64));
    Ok(output)
}

fn why(layer: &[u8], search: &Search) -> String {
    unpacked(layer, search).unwrap_err()
}

fn header(kind: EntryType, path: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_cksum();
    header
}

/// A header and what belongs to it, filled up to a whole block.
fn entry(kind: EntryType, path: &str, bytes: &[u8]) -> Vec<u8> {
    let mut entry = header(kind, path, bytes.len()).as_bytes().to_vec();
    entry.extend(bytes);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

fn file(path: &str, bytes: &[u8]) -> Vec<u8> {
    entry(EntryType::Regular, path, bytes)
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [&*entries.concat(), &[0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An extended header with one record.
fn pax(record: &str) -> Vec<u8> {
    let length = record.len() + 3;
    let length = if length + 1 >= 100 { length + 2 } else { length + 1 };
    entry(EntryType::XHeader, "pax", format!("{length} {record}\n").as_bytes())
}

#[test]
fn the_module_comes_out_of_archives_with_and_without_gzip() {
    let layer = archive(&[file("etc/passwd", b"root"), file("plugin.wasm", MODULE), file("z", &[1; 2000])]);
    assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE);
    assert_eq!(unpacked(&gzip(&layer), &gzipped()).unwrap(), MODULE);
}

#[test]
fn the_entrypoint_is_the_module_where_the_image_names_it() {
    let layer = archive(&[file("a.wasm", b"no"), file("./app/run", MODULE), file("b.wasm", b"no")]);
    let search = Search { entrypoint: Some(b"app/run".to_vec()), ..search() };
    assert_eq!(unpacked(&layer, &search).unwrap(), MODULE);
}

#[test]
fn what_the_library_writes_is_read_long_names_and_empty_files_included() {
    let long = format!("{}/module.wasm", "folder/".repeat(40));
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header(EntryType::Regular, "", 0), "empty.txt", &b""[..]).unwrap();
    builder.append_pax_extensions([("SCHILY.xattr.user.note", &b"two\nlines"[..])]).unwrap();
    builder.append_data(&mut header(EntryType::Regular, "", MODULE.len()), &long, MODULE).unwrap();
    let layer = builder.into_inner().unwrap();
    assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE);
}

#[test]
fn an_extended_header_names_and_measures_the_entry_after_it_alone() {
    let described = entry(EntryType::XHeader, "pax", b"20 path=plugin.wasm\n11 size=16\n");
    // By its own header nothing follows it.
    let empty = header(EntryType::Regular, "x", 0).as_bytes().to_vec();
    let content = [MODULE, &[0; 512 - MODULE.len()]].concat();
    let layer = archive(&[pax("path=y"), described, empty, content, file("b.wasm", b"no")]);
    assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE);
    let layer = archive(&[pax("path=a.txt"), file("plugin.wasm", b"no"), file("plugin.wasm", MODULE)]);
    assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE);
}

#[test]
fn names_are_only_names() {
    for path in ["../../etc/cron.d/x.wasm", "/usr/lib/x.wasm", "./x.wasm"] {
        assert_eq!(unpacked(&archive(&[file(path, MODULE)]), &search()).unwrap(), MODULE, "{path}");
    }
}

#[test]
fn only_regular_files_are_modules() {
    use EntryType::{Block, Char, Directory, Fifo, GNUSparse, Link, Symlink};
    for kind in [Block, Char, Directory, Fifo, Link, Symlink] {
        let layer = archive(&[entry(kind, "plugin.wasm", b"")]);
        assert!(why(&layer, &search()).contains("holds no regular file"), "{kind:?}");
        let layer = archive(&[entry(kind, "plugin.wasm", b""), file("a.wasm", MODULE)]);
        assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE, "{kind:?}");
    }
    for sparse in [
        archive(&[entry(GNUSparse, "plugin.wasm", MODULE)]),
        archive(&[pax("GNU.sparse.major=1"), file("plugin.wasm", MODULE)]),
        archive(&[file("plugin.wasm/", MODULE)]),
    ] {
        assert!(why(&sparse, &search()).contains("holds no regular file"));
    }
}

#[test]
fn a_link_has_no_bytes_whatever_it_claims() {
    let link = header(EntryType::Link, "a", 512).as_bytes().to_vec();
    assert_eq!(unpacked(&archive(&[link, file("plugin.wasm", MODULE)]), &search()).unwrap(), MODULE);
}

#[test]
fn a_sparse_file_elsewhere_in_the_layer_is_passed_over_with_its_map() {
    let mut sparse = header(EntryType::GNUSparse, "lastlog", 512);
    sparse.as_gnu_mut().unwrap().isextended = [1];
    sparse.set_cksum();
    let mut more = tar::GnuExtSparseHeader::new();
    more.isextended = [1];
    let last = tar::GnuExtSparseHeader::new();
    let bytes = [&sparse.as_bytes()[..], &more.as_bytes()[..], &last.as_bytes()[..], &[7; 512]].concat();
    assert_eq!(unpacked(&archive(&[bytes, file("a.wasm", MODULE)]), &search()).unwrap(), MODULE);
}

#[test]
fn bytes_that_are_no_module_are_refused_by_the_name_of_their_file() {
    for bytes in [&b"\x7fELF and more"[..], b"\0asm\x01", b"", b"\0asm\x0d\0\0\0more"] {
        assert!(why(&archive(&[file("bin/x.wasm", bytes)]), &search()).starts_with("its file bin/x.wasm is neither"));
    }
}

#[test]
fn a_module_over_the_limit_is_refused() {
    let layer = archive(&[file("x.wasm", MODULE)]);
    let limit = |max_module_size| Search { max_module_size, ..search() };
    assert!(unpacked(&layer, &limit(MODULE.len() as u64)).is_ok());
    assert_eq!(why(&layer, &limit(MODULE.len() as u64 - 1)), "the module has 16 bytes");
}

#[test]
fn everything_that_is_unpacked_counts_against_the_limit() {
    let layer = archive(&[file("x.wasm", MODULE), file("zeros", &vec![0; 100_000])]);
    let within = Search { max_unpacked_size: layer.len() as u64, ..gzipped() };
    let beyond = Search { max_unpacked_size: layer.len() as u64 - 1, ..gzipped() };
    assert!(unpacked(&gzip(&layer), &within).is_ok());
    assert!(why(&gzip(&layer), &beyond).contains("unpacks to more than"));
    // What lies behind the archive's end counts too.
    let bomb = gzip(&[&*layer, &vec![0; 8 << 20]].concat());
    assert!(bomb.len() < 100_000 && why(&bomb, &gzipped()).contains("unpacks to more than 4194304 bytes"));
}

#[test]
fn a_size_beyond_all_measure_is_refused_before_anything_is_read() {
    for size in ["size=18446744073709551615", "size=9223372036854775807", "size=4194305"] {
        let layer = archive(&[pax(size), file("plugin.wasm", MODULE)]);
        let error = why(&layer, &search());
        assert!(error.contains("unpacks to more than"), "{error}");
    }
    let mut header = header(EntryType::Regular, "plugin.wasm", 0);
    header.set_size(u64::MAX - 5);
    header.set_cksum();
    assert!(why(header.as_bytes(), &search()).contains("unpacks to more than"));
}

#[test]
fn a_long_name_is_read_up_to_a_limit() {
    for kind in [EntryType::GNULongName, EntryType::XHeader] {
        let layer = archive(&[entry(kind, "x", &vec![b'a'; (1 << 20) + 1]), file("a.wasm", MODULE)]);
        assert!(why(&layer, &search()).contains("too long"), "{kind:?}");
    }
    // What is not needed is not read at all.
    for kind in [EntryType::GNULongLink, EntryType::XGlobalHeader] {
        let layer = archive(&[entry(kind, "x", &vec![b'a'; 2 << 20]), file("a.wasm", MODULE)]);
        assert_eq!(unpacked(&layer, &search()).unwrap(), MODULE, "{kind:?}");
    }
}

#[test]
fn entries_without_end_are_given_up() {
    let entry = gzip(&file("a", b"").repeat(1001));
    let search = Search { max_unpacked_size: 1 << 30, ..gzipped() };
    assert!(why(&entry.repeat(100), &search).contains("more than 100000 entries"));
}

#[test]
fn an_archive_may_end_within_the_padding_of_its_last_entry() {
    let entry = file("plugin.wasm", MODULE);
    for end in [512 + MODULE.len(), entry.len() - 1, entry.len()] {
        assert_eq!(unpacked(&entry[..end], &search()).unwrap(), MODULE, "{end}");
    }
    assert!(unpacked(&entry[..512 + MODULE.len() - 1], &search()).is_err());
}

#[test]
fn a_layer_that_ends_too_early_is_refused_wherever_it_does() {
    let layer = archive(&[file("a", &[1; 600]), pax("comment=x"), file("plugin.wasm", MODULE)]);
    for length in 0..512 + 1024 + 1024 + 512 + MODULE.len() {
        let error = why(&layer[..length], &search());
        // Within the padding of an entry, or between entries.
        let may_end = matches!(length, 0 | 1112..=1536 | 2061..=2560);
        let expected = if may_end { "holds no regular file" } else { "ends too early" };
        assert!(error.contains(expected), "{length}: {error}");
    }
    let layer = gzip(&layer);
    for length in 0..layer.len() {
        assert!(why(&layer[..length], &gzipped()).contains("ends too early"), "{length}");
    }
}

#[test]
fn the_checksum_of_gzip_is_looked_at() {
    let mut layer = gzip(&archive(&[file("plugin.wasm", MODULE)]));
    let checksum = layer.len() - 8;
    layer[checksum] ^= 1;
    assert!(why(&layer, &gzipped()).contains("cannot be decompressed"));
}

#[test]
fn gzip_members_follow_each_other() {
    let layer = archive(&[file("a", &[1; 600]), file("plugin.wasm", MODULE)]);
    let (first, second) = layer.split_at(700);
    assert_eq!(unpacked(&[gzip(first), gzip(b""), gzip(second)].concat(), &gzipped()).unwrap(), MODULE);
    assert!(why(&[gzip(&layer), vec![b'x'; 100]].concat(), &gzipped()).contains("cannot be decompressed"));
}

#[test]
fn what_is_no_archive_is_refused() {
    assert!(why(&[b'x'; 2000], &search()).contains("is no tar archive"));
    assert!(why(&[b'x'; 2000], &gzipped()).contains("cannot be decompressed"));
    assert!(why(&archive(&[file("plugin.wasm", MODULE)]), &gzipped()).contains("cannot be decompressed"));
    assert!(why(&gzip(&archive(&[file("plugin.wasm", MODULE)])), &search()).contains("early"));
    assert!(why(MODULE, &search()).contains("early"));
    assert!(why(&[], &search()).contains("holds no regular file"));
    assert!(why(&[], &gzipped()).contains("early"));
}

#[test]
fn it_stops_when_it_is_told_to() {
    /// A layer that never ends, and tells us to stop when it has been read for a while.
    struct Endless(u64, CancellationToken);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 += buffer.len() as u64;
            if self.0 > 10 << 20 {
                self.1.cancel();
            }
            assert!(self.0 < 11 << 20, "it goes on");
            // Empty members: nothing ever comes out of the decompressor.
            let member = gzip(b"");
            let whole = buffer.len() / member.len() * member.len();
            buffer[..whole].chunks_exact_mut(member.len()).for_each(|chunk| chunk.copy_from_slice(&member));
            Ok(whole)
        }
    }
    let stop = CancellationToken::new();
    let result = find(Endless(0, stop.clone()), &gzipped(), &stop);
    assert!(matches!(result, Err(UnpackError::Stopped)), "{result:?}");
}

#[test]
fn a_disk_that_fails_is_not_blamed_on_the_layer() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let layer = archive(&[file("plugin.wasm", MODULE)]);
    let stop = CancellationToken::new();
    let found = find(&*layer, &search(), &stop).unwrap();
    let result = write(&*layer, &search(), &found, &mut Full, &stop);
    assert!(matches!(result, Err(UnpackError::Write(_))), "{result:?}");
}

proptest! {
    #[test]
    fn whatever_is_in_a_layer_comes_out_or_is_an_error(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        flips in proptest::collection::vec((0..2560_usize, any::<u8>()), 0..6),
    ) {
        let _ = unpacked(&bytes, &gzipped());
        bytes.truncate(600);
        let mut layer = archive(&[pax("path=a.wasm"), file("b.wasm", &bytes), file("plugin.wasm", MODULE)]);
        for (at, byte) in flips {
            layer[at] = byte;
        }
        let _ = unpacked(&layer, &search());
    }
}
