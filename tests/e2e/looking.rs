//! What a user sees who looks on.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use crate::harness::{Cluster, Playground};

#[test]
fn get_watch_describe_and_events_tell_how_a_module_gets_out() {
    let cluster = Cluster::with_operator();
    let playground = Playground::new(&cluster, "looking");
    let namespace = playground.namespace();
    let name = namespace.name();

    let mut watch = Command::new("timeout");
    watch.args(["120", "kubectl", "get", "wp", "-n", name, "--watch"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    playground.quickstart();
    let said = BufReader::new(watch.stdout.take().unwrap()).lines().map_while(Result::ok);
    let is_out = |line: &String| line.split_whitespace().nth(2) == Some("True");
    let mut lines = Vec::new();
    for line in said {
        println!("{line}");
        let done = is_out(&line);
        lines.push(line);
        if done {
            break;
        }
    }
    let _ = Command::new("kill").arg(watch.id().to_string()).status();
    let _ = watch.wait();
    assert!(
        lines.last().is_some_and(is_out),
        "`kubectl get wp --watch` has not shown it ready within two minutes: {lines:#?}"
    );
    let columns = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let header = ["NAME", "CHANNEL", "READY", "PROGRESS", "PUBLISHED", "RECEIPTS", "AGE"];
    assert_eq!(columns(&lines[0]), header);
    assert_eq!(columns(lines.last().unwrap())[..6], [name, name, "True", "1/1", "1/1", "0"], "{lines:#?}");

    let story = ["WorkerStarted", "Connected", "Published", "Ready"];
    let described = namespace.kubectl(&["describe", &format!("wp/{name}")]);
    let events = namespace.kubectl(&["events", "--for", &format!("wp/{name}")]);
    for event in story {
        assert!(described.contains(event) && events.contains(event), "{event} is not in\n{described}\n{events}");
    }
    let wide = namespace.kubectl(&["get", "wp", "-o", "wide"]);
    assert!(wide.contains("NoSubscribers") && wide.contains(&format!("mqtt://broker.{name}")), "{wide}");
}
