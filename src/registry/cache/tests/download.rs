//! Who gets what of a download, and when; a channel stands for the registry.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Folder, MAX, *};
use crate::{
    registry::{Credentials, Reference, RegistryError, RegistryOptions, blob::Blob},
    tls::TlsOptions,
};

const MODULE: &[u8] = b"0123456789";

type Sent = Result<Option<Bytes>, RegistryError>;

/// A registry that sends what a test says.
struct Channel(mpsc::UnboundedReceiver<Sent>);

impl Source for Channel {
    async fn next(&mut self) -> Sent {
        self.0.recv().await.unwrap_or(Ok(None))
    }
}

fn wanted(username: &str) -> Wanted {
    let access = RegistryOptions {
        host: "registry.example".to_owned(),
        plain_http: false,
        credentials: Credentials::Basic { username: username.to_owned(), password: String::new() },
        tls: TlsOptions::default(),
        max_module_size: 0,
        timeout: RegistryOptions::DEFAULT_TIMEOUT,
        cache: None,
    };
    let reference = Reference::parse("add:1", "registry.example").unwrap();
    let blob = Blob { reference, digest: Digest::of(MODULE), size: MODULE.len() as u64 };
    Wanted { blob, access: Arc::new(access) }
}

/// Begins a download, or joins it.
async fn begin(cache: &Cache, wanted: &Wanted) -> (FileReader, mpsc::UnboundedSender<Sent>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let reading = cache.read(wanted, || Channel(receiver.lock().unwrap().take().unwrap())).await;
    (FileReader::new(reading, 0, wanted.blob.size), sender)
}

/// Joins a download that is under way, or reads what is kept.
async fn join(cache: &Cache, wanted: &Wanted) -> FileReader {
    let (reader, sender) = begin(cache, wanted).await;
    assert!(sender.is_closed(), "a second download has begun");
    reader
}

fn send(registry: &mpsc::UnboundedSender<Sent>, bytes: &'static [u8]) {
    registry.send(Ok(Some(Bytes::from_static(bytes)))).unwrap();
}

fn unavailable() -> RegistryError {
    RegistryError::Unavailable { host: String::new(), reason: String::new(), retry_after: None }
}

async fn next(reader: &mut FileReader) -> Bytes {
    match reader.next(None).await.unwrap() {
        FileRead::Bytes(bytes) => bytes,
        _ => panic!("no bytes"),
    }
}

#[tokio::test]
async fn each_reader_gets_what_is_written_and_the_last_byte_when_all_is_verified() {
    let (folder, wanted) = (Folder::new(), wanted("user"));
    let cache = folder.open();
    let (mut first, registry) = begin(&cache, &wanted).await;
    send(&registry, b"01234");
    assert_eq!(next(&mut first).await, "01234");
    let mut second = join(&cache, &wanted).await;
    assert_eq!(next(&mut second).await, "01234");
    send(&registry, b"56789");
    assert!(!folder.blob(MODULE).exists());
    {
        let mut last = std::pin::pin!(next(&mut first));
        assert!(futures::poll!(&mut last).is_pending(), "who keeps up waits for what was verified");
        drop(registry);
        assert_eq!(last.await, "56789");
    }
    assert!(folder.blob(MODULE).exists());
    assert!(matches!(first.next(None).await, Ok(FileRead::End)));
    assert_eq!(next(&mut second).await, "56789");
    assert_eq!(next(&mut join(&cache, &wanted).await).await, MODULE, "from the folder");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_not_kept_and_its_last_byte_not_read() {
    let (folder, wanted) = (Folder::new(), wanted("user"));
    let cache = folder.open();
    let (mut reader, registry) = begin(&cache, &wanted).await;
    send(&registry, b"012345678x");
    drop(registry);
    assert_eq!(next(&mut reader).await, "012345678");
    for _ in 0..2 {
        assert!(matches!(reader.next(None).await, Err(RegistryError::DigestMismatch { .. })));
    }
    assert!(!folder.blob(MODULE).exists());
    let (_, registry) = begin(&cache, &wanted).await;
    assert!(!registry.is_closed(), "the next one begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_download_that_fails_fails_for_all_and_goes_on_when_one_asks_again() {
    let (folder, wanted) = (Folder::new(), wanted("user"));
    let cache = folder.open();
    let (mut first, registry) = begin(&cache, &wanted).await;
    let mut second = join(&cache, &wanted).await;
    send(&registry, b"01234");
    registry.send(Err(unavailable())).unwrap();
    for reader in [&mut first, &mut second] {
        assert_eq!(next(reader).await, "01234");
        assert!(matches!(reader.next(None).await, Err(RegistryError::Unavailable { .. })));
    }
    send(&registry, b"56789");
    drop(registry);
    let mut third = join(&cache, &wanted).await;
    third.next(None).await.unwrap();
    for reader in [&mut first, &mut second] {
        while !matches!(reader.next(None).await.unwrap(), FileRead::End) {}
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_waits_half_a_minute_for_who_comes_back() {
    let (folder, wanted) = (Folder::new(), wanted("user"));
    let cache = folder.open();
    let (mut reader, registry) = begin(&cache, &wanted).await;
    send(&registry, b"01234");
    next(&mut reader).await;
    drop(reader);
    tokio::time::sleep(Duration::from_secs(29)).await;
    let mut reader = join(&cache, &wanted).await;
    send(&registry, b"5678");
    assert_eq!(next(&mut reader).await, "01234");
    assert_eq!(next(&mut reader).await, "5678");
    drop(reader);
    registry.closed().await;
    assert_eq!(folder.partials(), 0);
    let (_, registry) = begin(&cache, &wanted).await;
    assert!(!registry.is_closed(), "the next one begins anew");
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_too_late_goes_on_alone() {
    let (folder, wanted) = (Folder::new(), wanted("user"));
    let cache = folder.open();
    let (mut reader, registry) = begin(&cache, &wanted).await;
    registry.send(Err(unavailable())).unwrap();
    assert!(reader.next(None).await.is_err());
    registry.closed().await;
    assert!(matches!(reader.next(None).await, Ok(FileRead::Lost)));
    assert_eq!(reader.position(), 0);
}

#[tokio::test]
async fn only_who_would_ask_the_same_as_the_same_shares_what_is_not_verified() {
    let folder = Folder::new();
    let cache = folder.open();
    let (_reader, _registry) = begin(&cache, &wanted("user")).await;
    join(&cache, &wanted("user")).await;
    let mut larger = wanted("user");
    larger.blob.size += 1;
    for other in [wanted("other"), larger] {
        let (_, registry) = begin(&cache, &other).await;
        assert!(!registry.is_closed());
    }
}

#[tokio::test]
async fn a_disk_without_room_loses_nobody() {
    let folder = Folder::new();
    let small = Cache::open(folder.0.path(), 0).unwrap();
    let (mut reader, registry) = begin(&small, &wanted("user")).await;
    assert!(matches!(reader.next(None).await, Ok(FileRead::Lost)));
    registry.closed().await;

    let cache = Cache::open(folder.0.path(), MAX).unwrap();
    fs::remove_dir(folder.0.path().join("partial")).unwrap();
    let (mut reader, _registry) = begin(&cache, &wanted("user")).await;
    assert!(matches!(reader.next(None).await, Ok(FileRead::Lost)));
}
