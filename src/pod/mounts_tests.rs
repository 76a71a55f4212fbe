use std::{
    cell::{Cell, RefCell},
    fs,
    os::unix::fs::symlink,
};

use tempfile::TempDir;

use super::*;

/// A kubelet's directory for one Secret.
struct Kubelet {
    secret: PathBuf,
    versions: Cell<u32>,
}

impl Kubelet {
    fn new(root: &Path, name: &str) -> Self {
        let secret = root.join(name);
        fs::create_dir(&secret).unwrap();
        Self { secret, versions: Cell::new(0) }
    }

    /// Replaces all keys as the kubelet does.
    fn write(&self, keys: &[(&str, &str)]) {
        let before = self.data();
        self.versions.set(self.versions.get() + 1);
        let version = format!("..2026_{}", self.versions.get());
        fs::create_dir(self.secret.join(&version)).unwrap();
        for (key, value) in keys {
            fs::write(self.secret.join(&version).join(key), value).unwrap();
            let _ = symlink(Path::new(DATA).join(key), self.secret.join(key));
        }
        symlink(&version, self.secret.join("..data_tmp")).unwrap();
        fs::rename(self.secret.join("..data_tmp"), self.secret.join(DATA)).unwrap();
        if let Some(before) = before {
            fs::remove_dir_all(before).unwrap();
        }
    }

    fn data(&self) -> Option<PathBuf> {
        fs::read_link(self.secret.join(DATA)).ok().map(|version| self.secret.join(version))
    }
}

fn mounts(root: &TempDir) -> Mounts {
    Mounts { root: root.path().to_owned(), namespace: "edge".to_owned(), files: FileSystem }
}

fn value<'a>(keys: &'a SecretKeys, key: &str) -> &'a str {
    std::str::from_utf8(&keys.values[key]).unwrap()
}

#[test]
fn a_mounted_secret_is_read_and_read_anew_when_it_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::new(root.path(), "broker");
    for password in ["hunter2", "hunter3"] {
        kubelet.write(&[("username", "worker"), ("password", password)]);
        let keys = mounts(&root).read("broker").unwrap();
        assert_eq!((keys.namespace.as_str(), keys.name.as_str()), ("edge", "broker"));
        assert_eq!((value(&keys, "username"), value(&keys, "password")), ("worker", password));
    }
}

#[test]
fn a_plain_directory_will_do() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("broker")).unwrap();
    fs::write(root.path().join("broker/password"), "hunter2").unwrap();
    assert_eq!(value(&mounts(&root).read("broker").unwrap(), "password"), "hunter2");
}

#[test]
fn what_is_not_there_is_told_from_what_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let refusal = || mounts(&root).read("broker").unwrap_err();
    assert!(matches!(refusal(), MountError::NotMounted { .. }));

    fs::create_dir(root.path().join("broker")).unwrap();
    assert!(matches!(refusal(), MountError::Empty { .. }), "as docker mounts an empty directory");
    fs::remove_dir(root.path().join("broker")).unwrap();
    Kubelet::new(root.path(), "broker").write(&[]);
    assert!(
        matches!(refusal(), MountError::Empty { .. }),
        "as the kubelet mounts an optional Secret that is not there"
    );
    assert_eq!(refusal().to_string(), "Secret broker does not exist in namespace edge");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("broker/password")).unwrap();
    let refusal = mounts(&root).read("broker").unwrap_err().to_string();
    assert!(refusal.starts_with("Secret broker cannot be read from /") && refusal.ends_with("not a file"), "{refusal}");

    fs::remove_dir(root.path().join("broker/password")).unwrap();
    fs::write(root.path().join("broker/password"), vec![0; (1 << 20) + 1]).unwrap();
    assert!(matches!(mounts(&root).read("broker"), Err(MountError::Unreadable { .. })), "larger than any Secret");
}

#[test]
fn no_name_leads_out_of_the_directory() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["inside", "outside"] {
        fs::create_dir(root.path().join(directory)).unwrap();
        fs::write(root.path().join(directory).join("password"), "hunter2").unwrap();
    }
    let mounts = Mounts { root: root.path().join("inside"), ..mounts(&root) };
    for name in ["../outside", "..", ".", "", "./../outside", "/", "outside/"] {
        assert!(matches!(mounts.read(name), Err(MountError::Unreadable { .. })), "{name:?}");
    }
}

/// Does something when a file is read, and notes every path that is touched.
struct Meddler<'a> {
    on_read: Box<dyn Fn(usize) + 'a>,
    reads: Cell<usize>,
    touched: RefCell<Vec<PathBuf>>,
}

impl<'a> Meddler<'a> {
    fn new(on_read: impl Fn(usize) + 'a) -> Self {
        Self { on_read: Box::new(on_read), reads: Cell::new(0), touched: RefCell::default() }
    }

    fn touch(&self, path: &Path) {
        self.touched.borrow_mut().push(path.to_owned());
    }
}

impl Files for Meddler<'_> {
    fn link(&self, path: &Path) -> io::Result<PathBuf> {
        self.touch(path);
        FileSystem.link(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.touch(path);
        FileSystem.list(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.touch(path);
        let result = FileSystem.read(path);
        self.reads.set(self.reads.get() + 1);
        (self.on_read)(self.reads.get());
        result
    }
}

fn pair(version: &str) -> [(&str, &str); 2] {
    [("tls.crt", version), ("tls.key", version)]
}

#[test]
fn a_certificate_and_its_key_belong_together_even_if_they_are_replaced_midway() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::new(root.path(), "tls");
    kubelet.write(&pair("old"));
    // After the certificate, before its key; and once more after both.
    let replace = |reads: usize| match reads {
        1 => kubelet.write(&pair("new")),
        3 => kubelet.write(&pair("newest")),
        _ => {}
    };
    let Mounts { root, namespace, .. } = mounts(&root);
    let mounts = Mounts { root, namespace, files: Meddler::new(replace) };
    let keys = mounts.read("tls").unwrap();
    assert_eq!((value(&keys, "tls.crt"), value(&keys, "tls.key")), ("newest", "newest"));
}

#[test]
fn a_secret_that_never_stands_still_is_given_up_for_now() {
    let root = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::new(root.path(), "tls");
    kubelet.write(&pair("old"));
    let Mounts { root, namespace, .. } = mounts(&root);
    let mounts = Mounts { root, namespace, files: Meddler::new(|_| kubelet.write(&pair("new"))) };
    assert!(matches!(mounts.read("tls"), Err(MountError::Unreadable { .. })));
}

#[test]
fn no_other_secret_is_touched() {
    let root = tempfile::tempdir().unwrap();
    for name in ["broker", "other"] {
        Kubelet::new(root.path(), name).write(&[("password", "hunter2")]);
    }
    let Mounts { root, namespace, .. } = mounts(&root);
    let mounts = Mounts { root, namespace, files: Meddler::new(|_| ()) };
    mounts.read("broker").unwrap();
    let touched = mounts.files.touched.borrow();
    assert!(
        touched.len() > 3 && touched.iter().all(|path| path.starts_with(mounts.root.join("broker"))),
        "{touched:?}"
    );
}
