//! An object as it changes, as `kubectl get --watch` shows it.

use std::{
    io::BufReader,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Deserializer, StreamDeserializer, Value, de::IoRead};

/// No test waits longer for a change.
const PATIENCE_SECONDS: &str = "180";

/// Each state that an object takes, one after the other, from the one that it is in. Nothing is missed in between.
pub struct Watch {
    object: String,
    kubectl: Child,
    states: StreamDeserializer<'static, IoRead<BufReader<ChildStdout>>, Value>,
}

impl Watch {
    /// An object, or all objects of a kind, from now on.
    pub fn new(namespace: &str, object: &str) -> Self {
        println!("$ kubectl get -n {namespace} {object} --watch -o json &");
        let mut command = Command::new("timeout");
        command.args([PATIENCE_SECONDS, "kubectl", "get", "-n", namespace, object, "--watch", "-o", "json"]);
        let mut kubectl = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(kubectl.stdout.take().unwrap());
        Self { object: object.to_owned(), kubectl, states: Deserializer::from_reader(said).into_iter() }
    }

    /// Waits until the object is so, and returns it.
    ///
    /// # Panics
    /// Where it does not come to that within three minutes.
    pub fn until(&mut self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        println!("# until {}: {what}", self.object);
        let mut last = Value::Null;
        for state in self.states.by_ref().map_while(Result::ok) {
            if is_so(&state) {
                return state;
            }
            last = state;
        }
        panic!("{} was never so: {what}. It was last:\n{last:#}", self.object);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Told to end, `timeout` ends kubectl.
        let _ = Command::new("kill").arg(self.kubectl.id().to_string()).status();
        let _ = self.kubectl.wait();
    }
}
