//! A worker that has nothing to do, and what it takes of memory: with a broker that only lets it in.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A CONNACK of MQTT 5 that takes the client as it is.
const WELCOME: [u8; 5] = [0x20, 3, 0, 0, 0];
const CONNECT: u8 = 1;
const SUBSCRIBE: u8 = 8;

/// Runs `binary` as a worker that trusts these authorities, until it subscribes; returns what it has resident by then, with
/// pages of files, in bytes.
pub fn memory(binary: &[u8], authorities: &[u8]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("wasmproxy");
    unpack(binary, &program);
    let bundle = folder.path().join("ca-certificates.crt");
    fs::write(&bundle, authorities).unwrap();
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", broker.local_addr().unwrap());
    let mut command = Command::new(&program);
    command.arg("worker").env_clear().current_dir(folder.path()).stdin(Stdio::null());
    command.env("PROXY_MQTT_ADDRESS", address).env("PROXY_CHANNEL_ID", "idle");
    command.env("PROXY_REGISTRY_URL", "registry.example").env("PROXY_HTTP_PORT", "0").env("SSL_CERT_FILE", bundle);
    let worker = Worker(command.spawn().unwrap());

    let (mut connection, _) = broker.accept().unwrap();
    assert_eq!(packet(&mut connection), CONNECT);
    connection.write_all(&WELCOME).unwrap();
    assert_eq!(packet(&mut connection), SUBSCRIBE);
    worker.resident()
}

/// Writes it as a container runtime unpacks it, piece by piece: of what is written at once Linux may keep, and map, 2 MiB at once.
fn unpack(binary: &[u8], program: &Path) {
    let mut file = File::options().write(true).create_new(true).mode(0o755).open(program).unwrap();
    for piece in binary.chunks(32 << 10) {
        file.write_all(piece).unwrap();
    }
}

/// Reads a packet; returns its type.
fn packet(connection: &mut TcpStream) -> u8 {
    let mut byte = || {
        let mut read = [0];
        connection.read_exact(&mut read).unwrap();
        read[0]
    };
    let kind = byte() >> 4;
    let (mut length, mut shift) = (0, 0);
    loop {
        let digit = byte();
        length |= usize::from(digit & 0x7f) << shift;
        shift += 7;
        if digit < 0x80 {
            break;
        }
    }
    connection.read_exact(&mut vec![0; length]).unwrap();
    kind
}

struct Worker(Child);

impl Worker {
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: u64 = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kibibytes * 1024
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
