//! Files that change all at once, as the kubelet's `AtomicWriter` changes them.
//!
//! ```text
//! password -> ..data/password
//! ..data -> ..2026_11_23_17_24_55.3141
//! ..2026_11_23_17_24_55.3141/password
//! ```
//!
//! A change makes another such folder and renames a new `..data` over the old one: whoever has resolved `..data` reads
//! files that belong together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
};

use k8s_openapi::jiff::Timestamp;

const DATA: &str = "..data";

/// What a volume holds: files by their paths in it.
pub type Payload = BTreeMap<String, File>;

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
}

/// Makes `dir` hold these files and no others, and says whether it held something else before. They belong to `group`.
///
/// # Errors
/// Those of the filesystem.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    let data = dir.join(DATA);
    let old = fs::read_link(&data).ok().map(|name| dir.join(name));
    if old.as_ref().is_some_and(|old| read(old).is_ok_and(|held| held == contents(payload))) {
        return Ok(false);
    }
    let prefix = Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S.").to_string();
    let new = tempfile::Builder::new().prefix(&prefix).tempdir_in(dir)?.keep();
    open(&new, 0o755, group)?;
    for (path, file) in payload {
        write_file(&new, path, file, group)?;
    }

    let next = dir.join("..data_tmp");
    symlink(new.file_name().unwrap_or_default(), &next)?;
    fs::rename(&next, &data)?;
    let visible: BTreeSet<_> = payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !visible.contains(name.as_str()) {
            fs::remove_file(dir.join(name))?;
        }
    }
    old.map_or(Ok(()), fs::remove_dir_all)?;
    Ok(true)
}

fn write_file(dir: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let target = dir.join(path);
    let mut folder = dir.to_owned();
    for name in Path::new(path).parent().into_iter().flatten() {
        folder.push(name);
        if !folder.exists() {
            fs::create_dir(&folder)?;
            open(&folder, 0o755, group)?;
        }
    }
    fs::write(&target, &file.bytes)?;
    open(&target, file.mode, group)
}

/// Sets who may read it, whatever the umask.
pub fn open(path: &Path, mode: u32, group: Option<u32>) -> io::Result<()> {
    chown(path, None, group)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn contents(payload: &Payload) -> BTreeMap<String, Vec<u8>> {
    payload.iter().map(|(path, file)| (path.clone(), file.bytes.clone())).collect()
}

/// The files below a folder.
fn read(dir: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))?;
        if path.is_dir() {
            found.extend(read(&path)?.into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(path)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { bytes: text.into(), mode: 0o644 };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_seen_through_one_link_that_moves_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(write(dir, &payload(&[("password", "old"), ("username", "worker")]), None).unwrap());
        let before = fs::canonicalize(dir.join(DATA)).unwrap();
        assert_eq!(fs::read_link(dir.join("password")).unwrap(), Path::new("..data/password"));
        assert_eq!(fs::read_to_string(dir.join("password")).unwrap(), "old");

        assert!(!write(dir, &payload(&[("password", "old"), ("username", "worker")]), None).unwrap());
        assert_eq!(fs::canonicalize(dir.join(DATA)).unwrap(), before, "what has not changed is not written");

        assert!(write(dir, &payload(&[("password", "new"), ("tls/ca.crt", "pem")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("password")).unwrap(), "new");
        assert_eq!(fs::read_to_string(dir.join("tls/ca.crt")).unwrap(), "pem");
        assert!(!before.exists(), "the old ones are gone");
        assert_eq!(names(dir)[2..], ["password", "tls"]);
    }

    #[test]
    fn nothing_at_all_is_a_folder_without_visible_files() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), &payload(&[]), None).unwrap());
        assert!(names(dir.path()).iter().all(|name| name.starts_with("..")));
        assert!(!write(dir.path(), &payload(&[]), None).unwrap());
    }
}
