//! Who leads, and how the next one comes to.

use std::time::Instant;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use wasmproxy::controller::{LeaseLost, Terms};

use super::{
    floor::{CHUNK, Floor, Mode},
    program::{allow, program, service_account},
    replicas::{Replicas, client_through, kubeconfig, kubeconfig_through, obstacle, short},
};
use crate::{lab::FaultProxy, modules::module, standalone::Process, waiting::soon};

fn leases(floor: &Floor) -> Api<Lease> {
    Api::namespaced(floor.client.clone(), &floor.namespace)
}

/// Waits until the lease is as it should be.
async fn until_lease(floor: &Floor, is: impl Fn(&LeaseSpec) -> bool) -> LeaseSpec {
    let condition = |lease: Option<&Lease>| lease.and_then(|lease| lease.spec.as_ref()).is_some_and(&is);
    let lease = soon("the lease", await_condition(leases(floor), "wasmproxy", condition)).await;
    lease.unwrap().unwrap().spec.unwrap()
}

async fn until_held_by(floor: &Floor, holder: &str) -> LeaseSpec {
    until_lease(floor, |spec| spec.holder_identity.as_deref() == Some(holder)).await
}

#[tokio::test]
async fn one_leads_and_the_other_is_ready_to() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let replicas = Replicas::of(&floor, Terms::DEFAULT);
    let first = replicas.start("first", floor.client.clone());
    let spec = until_held_by(&floor, "first").await;
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    let second = replicas.start("second", floor.client.clone());
    soon("a standby that knows everything", second.running.health.until_ready()).await;

    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;
    until_lease(&floor, |now| now.renew_time > spec.renew_time).await;
    assert!(first.running.health.leads() && !second.running.health.leads());

    second.running.stop().await;
    assert_eq!(until_held_by(&floor, "first").await.acquire_time, spec.acquire_time, "that a standby ends is no news");
    first.check();
    first.running.stop().await;
    let spec = until_held_by(&floor, "").await;
    assert_eq!(spec.lease_duration_seconds, Some(1));
}

#[tokio::test]
async fn a_leader_that_ends_hands_over_at_once_and_nothing_is_sent_again() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(3 * CHUNK)).await;
    floor.registry.push("wasm/sub:1", module(2 * CHUNK)).await;
    let mut listener = floor.listen("line").await;
    let replicas = Replicas::of(&floor, Terms::DEFAULT);
    let mut leader = replicas.start("replica-0", floor.client.clone());
    until_held_by(&floor, "replica-0").await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    for number in 1..=3 {
        let name = format!("replica-{number}");
        let next = replicas.start(&name, floor.client.clone());
        soon("a standby that knows everything", next.running.health.until_ready()).await;
        let told = Instant::now();
        let (next_leads, ()) = tokio::join!(
            async {
                soon("the next leader", next.running.health.until(true)).await;
                told.elapsed()
            },
            leader.running.stop(),
        );
        println!("handed over within {next_leads:?}");
        assert_eq!(until_held_by(&floor, &name).await.lease_transitions, Some(number));
        next.check();
        leader = next;
    }

    let both = json!({"artifacts": [{"reference": "wasm/add:1"}, {"reference": "wasm/sub:1"}]});
    floor.apply("line", both).await;
    floor.until_ready("line").await;
    assert_eq!(listener.chunks().await, 3 + 2);
    leader.running.stop().await;
}

#[tokio::test]
async fn a_broker_that_hangs_does_not_keep_the_next_leader_waiting() {
    let mut floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let broker = FaultProxy::to(&floor.broker.host()).await;
    floor.broker_url = Some(format!("mqtt://{}", broker.host));
    let replicas = Replicas::of(&floor, Terms::DEFAULT);
    let first = replicas.start("first", floor.client.clone());
    until_held_by(&floor, "first").await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    let second = replicas.start("second", floor.client.clone());
    soon("a standby that knows everything", second.running.health.until_ready()).await;
    // Something to be acknowledged, so that there is something to wait for.
    broker.stall();
    floor.registry.push("wasm/sub:1", module(CHUNK)).await;
    let both = json!({"artifacts": [{"reference": "wasm/add:1"}, {"reference": "wasm/sub:1"}]});
    floor.apply("line", both).await;
    floor.until("line", |status| status.artifacts.len() == 2).await;
    let told = Instant::now();
    let ((), ()) = tokio::join!(soon("the next leader", second.running.health.until(true)), first.running.stop());
    println!("handed over within {:?}", told.elapsed());
    second.check();
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_ends_before_another_leads() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let faults: [fn(&FaultProxy); 2] = [FaultProxy::stall_all, |obstacle| {
        obstacle.refuse(true);
        obstacle.cut();
    }];
    let replicas = Replicas::of(&floor, short());
    let mut obstacle_before = obstacle().await;
    let mut leader = replicas.start("replica-0", client_through(&obstacle_before).await);
    until_held_by(&floor, "replica-0").await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    for (number, fault) in (1..).zip(faults) {
        let name = format!("replica-{number}");
        let obstacle = obstacle().await;
        let next = replicas.start(&name, client_through(&obstacle).await);
        soon("a standby that knows everything", next.running.health.until_ready()).await;
        fault(&obstacle_before);
        let lost = soon("the end of the leader", leader.running.end()).await.unwrap_err();
        assert!(matches!(&lost, LeaseLost::NotRenewed { lease, .. } if lease.ends_with("/wasmproxy")), "{lost}");
        assert!(lost.to_string().contains("the API server"), "{lost}");
        soon("the next leader", next.running.health.until(true)).await;
        next.check();
        until_held_by(&floor, &name).await;
        (leader, obstacle_before) = (next, obstacle);
    }

    // Whoever leads now works.
    floor.registry.push("wasm/sub:1", module(CHUNK)).await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/sub:1"}]})).await;
    floor.until_ready("line").await;
    leader.running.stop().await;
}

#[tokio::test]
async fn a_leader_whose_connections_break_goes_on() {
    let floor = Floor::start(Mode::InProcess).await;
    let obstacle = obstacle().await;
    let replicas = Replicas::of(&floor, Terms::DEFAULT);
    let first = replicas.start("first", client_through(&obstacle).await);
    let second = replicas.start("second", floor.client.clone());
    let held = until_lease(&floor, |spec| spec.renew_time.is_some()).await;
    for _ in 0..3 {
        let before = until_lease(&floor, |_| true).await;
        obstacle.cut();
        let after = until_lease(&floor, |spec| spec.renew_time > before.renew_time).await;
        assert_eq!(
            (after.holder_identity, after.acquire_time),
            (held.holder_identity.clone(), held.acquire_time.clone())
        );
    }
    first.check();
    second.check();
}

#[tokio::test]
async fn a_lease_that_somebody_takes_is_given_up() {
    let floor = Floor::start(Mode::InProcess).await;
    let replicas = Replicas::of(&floor, short());
    let leader = replicas.start("first", floor.client.clone());
    until_held_by(&floor, "first").await;
    let taken = Patch::Merge(json!({"spec": {"holderIdentity": "somebody"}}));
    leases(&floor).patch("wasmproxy", &PatchParams::default(), &taken).await.unwrap();
    let lost = soon("the end of the leader", leader.running.end()).await.unwrap_err();
    assert!(matches!(&lost, LeaseLost::Taken { holder, .. } if holder == "somebody"), "{lost}");
}

/// A replica as a process, with terms by which one that is lost is soon found out.
fn replica(floor: &Floor, name: &str) -> tokio::process::Command {
    let mut command = program(&[
        "--workers=in-process",
        "--namespace",
        &floor.namespace,
        "--leader-election",
        "--leader-election-namespace",
        &floor.namespace,
        "--leader-election-lease-duration=5s",
        "--leader-election-renew-deadline=3s",
        "--leader-election-retry-period=500ms",
    ]);
    command.env("POD_NAME", name);
    command
}

#[tokio::test]
async fn a_leader_that_is_killed_is_followed_once_its_term_is_over() {
    let floor = Floor::start(Mode::InProcess).await;
    floor.registry.push("wasm/add:1", module(CHUNK)).await;
    let (_dir, path) = kubeconfig(|_| {}).await;
    let first = Process::run(replica(&floor, "first").env("KUBECONFIG", &path));
    first.line("this replica leads").await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/add:1"}]})).await;
    floor.until_ready("line").await;

    let second = Process::run(replica(&floor, "second").env("KUBECONFIG", &path));
    second.line("waiting for the lease: held by first_").await;
    let killed = Instant::now();
    first.signal("KILL");
    let leads = second.line("this replica leads").await;
    println!("taken over after {:?}", killed.elapsed());
    assert_eq!(leads["transitions"], 1);
    floor.registry.push("wasm/sub:1", module(CHUNK)).await;
    floor.apply("line", json!({"artifacts": [{"reference": "wasm/sub:1"}]})).await;
    floor.until_ready("line").await;
}

#[tokio::test]
async fn a_process_that_loses_its_lease_ends_with_one_and_says_why() {
    let floor = Floor::start(Mode::InProcess).await;
    let obstacle = obstacle().await;
    let (_dir, path) = kubeconfig_through(&obstacle).await;
    let leader = Process::run(replica(&floor, "first").env("KUBECONFIG", &path));
    leader.line("this replica leads").await;
    obstacle.stall_all();
    let lines = leader.lines_until(|lines| lines.iter().any(Value::is_string)).await;
    let said = lines.last().unwrap().as_str().unwrap();
    assert!(said.starts_with("wasmproxy: lease ") && said.contains("could not be renewed for 3 s"), "{said}");
    assert!(said.ends_with("the API server does not answer"), "{said}");
    assert_eq!(soon("the end", leader.end()).await.code(), Some(1));
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_once() {
    let floor = Floor::start(Mode::InProcess).await;
    let account = format!("system:serviceaccount:{}:nobody", floor.namespace);
    let (_dir, path) = kubeconfig(|kubeconfig| {
        for user in &mut kubeconfig.auth_infos {
            user.auth_info.as_mut().unwrap().impersonate = Some(account.clone());
        }
    })
    .await;
    let mut command = replica(&floor, "first");
    let process = Process::run(command.arg("--log-level=debug").env("KUBECONFIG", &path));
    let about =
        |line: &Value| line["message"].as_str().is_some_and(|message| message.starts_with("the lease cannot be had"));
    // Each after the first is a retry.
    let lines = process.lines_until(|lines| lines.iter().filter(|line| about(line)).count() >= 4).await;
    let warnings: Vec<_> = lines.iter().filter(|line| about(line) && line["level"] == "WARN").collect();
    let said = warnings[0]["message"].as_str().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in [
        &account,
        "allow get, list, watch, create, update on leases.coordination.k8s.io in namespace",
        &floor.namespace,
        "by a Role and a RoleBinding",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let watch = process.line("resources in namespace").await;
    assert!(watch["message"].as_str().unwrap().contains("allow list, watch on wasmproxies.wasmproxy.io"), "{watch}");
}

#[tokio::test]
async fn a_lease_that_somebody_deletes_is_made_anew_by_its_holder() {
    let floor = Floor::start(Mode::InProcess).await;
    let leader = Replicas::of(&floor, Terms::DEFAULT).start("first", floor.client.clone());
    until_held_by(&floor, "first").await;
    let (_dir, path) = kubeconfig(|_| {}).await;
    let standby = Process::run(replica(&floor, "second").env("KUBECONFIG", &path));
    standby.line("waiting for the lease: held by first").await;

    let uid = leases(&floor).get("wasmproxy").await.unwrap().metadata.uid;
    leases(&floor).delete("wasmproxy", &DeleteParams::default()).await.unwrap();
    let is_new = |lease: Option<&Lease>| lease.is_some_and(|lease| lease.metadata.uid != uid);
    soon("another lease", await_condition(leases(&floor), "wasmproxy", is_new)).await.unwrap();
    let spec = until_held_by(&floor, "first").await;
    assert_eq!(spec.lease_transitions, Some(0), "nobody else has led");
    assert!(leader.running.health.leads());
}

#[tokio::test]
async fn the_rights_that_are_documented_are_enough() {
    let floor = Floor::start(Mode::InProcess).await;
    let lease = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["wasmproxy"],
        "verbs": ["get", "list", "watch", "update"]});
    let any = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]});
    let resources = json!({"apiGroups": ["wasmproxy.io"], "resources": ["wasmproxies"], "verbs": ["list", "watch"]});
    allow(&floor, json!([lease, any, resources])).await;
    let replicas = Replicas::of(&floor, Terms::DEFAULT);
    let first = replicas.start("first", service_account(&floor.namespace).await);
    let spec = until_held_by(&floor, "first").await;
    until_lease(&floor, |now| now.renew_time > spec.renew_time).await;
    let second = replicas.start("second", service_account(&floor.namespace).await);
    first.running.stop().await;
    soon("the next leader", second.running.health.until(true)).await;
    second.check();
}

/// For those who look at the output of these tests: what is promised is three seconds.
#[tokio::test]
async fn a_process_that_is_told_to_end_hands_over() {
    let floor = Floor::start(Mode::InProcess).await;
    let (_dir, path) = kubeconfig(|_| {}).await;
    let first = Process::run(replica(&floor, "first").env("KUBECONFIG", &path));
    first.line("this replica leads").await;
    let second = Process::run(replica(&floor, "second").env("KUBECONFIG", &path));
    second.line("waiting for the lease: held by first_").await;
    let told = Instant::now();
    first.signal("TERM");
    second.line("this replica leads").await;
    let took = told.elapsed();
    println!("handed over within {took:?}");
    first.line("the lease is released").await;
    assert_eq!(first.end().await.code(), Some(0));
}
