//! What a folder keeps, over a process's life and the next one's; `download` has who gets what of a download, and when.

mod download;

use std::{
    fs,
    os::unix::fs::{FileExt as _, PermissionsExt as _},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::*;

/// More than the tests keep, and less than a module of theirs that is too large.
const MAX: u64 = 1 << 20;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Cache {
        Cache::open(self.0.path(), MAX).unwrap()
    }

    fn blob(&self, bytes: &[u8]) -> PathBuf {
        self.0.path().join("sha256").join(Digest::of(bytes).hex())
    }

    /// The number of files that are being written, or were.
    fn partials(&self) -> usize {
        fs::read_dir(self.0.path().join("partial")).unwrap().count()
    }
}

async fn keep(cache: &Cache, bytes: &[u8]) {
    let partial = cache.partial(bytes.len() as u64).await.unwrap();
    partial.file().write_all_at(bytes, 0).unwrap();
    partial.keep(Digest::of(bytes), bytes.len() as u64).await;
}

async fn read(cache: &Cache, bytes: &[u8]) -> Option<Vec<u8>> {
    let kept = cache.get(Digest::of(bytes)).await?;
    let mut read = Vec::new();
    kept.reader().read_to_end(&mut read).unwrap();
    assert_eq!(kept.size, read.len() as u64);
    Some(read)
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_restart() {
    let folder = Folder::new();
    let cache = folder.open();
    keep(&cache, b"module").await;
    assert_eq!(read(&cache, b"module").await.unwrap(), b"module");
    assert_eq!(read(&folder.open(), b"module").await.unwrap(), b"module");
    assert_eq!(read(&cache, b"another").await, None);
}

#[tokio::test]
async fn nobody_else_may_look() {
    let folder = Folder::new();
    let dir = folder.0.path().join("new/cache");
    let cache = Cache::open(&dir, MAX).unwrap();
    keep(&cache, b"module").await;
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(["", "sha256", "layers", "partial"].map(mode), [0o700; 4]);
    assert_eq!(mode(&format!("sha256/{}", Digest::of(b"module").hex())), 0o600);
}

#[tokio::test]
async fn what_is_wrong_is_found_after_a_restart_and_removed() {
    for rotten in [&b"modulf"[..], b"modul", b""] {
        let folder = Folder::new();
        keep(&folder.open(), b"module").await;
        fs::write(folder.blob(b"module"), rotten).unwrap();
        let cache = folder.open();
        assert_eq!(read(&cache, b"module").await, None);
        assert!(!folder.blob(b"module").exists());
        keep(&cache, b"module").await;
        assert!(read(&cache, b"module").await.is_some());
    }
}

#[tokio::test]
async fn what_a_former_life_left_is_checked_once() {
    let folder = Folder::new();
    keep(&folder.open(), b"module").await;
    let cache = folder.open();
    let kept = cache.get(Digest::of(b"module")).await.unwrap();
    fs::write(folder.blob(b"module"), b"modulf").unwrap();
    assert!(cache.get(Digest::of(b"module")).await.is_some(), "not read again");
    let mut read = Vec::new();
    kept.reader().read_to_end(&mut read).unwrap();
    assert_eq!(read, b"modulf", "the file is the same");
    cache.forget(Digest::of(b"module")).await;
    assert!(cache.get(Digest::of(b"module")).await.is_none());
}

#[tokio::test]
async fn half_written_files_of_a_former_life_are_removed_and_never_served() {
    let folder = Folder::new();
    folder.open();
    let partial = folder.0.path().join("partial");
    fs::write(partial.join("blob-x1"), b"mod").unwrap();
    fs::write(partial.join("not ours"), b"mod").unwrap();
    let cache = folder.open();
    assert_eq!(folder.partials(), 1);
    assert_eq!(read(&cache, b"mod").await, None);
}

#[tokio::test]
async fn a_file_that_another_process_writes_is_left_alone() {
    let folder = Folder::new();
    let cache = folder.open();
    let partial = cache.partial(6).await.unwrap();
    let other = folder.open();
    assert_eq!(folder.partials(), 1);
    partial.file().write_all_at(b"module", 0).unwrap();
    partial.keep(Digest::of(b"module"), 6).await;
    assert_eq!(read(&other, b"module").await.unwrap(), b"module", "and shared, once it has its name");
}

#[tokio::test]
async fn a_file_that_is_not_kept_is_gone() {
    let folder = Folder::new();
    let cache = folder.open();
    drop(cache.partial(6).await.unwrap());
    assert_eq!(folder.partials(), 0);
}

#[tokio::test]
async fn the_least_recently_used_makes_room_also_after_a_restart() {
    let folder = Folder::new();
    let modules = [1, 2, 3].map(|byte| vec![byte; 300 << 10]);
    let cache = folder.open();
    for (module, age) in modules.iter().zip([30, 20, 10]) {
        keep(&cache, module).await;
        let file = File::open(folder.blob(module)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    assert!(read(&folder.open(), &modules[0]).await.is_some(), "used last");
    let cache = folder.open();
    keep(&cache, &[4; 300 << 10]).await;
    let is_there = modules.each_ref().map(|module| folder.blob(module).exists());
    assert_eq!(is_there, [true, false, true]);
    let small = Cache::open(folder.0.path(), 300 << 10).unwrap();
    assert!(read(&small, &[4; 300 << 10]).await.is_some());
    assert_eq!(fs::read_dir(folder.0.path().join("sha256")).unwrap().count(), 1, "a smaller bound holds at once");
}

#[tokio::test]
async fn who_reads_a_file_reads_on_when_it_makes_room() {
    let folder = Folder::new();
    let cache = folder.open();
    keep(&cache, b"module").await;
    let kept = cache.get(Digest::of(b"module")).await.unwrap();
    let _all = cache.partial(MAX).await.unwrap();
    assert!(!folder.blob(b"module").exists());
    let mut read = String::new();
    kept.reader().read_to_string(&mut read).unwrap();
    assert_eq!(read, "module");
}

#[tokio::test]
async fn room_that_is_promised_is_not_promised_to_another() {
    let folder = Folder::new();
    let cache = folder.open();
    let partial = cache.partial(MAX).await.unwrap();
    assert!(cache.partial(1).await.is_none());
    drop(partial);
    assert!(cache.partial(MAX).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_vanishes_is_tried_again_after_a_minute() {
    let folder = Folder::new();
    let cache = folder.open();
    keep(&cache, b"module").await;
    fs::rename(folder.0.path().join("partial"), folder.0.path().join("elsewhere")).unwrap();
    assert!(cache.partial(1).await.is_none());
    fs::rename(folder.0.path().join("elsewhere"), folder.0.path().join("partial")).unwrap();
    assert!(cache.partial(1).await.is_none(), "it rests");
    assert!(read(&cache, b"module").await.is_some(), "but reads");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(cache.partial(1).await.is_some());
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = Folder::new();
    let file = folder.0.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Cache::open(&file, MAX).unwrap_err();
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn notes_on_layers_are_there_after_a_restart() {
    let folder = Folder::new();
    let (layer, note) = (Digest::of(b"layer"), Note { digest: Digest::of(b"module"), size: 6 });
    folder.open().put_note(layer, note).await;
    let cache = folder.open();
    assert_eq!(cache.note(layer).await, Some(note));
    assert_eq!(cache.note(note.digest).await, None);
    fs::write(folder.0.path().join("layers").join(layer.hex()), b"{").unwrap();
    assert_eq!(cache.note(layer).await, None);
}

#[test]
fn two_caches_are_equal_when_their_folder_is() {
    let folder = Folder::new();
    assert_eq!(folder.open(), Cache::open(folder.0.path().join("."), 1).unwrap());
    assert_ne!(folder.open(), Folder::new().open());
}
