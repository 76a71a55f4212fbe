//! Receipts in a file: a worker that starts again does not count them twice.
//!
//! ```text
//!   @sha256:… registry.example/wasm/add:1.2     what those below say that they hold
//!   press-4
//!   press-5
//! ```

use std::{
    collections::HashMap,
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::Holders;
use crate::{digest::Digest, protocol::DeviceName, registry::Reference};

/// The most that is read of a file, in bytes: as much as we ever write.
const MAX_FILE: u64 = 64 << 20;

/// Lines that may be appended until the file is written anew, without what does not count any more.
const MAX_APPENDED: usize = 10_000;

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// What the lines that come next are about.
    subject: Option<(Reference, Digest)>,
    appended: usize,
}

impl Journal {
    /// The journal in this file; `tell` hears what it says. Nothing where there is none, or none that can be read.
    pub(super) fn open(path: &Path, mut tell: impl FnMut(Reference, Digest, DeviceName)) -> Self {
        // Where that fails, so does the first note, and says why.
        let _ = path.parent().map(|folder| DirBuilder::new().recursive(true).mode(0o700).create(folder));
        match read(path, &mut tell) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(file = %path.display(), %error, "cannot read which receipts were counted"),
        }
        Self { path: path.to_owned(), file: None, subject: None, appended: 0 }
    }

    /// Notes that `device` holds what `reference` means; `all` is what is known, with this.
    pub(super) fn append(
        &mut self,
        reference: &Reference,
        digest: Digest,
        device: &DeviceName,
        all: &HashMap<Reference, Holders>,
    ) {
        self.appended += 1;
        let written =
            if self.appended > MAX_APPENDED { self.replace(all) } else { self.note(reference, digest, device) };
        if let Err(error) = written {
            // Whatever of it was written: the next one says anew what it is about.
            self.subject = None;
            tracing::warn!(file = %self.path.display(), %error, "cannot note receipts: some may count twice after a restart");
        }
    }

    /// Writes the file anew, with what counts.
    pub(super) fn replace(&mut self, all: &HashMap<Reference, Holders>) -> io::Result<()> {
        let mut text = String::new();
        for (reference, Holders { digest, devices }) in all {
            text += &format!("@{digest} {reference}\n");
            devices.iter().for_each(|device| text += &format!("{device}\n"));
        }
        let new = self.path.with_extension("receipts-new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &self.path)?;
        (self.file, self.subject, self.appended) = (None, None, 0);
        Ok(())
    }

    fn note(&mut self, reference: &Reference, digest: Digest, device: &DeviceName) -> io::Result<()> {
        let subject = (reference.clone(), digest);
        if self.subject.as_ref() == Some(&subject) {
            return self.write(&format!("{device}\n"));
        }
        // On a line of its own, whatever was left of one that could not be written to its end.
        self.write(&format!("\n@{digest} {reference}\n{device}\n"))?;
        self.subject = Some(subject);
        Ok(())
    }

    fn write(&mut self, lines: &str) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OpenOptions::new().create(true).append(true).open(&self.path)?),
        };
        file.write_all(lines.as_bytes())
    }
}

/// A line that cannot be read was not written to its end.
fn read(path: &Path, tell: &mut impl FnMut(Reference, Digest, DeviceName)) -> io::Result<()> {
    let mut subject = None;
    for line in BufReader::new(File::open(path)?.take(MAX_FILE)).lines() {
        let line = line?;
        match line.strip_prefix('@') {
            Some(what) => subject = parse_subject(what),
            None => {
                if let (Some((reference, digest)), Ok(device)) = (&subject, line.parse()) {
                    tell(Reference::clone(reference), *digest, device);
                }
            }
        }
    }
    Ok(())
}

fn parse_subject(what: &str) -> Option<(Reference, Digest)> {
    let (digest, reference) = what.split_once(' ')?;
    let (host, _) = reference.split_once('/')?;
    Some((Reference::parse(reference, host).ok()?, digest.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &Path) -> Vec<String> {
        let mut said = Vec::new();
        Journal::open(path, |reference, _, device| said.push(format!("{reference} {device}")));
        said
    }

    #[test]
    fn lines_that_are_broken_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts");
        let digest = Digest::of(b"a");
        let text = format!(
            "lost\n@{digest} localhost/add:1\npress-4\nno name\n@sha256:1 localhost/add:2\npress-5\n@{digest} host/sub@{digest}\npress-6"
        );
        std::fs::write(&path, text).unwrap();
        assert_eq!(said(&path), ["localhost/add:1 press-4".to_owned(), format!("host/sub@{digest} press-6")]);
        std::fs::write(&path, [0xff; 100]).unwrap();
        assert_eq!(said(&path), [""; 0]);
    }

    #[test]
    fn a_file_that_has_grown_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts");
        let mut journal = Journal::open(&path, |_, _, _| {});
        let (reference, device) = (Reference::parse("add:1", "registry.example").unwrap(), "d".parse().unwrap());
        let holders = Holders { digest: Digest::of(b""), devices: [device].into() };
        let all = HashMap::from([(reference.clone(), holders)]);
        for _ in 0..3 * MAX_APPENDED {
            journal.append(&reference, Digest::of(b""), &"d".parse().unwrap(), &all);
        }
        assert!(said(&path).len() <= MAX_APPENDED);
    }

    #[test]
    fn what_comes_after_a_file_was_written_anew_is_about_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts");
        let mut journal = Journal::open(&path, |_, _, _| {});
        let digest = Digest::of(b"");
        let references = ["add:1", "sub:1"].map(|name| Reference::parse(name, "registry.example").unwrap());
        let holders = |device: &str| Holders { digest, devices: [device.parse().unwrap()].into() };
        let all = references.iter().map(|reference| (reference.clone(), holders("before"))).collect();
        for reference in &references {
            // The file is written anew with the first of these.
            journal.appended = MAX_APPENDED;
            for device in ["before", "after"] {
                journal.append(reference, digest, &device.parse().unwrap(), &all);
            }
            assert!(said(&path).contains(&format!("{reference} after")), "{:?}", said(&path));
        }
    }

    #[test]
    fn what_comes_after_a_line_that_was_not_written_to_its_end_is_about_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipts");
        let (digest, all) = (Digest::of(b""), HashMap::new());
        std::fs::write(&path, format!("@{digest} registry.example/add:1\npress-4\npre")).unwrap();
        let mut journal = Journal::open(&path, |_, _, _| {});
        let another = Reference::parse("sub:1", "registry.example").unwrap();
        journal.append(&another, digest, &"press-5".parse().unwrap(), &all);
        assert_eq!(said(&path).last().unwrap(), "registry.example/sub:1 press-5");
    }

    #[test]
    fn a_place_that_cannot_be_written_to_costs_nothing_but_the_note() {
        let mut journal = Journal::open(Path::new("/proc/none/receipts"), |_, _, _| {});
        let reference = Reference::parse("add:1", "registry.example").unwrap();
        journal.append(&reference, Digest::of(b""), &"d".parse().unwrap(), &HashMap::new());
        assert!(journal.file.is_none());
    }
}
