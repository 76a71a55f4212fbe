//! How many instructions one call takes, as valgrind counts them.
//!
//! The processor that it plays has no instructions for SHA, and no AVX-512: hashing takes other ways there, and is better
//! measured by time.

use std::{
    env,
    process::{Command, Stdio},
};

use crate::Case;

/// Runs one case so many times: `SUBCOMMAND NAME TIMES`.
pub const SUBCOMMAND: &str = "run-under-valgrind";

/// Calls before those that are counted: what happens once is in both of two runs, and so in neither's difference.
const BEFORE: u64 = 4;

/// Calls that are counted, and how many of those that take less than [`SHORT`] instructions: threads that start meanwhile are
/// never quite the same.
const CALLS: u64 = 32;
const SHORT_CALLS: u64 = 1024;
const SHORT: u64 = 100_000;

pub fn run(mut arguments: impl Iterator<Item = String>, cases: Vec<Case>) {
    let (name, times) = (arguments.next().unwrap(), arguments.next().unwrap().parse::<u64>().unwrap());
    let mut case = cases.into_iter().find(|case| case.name == name).unwrap();
    (0..times).for_each(|_| (case.run)());
}

pub fn count<'a>(cases: impl Iterator<Item = &'a Case>) {
    for case in cases {
        let before = counted(&case.name, BEFORE);
        let of_each = |calls| counted(&case.name, BEFORE + calls).saturating_sub(before) / calls;
        let instructions = match of_each(CALLS) {
            few if few < SHORT => of_each(SHORT_CALLS),
            many => many,
        };
        print!("{:<32} {instructions:>12} instructions", case.name);
        match case.bytes {
            Some(bytes) => println!(", {:.3} a byte", instructions as f64 / bytes as f64),
            None => println!(),
        }
    }
}

fn counted(name: &str, times: u64) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe().unwrap());
    let output = command.args([SUBCOMMAND, name, &times.to_string()]).stdin(Stdio::null()).output();
    let said = String::from_utf8(output.expect("valgrind is missing").stderr).unwrap();
    let total = said.lines().find_map(|line| line.split("Collected :").nth(1));
    total.unwrap_or_else(|| panic!("valgrind does not say how many:\n{said}")).trim().parse().unwrap()
}
