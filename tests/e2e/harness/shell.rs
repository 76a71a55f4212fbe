//! Commands as a user types them, in the repository's folder. Each is printed, and so a test that fails shows what was done.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// No command takes longer, unless it hangs.
const PATIENCE_SECONDS: &str = "300";

/// The repository's folder.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of one of its files.
///
/// # Panics
/// Where it cannot be read.
pub fn read(file: &str) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs `kubectl` to its end, and returns what it says.
///
/// # Panics
/// Where it fails.
pub fn kubectl(arguments: &[&str]) -> String {
    run("kubectl", arguments, "")
}

/// Applies a manifest.
///
/// # Panics
/// Where the API server does not take it.
pub fn apply(manifest: &str) -> String {
    run("kubectl", &["apply", "-f", "-"], manifest)
}

/// Runs `helm` to its end, and returns what it says.
///
/// # Panics
/// Where it fails.
pub fn helm(arguments: &[&str]) -> String {
    run("helm", arguments, "")
}

/// Runs what a document says to type in a folder, word by word; the first line that fails ends it.
///
/// # Panics
/// Where it fails.
pub fn bash_in(folder: &Path, block: &str) -> String {
    let entered = format!("cd {}\n{block}", folder.display());
    run("bash", &["-euo", "pipefail", "-c", &entered], "")
}

/// The objects of a manifest.
///
/// # Panics
/// Where it is none.
pub fn objects(manifest: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(manifest).unwrap_or_else(|error| panic!("{error}\n{manifest}"))
}

/// Runs a program to its end, gives it `input`, and returns what it says on standard output.
///
/// # Panics
/// Where it fails.
pub fn run(program: &str, arguments: &[&str], input: &str) -> String {
    attempt(program, arguments, input).unwrap_or_else(|complaint| panic!("{complaint}"))
}

/// The same, for what may fail.
///
/// # Errors
/// All that it said, where it has failed.
pub fn attempt(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let typed = format!("{program} {}", arguments.join(" "));
    println!("$ {typed}");
    let output = output(program, arguments, input).map_err(|error| format!("{typed}: {error}"))?;
    let [said, complained] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    print!("{said}{complained}");
    if output.status.success() { Ok(said) } else { Err(format!("{typed}\n{said}{complained}{}", output.status)) }
}

fn output(program: &str, arguments: &[&str], input: &str) -> std::io::Result<Output> {
    use std::io::Write as _;
    let mut command = Command::new("timeout");
    command.arg(PATIENCE_SECONDS).arg(program).args(arguments).current_dir(repository());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // What is applied here is shorter than a pipe holds, or read to its end before anything is said.
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()))?;
    child.wait_with_output()
}
