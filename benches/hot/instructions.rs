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

/// The calls that are counted: the second number less the first, so that what comes before them is in neither.
const TIMES: [u64; 2] = [4, 36];

pub fn run(mut arguments: impl Iterator<Item = String>, cases: Vec<Case>) {
    let (name, times) = (arguments.next().unwrap(), arguments.next().unwrap().parse::<u64>().unwrap());
    let mut case = cases.into_iter().find(|case| case.name == name).unwrap();
    (0..times).for_each(|_| (case.run)());
}

pub fn count<'a>(cases: impl Iterator<Item = &'a Case>) {
    for case in cases {
        let [few, many] = TIMES.map(|times| counted(&case.name, times));
        let instructions = many.saturating_sub(few) / (TIMES[1] - TIMES[0]);
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
