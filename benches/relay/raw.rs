//! The raw publisher: what the broker and the device take, from somebody who has nothing else to do.
//!
//! It is a process of its own, as the worker is. It encodes the chunks as the worker would, keeps them as finished packets,
//! and each time it is told to go writes them to its socket, with so many in flight as its window holds.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use wasmproxy::{
    digest::Digest,
    protocol::{ChunkEncoder, ChunkHead, Format, Layout},
};

use crate::{
    modules::module,
    wire::{self, Connection, Version},
};

/// The subcommand that is the process.
pub const SUBCOMMAND: &str = "raw";

/// What is published.
#[derive(Clone, Debug)]
pub struct Plan {
    pub port: u16,
    pub version: Version,
    pub topic: String,
    /// What the modules are called: the name, and a number where there are several.
    pub name: String,
    pub modules: usize,
    /// Bytes of each.
    pub size: usize,
    pub chunk_size: u32,
    /// Chunks in flight.
    pub window: usize,
}

impl Plan {
    /// The modules' names.
    pub fn names(&self) -> Vec<String> {
        (0..self.modules).map(|number| format!("{}-{number}", self.name)).collect()
    }

    pub fn arguments(&self) -> Vec<String> {
        let version = if self.version == Version::V5 { "5" } else { "3" };
        let numbers = [self.modules, self.size, self.chunk_size as usize, self.window].map(|number| number.to_string());
        let words = [self.port.to_string().as_str(), version, &self.topic, &self.name].map(str::to_owned);
        words.into_iter().chain(numbers).collect()
    }

    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut next = || arguments.next().unwrap();
        Self {
            port: next().parse().unwrap(),
            version: if next() == "5" { Version::V5 } else { Version::V311 },
            topic: next(),
            name: next(),
            modules: next().parse().unwrap(),
            size: next().parse().unwrap(),
            chunk_size: next().parse().unwrap(),
            window: next().parse().unwrap(),
        }
    }

    pub fn packets(&self) -> Vec<Vec<u8>> {
        let bytes = module(self.size);
        let digest = Digest::of(&bytes);
        let layout = Layout::new(self.size as u64, self.chunk_size).unwrap();
        let mut packets = Vec::new();
        for app_name in self.names() {
            let head = ChunkHead { app_name, digest, layout };
            for (index, chunk) in bytes.chunks(self.chunk_size as usize).enumerate() {
                let mut encoder = ChunkEncoder::new(&head, Format::Full, u32::try_from(index).unwrap());
                encoder.push(chunk);
                let id = u16::try_from(packets.len() % 60_000 + 1).unwrap();
                packets.push(wire::publish(self.version, &self.topic, id, &encoder.finish()));
            }
        }
        packets
    }
}

/// The process, from outside. It ends when dropped.
pub struct RawPublisher {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub plan: Plan,
}

impl RawPublisher {
    /// Starts it, and waits until it could go.
    pub fn start(plan: Plan) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(SUBCOMMAND).args(plan.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (orders, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut raw = Self { child, orders, answers, plan };
        raw.answer();
        raw
    }

    /// Has it publish everything once; returns when that began.
    pub fn go(&mut self) -> Instant {
        let begun = Instant::now();
        self.orders.as_ref().unwrap().write_all(b"go\n").unwrap();
        begun
    }

    /// Waits until the broker has acknowledged everything; returns how long that took.
    pub fn acknowledged(&mut self) -> Duration {
        Duration::from_nanos(self.answer().trim().parse().unwrap())
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the raw publisher has ended");
        line
    }
}

impl Drop for RawPublisher {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// The process, from inside: goes once for each line on standard input.
pub fn run(arguments: impl Iterator<Item = String>) {
    let plan = Plan::parse(arguments);
    let mut connection = Connection::open(plan.port, &format!("raw-{}", std::process::id()), plan.version).unwrap();
    let packets = plan.packets();
    println!("ready");
    for _ in io::stdin().lines() {
        let begun = Instant::now();
        publish(&mut connection, &packets, plan.window).unwrap();
        println!("{}", begun.elapsed().as_nanos());
    }
}

fn publish(connection: &mut Connection, packets: &[Vec<u8>], window: usize) -> io::Result<()> {
    let mut in_flight = 0;
    for packet in packets {
        if in_flight == window {
            connection.skip()?;
            in_flight -= 1;
        }
        connection.socket.write_all(packet)?;
        in_flight += 1;
    }
    (0..in_flight).try_for_each(|_| connection.skip())
}
