//! What the device takes at most: from somebody who waits for nothing.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use crate::{device::Device, raw::Plan, samples::Results, stage::MIB, worker::PREFIX};

/// The subcommand that plays a broker.
pub const SUBCOMMAND: &str = "ceiling";

const SIZE: usize = 256 * MIB;

/// A process plays a broker that says the chunks of a module as fast as the device takes them.
pub fn measure(plan: &Plan, runs: usize, results: &mut Results) {
    for _ in 0..runs {
        let plan = Plan { size: SIZE, ..plan.clone() };
        let mut command = Command::new(env::current_exe().unwrap());
        let mut child = command.arg(SUBCOMMAND).args(plan.arguments()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = said.next().unwrap().unwrap().parse().unwrap();
        let device = Device::connect(port, PREFIX);
        let delivery = device.gather(Instant::now(), &plan.names());
        results.add("device's ceiling", SIZE as f64 / 1e6 / (delivery.last - delivery.first).as_secs_f64());
        drop(device);
        child.wait().unwrap();
    }
}

/// The process: says everything to whoever subscribes, and ends.
pub fn run(arguments: impl Iterator<Item = String>) {
    let packets = Plan::parse(arguments).packets();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    let (mut device, _) = listener.accept().unwrap();
    // CONNACK and SUBACK, as MQTT 5 has them.
    answer(&mut device, &[0x20, 3, 0, 0, 0]);
    answer(&mut device, &[0x90, 4, 0, 1, 0, 1]);
    let (mut asking, _) = listener.accept().unwrap();
    answer(&mut asking, &[0x20, 3, 0, 0, 0]);
    let mut acknowledgements = device.try_clone().unwrap();
    thread::spawn(move || while acknowledgements.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
    packets.iter().for_each(|packet| device.write_all(packet).unwrap());
    // Until the device has hung up.
    let _ = asking.read(&mut [0]);
}

/// Waits for a packet, and answers.
fn answer(socket: &mut TcpStream, with: &[u8]) {
    assert!(socket.read(&mut [0; 4096]).unwrap() > 0);
    socket.write_all(with).unwrap();
}
