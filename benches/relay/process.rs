//! What the kernel says of a process: proc(5).

use std::{fs, time::Duration};

/// A line of `/proc/PID/status` that is about memory, in bytes.
pub fn memory(pid: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')).unwrap();
    let kibibytes: u64 = value.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    kibibytes * 1024
}

/// The time that it has had a CPU, for itself and in the kernel.
pub fn cpu(pid: u32) -> Duration {
    // In hundredths of a second, as on every Linux of our days: utime and stime.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
