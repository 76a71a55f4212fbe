//! The few packets of MQTT 5 and 3.1.1 that publishing and listening take, written by hand: so that what is measured beside
//! the worker has no library in its way.

use std::{
    io::{self, BufReader, Read, Write},
    net::TcpStream,
};

/// The version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V311,
    V5,
}

impl Version {
    /// The byte that CONNECT says it with.
    fn level(self) -> u8 {
        match self {
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The properties of a packet that has none.
    fn no_properties(self) -> &'static [u8] {
        match self {
            Self::V311 => &[],
            Self::V5 => &[0],
        }
    }
}

/// What is read at once of what is not a chunk's body.
const READ_AHEAD: usize = 16 * 1024;

const CONNECT: u8 = 0x10;
pub const PUBLISH: u8 = 0x30;
pub const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;

/// A connection: what is written, and what is read.
pub struct Connection {
    pub socket: TcpStream,
    pub reader: BufReader<TcpStream>,
    pub version: Version,
}

impl Connection {
    /// Connects to a port of 127.0.0.1 with a clean session.
    pub fn open(port: u16, client_id: &str, version: Version) -> io::Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        let mut body = string("MQTT");
        // A clean session, without a keep-alive.
        body.extend([version.level(), 0x02, 0, 0]);
        body.extend(version.no_properties());
        body.extend(string(client_id));
        socket.write_all(&packet(CONNECT, &body))?;
        let mut connection = Self { reader: reader(&socket)?, socket, version };
        connection.skip()?;
        Ok(connection)
    }

    /// Subscribes at QoS 1, and waits until that is granted.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<()> {
        let mut body = vec![0, 1];
        body.extend(self.version.no_properties());
        body.extend(string(filter));
        body.push(1);
        self.socket.write_all(&packet(SUBSCRIBE, &body))?;
        self.skip()
    }

    /// Acknowledges a message at QoS 1.
    pub fn acknowledge(&mut self, id: [u8; 2]) -> io::Result<()> {
        self.socket.write_all(&[PUBACK, 2, id[0], id[1]])
    }

    /// Reads a packet's type and the length of what follows.
    pub fn header(&mut self) -> io::Result<(u8, usize)> {
        let kind = self.byte()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok((kind, length));
            }
        }
    }

    /// Reads a packet, and forgets it.
    pub fn skip(&mut self) -> io::Result<()> {
        let (_, length) = self.header()?;
        self.reader.read_exact(&mut vec![0; length])
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

fn reader(socket: &TcpStream) -> io::Result<BufReader<TcpStream>> {
    Ok(BufReader::with_capacity(READ_AHEAD, socket.try_clone()?))
}

/// A PUBLISH at QoS 1, ready for the socket.
pub fn publish(version: Version, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let topic = string(topic);
    let properties = version.no_properties();
    let length = topic.len() + 2 + properties.len() + payload.len();
    let mut packet = Vec::with_capacity(5 + length);
    packet.push(PUBLISH | 0x02);
    push_length(&mut packet, length);
    packet.extend(topic);
    packet.extend(id.to_be_bytes());
    packet.extend(properties);
    packet.extend(payload);
    packet
}

fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![kind];
    push_length(&mut packet, body.len());
    packet.extend(body);
    packet
}

fn push_length(packet: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return;
        }
    }
}

fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
