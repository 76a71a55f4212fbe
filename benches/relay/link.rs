//! A long and narrow link between a client and the broker.
//!
//! It is made in this process, so that it is the same on every machine: what a client says waits for its turn on the link, bit
//! after bit, and comes out half a round trip later; what the broker says, too. What the link itself holds is bounded, as in a
//! router, so that the client is told to wait. TCP sees neither the distance nor a loss: what is shown is how well a link is
//! filled by somebody who waits for acknowledgements.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use socket2::SockRef;

/// There and back.
pub const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Bytes a second, each way: 20 Mbit/s.
pub const RATE: u64 = 20_000_000 / 8;

/// The bytes that go over the link as one.
const FRAME: usize = 1460;
/// The frames that wait for their turn or are on their way at most: 256 KiB, of which half is on its way.
const QUEUE: usize = (256 << 10) / FRAME;
/// What an end's kernel keeps for the link, in bytes.
const BUFFER: usize = 64 << 10;

/// Opens a link to a port of 127.0.0.1; returns the port of this end. It lasts until the process ends.
pub fn open(port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // What is accepted inherits it, from its first segment on.
    SockRef::from(&listener).set_recv_buffer_size(BUFFER).unwrap();
    let here = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", port)).unwrap());
            for (from, to) in [(&client, &server), (&server, &client)] {
                from.set_nodelay(true).unwrap();
                pass(from.try_clone().unwrap(), to.try_clone().unwrap());
            }
        }
    });
    here
}

/// Passes on one way: a thread puts frames on the link, another one takes them off.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let (link, arriving) = sync_channel::<(Instant, Vec<u8>)>(QUEUE);
    thread::spawn(move || drop(put(&mut from, &link)));
    thread::spawn(move || {
        for (due, frame) in arriving {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn put(from: &mut TcpStream, link: &SyncSender<(Instant, Vec<u8>)>) -> io::Result<()> {
    let mut free = Instant::now();
    let mut frame = [0; FRAME];
    loop {
        let read = from.read(&mut frame)?;
        if read == 0 {
            return Ok(());
        }
        free = free.max(Instant::now()) + Duration::from_nanos(read as u64 * 1_000_000_000 / RATE);
        if link.send((free + ROUND_TRIP / 2, frame[..read].to_vec())).is_err() {
            return Ok(());
        }
    }
}
