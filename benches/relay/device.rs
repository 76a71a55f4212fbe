//! The measuring device: hears everything on the channel, notes when, and decodes nothing.

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
    net::Shutdown,
    ops::Range,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use crate::wire::{self, Connection, PUBLISH, Version};

/// What begins a chunk is looked at so far: its names and numbers.
const LOOKED_AT: usize = 1024;

/// So long may nothing be heard of what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was heard.
struct Heard {
    at: Instant,
    topic: String,
    /// Its beginning.
    head: Vec<u8>,
    /// The payload's length in bytes.
    len: usize,
}

/// A device. Dropped, it hangs up.
pub struct Device {
    asking: Connection,
    listening: std::net::TcpStream,
    heard: Receiver<Heard>,
    prefix: String,
}

/// What came of what was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivery {
    /// From the beginning to the first whole chunk.
    pub first: Duration,
    /// To the last one that was missing.
    pub last: Duration,
    /// Chunks, those among them that came again.
    pub chunks: u64,
    /// Modules that came as a whole.
    pub modules: usize,
    /// Bytes of payload.
    pub bytes: u64,
}

/// A module as far as it was heard.
#[derive(Default)]
struct Gathering {
    seen: Vec<bool>,
    missing: Option<usize>,
}

impl Device {
    /// Listens to a channel at the broker on this port.
    pub fn connect(port: u16, prefix: &str) -> Self {
        let mut connection = Connection::open(port, "device", Version::V5).unwrap();
        connection.subscribe(&format!("{prefix}/registry/server/#")).unwrap();
        let listening = connection.socket.try_clone().unwrap();
        let (sender, heard) = mpsc::channel();
        thread::spawn(move || listen(connection, &sender));
        let asking = Connection::open(port, "asking", Version::V5).unwrap();
        Self { asking, listening, heard, prefix: prefix.to_owned() }
    }

    /// Asks for modules in the full dialect; returns when that was.
    pub fn ask(&mut self, names: &[String]) -> Instant {
        let asked = Instant::now();
        for name in names {
            self.publish(&format!(r#"{{"app_name":"{name}","format":"json"}}"#));
        }
        for _ in names {
            self.asking.skip().unwrap();
        }
        asked
    }

    /// Asks for a module in the names of so many devices.
    pub fn ask_as(&mut self, name: &str, devices: Range<usize>) {
        for number in devices.clone() {
            self.publish(&format!(r#"{{"app_name":"{name}","format":"json","device":"device-{number}"}}"#));
        }
        for _ in devices {
            self.asking.skip().unwrap();
        }
    }

    fn publish(&mut self, request: &str) {
        let topic = format!("{}/registry/proplet", self.prefix);
        let packet = wire::publish(Version::V5, &topic, 1, request.as_bytes());
        self.asking.socket.write_all(&packet).unwrap();
    }

    /// Waits until all of these were heard as a whole, since `began`.
    ///
    /// # Panics
    /// Where the worker says that one will not come, or where nothing comes for a long time.
    pub fn gather(&self, began: Instant, names: &[String]) -> Delivery {
        let delivery = self.gather_some(began, names);
        assert_eq!(delivery.modules, names.len(), "not all of them came");
        delivery
    }

    /// The same, for what may not come as a whole.
    pub fn gather_some(&self, began: Instant, names: &[String]) -> Delivery {
        let mut modules: HashMap<&str, Gathering> =
            names.iter().map(|name| (name.as_str(), Gathering::default())).collect();
        let mut delivery = Delivery::default();
        while delivery.modules < names.len() {
            let heard = match self.heard.recv_timeout(PATIENCE) {
                Ok(heard) => heard,
                Err(RecvTimeoutError::Timeout) => return delivery,
                Err(RecvTimeoutError::Disconnected) => panic!("the broker has hung up on the device"),
            };
            self.check(&heard);
            let Some(chunk) = heard.chunk() else { continue };
            let Some(module) = modules.get_mut(chunk.name) else { continue };
            delivery.chunks += 1;
            delivery.bytes += heard.len as u64;
            if delivery.chunks == 1 {
                delivery.first = heard.at - began;
            }
            if module.take(&chunk) {
                delivery.last = heard.at - began;
                delivery.modules += usize::from(module.missing == Some(0));
            }
        }
        delivery
    }

    /// Takes in what comes until so many bytes of payload have, and a chunk at least.
    pub fn until_heard(&self, mut bytes: u64) {
        while bytes > 0 {
            let heard = self.heard.recv_timeout(PATIENCE).unwrap();
            self.check(&heard);
            if heard.chunk().is_some() {
                bytes = bytes.saturating_sub(heard.len as u64);
            }
        }
    }

    /// Takes in what comes until nothing has for that long; returns chunks and bytes.
    pub fn until_silent(&self, silence: Duration) -> (u64, u64) {
        let (mut chunks, mut bytes) = (0, 0);
        while let Ok(heard) = self.heard.recv_timeout(silence) {
            self.check(&heard);
            if heard.chunk().is_some() {
                (chunks, bytes) = (chunks + 1, bytes + heard.len as u64);
            }
        }
        (chunks, bytes)
    }

    fn check(&self, heard: &Heard) {
        let is_refusal = heard.topic.strip_prefix(&self.prefix).is_some_and(|topic| topic.ends_with("/error"));
        assert!(!is_refusal, "the worker says: {}", String::from_utf8_lossy(&heard.head));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.listening.shutdown(Shutdown::Both);
    }
}

impl Gathering {
    /// Takes a chunk in; says whether it was missing.
    fn take(&mut self, chunk: &ChunkName<'_>) -> bool {
        self.seen.resize(chunk.total, false);
        let missing = self.missing.get_or_insert(chunk.total);
        let is_new = !std::mem::replace(&mut self.seen[chunk.index], true);
        *missing -= usize::from(is_new);
        is_new
    }
}

/// Which chunk it is.
struct ChunkName<'a> {
    name: &'a str,
    index: usize,
    total: usize,
}

impl Heard {
    fn chunk(&self) -> Option<ChunkName<'_>> {
        // The beginning of base64 may be cut, so it is text all the same.
        let head = std::str::from_utf8(&self.head).ok()?;
        let rest = head.strip_prefix(r#"{"app_name":""#)?;
        let (name, rest) = rest.split_once(r#"","chunk_idx":"#)?;
        let (index, rest) = rest.split_once(r#","total_chunks":"#)?;
        let (total, _) = rest.split_once(',')?;
        Some(ChunkName { name, index: index.parse().ok()?, total: total.parse().ok()? })
    }
}

/// Reads until the connection ends, or nobody wants to know any more.
fn listen(mut connection: Connection, heard: &Sender<Heard>) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(message) = next(&mut connection, &mut buffer) {
        if message.is_some_and(|message| heard.send(message).is_err()) {
            return;
        }
    }
}

fn next(connection: &mut Connection, buffer: &mut Vec<u8>) -> std::io::Result<Option<Heard>> {
    let (kind, length) = connection.header()?;
    buffer.resize(buffer.len().max(length), 0);
    let packet = &mut buffer[..length];
    connection.reader.read_exact(packet)?;
    let at = Instant::now();
    if kind & 0xf0 != PUBLISH {
        return Ok(None);
    }
    let message = Message::read(packet, kind);
    if let Some(id) = message.id {
        connection.acknowledge(id)?;
    }
    let payload = &packet[message.payload];
    let head = payload[..payload.len().min(LOOKED_AT)].to_vec();
    Ok(Some(Heard { at, topic: message.topic, head, len: payload.len() }))
}

/// A PUBLISH, taken apart.
struct Message {
    topic: String,
    id: Option<[u8; 2]>,
    payload: Range<usize>,
}

impl Message {
    fn read(packet: &[u8], kind: u8) -> Self {
        let topic_len = usize::from(u16::from_be_bytes([packet[0], packet[1]]));
        let mut at = 2 + topic_len;
        let topic = String::from_utf8_lossy(&packet[2..at]).into_owned();
        let id = (kind & 0x06 != 0).then(|| [packet[at], packet[at + 1]]);
        at += if id.is_some() { 2 } else { 0 };
        // Nothing that is measured has properties of more than 127 bytes.
        at += 1 + usize::from(packet[at]);
        Self { topic, id, payload: at..packet.len() }
    }
}
