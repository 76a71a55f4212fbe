//! A way into the cluster, as `kubectl port-forward` makes it.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

/// A port of this machine that leads to one in the cluster, until it is dropped.
pub struct Forward {
    kubectl: Child,
    /// The port, at 127.0.0.1.
    pub port: u16,
}

impl Forward {
    pub(super) fn new(namespace: &str, to: &str, port: u16) -> Self {
        println!("$ kubectl port-forward -n {namespace} {to} :{port} &");
        let mut command = Command::new("kubectl");
        command.args(["port-forward", "-n", namespace, "--address=127.0.0.1", to, &format!(":{port}")]);
        let mut kubectl = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(kubectl.stdout.take().unwrap());
        let port = Self::listening(&mut said);
        // Each connection is told of, and somebody has to read that.
        thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        let port = port.unwrap_or_else(|| {
            let _ = kubectl.kill();
            panic!("kubectl port-forward: {:?}", kubectl.wait());
        });
        Self { kubectl, port }
    }

    /// The port, out of `Forwarding from 127.0.0.1:40123 -> 1883`.
    fn listening(said: &mut BufReader<ChildStdout>) -> Option<u16> {
        let mut line = String::new();
        said.read_line(&mut line).ok()?;
        line.strip_prefix("Forwarding from 127.0.0.1:")?.split(' ').next()?.parse().ok()
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
