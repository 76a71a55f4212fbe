use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::resource::fixtures::{at, resource};

/// A resource on the channel `floor-1` of the broker at this address.
fn on(url: &str) -> WasmProxy {
    resource(&json!({"broker": {"url": url}}))
}

fn spec(fields: &Value) -> Option<Channel> {
    Channel::of(&resource(fields))
}

fn claimant(uid: &str, created: i64) -> Claimant {
    let created = at(created).0;
    Claimant { created, namespace: "edge".to_owned(), name: uid.to_owned(), uid: uid.to_owned() }
}

fn channel(id: &str) -> Option<Channel> {
    Some(spec(&json!({"channel": {"id": id}})).unwrap())
}

fn names(woken: &Woken) -> Vec<&str> {
    woken.iter().map(|claimant| claimant.name.as_str()).collect()
}

#[test]
fn one_broker_in_several_spellings_is_one() {
    let channel = Channel::of(&on("mqtt://broker.example"));
    for url in ["mqtt://broker.example:1883", "mqtt://Broker.Example", "mqtt://broker.example/"] {
        assert_eq!(Channel::of(&on(url)), channel, "{url}");
    }
    for url in ["mqtts://broker.example", "mqtt://broker.example:1884", "mqtt://other.example"] {
        assert_ne!(Channel::of(&on(url)), channel, "{url}");
    }
}

#[test]
fn one_channel_in_several_spellings_is_one() {
    let outright = spec(&json!({"channel": {"id": "x", "topicPrefix": "channels/floor-1/messages"}}));
    assert_eq!(outright, spec(&json!({"channel": {"id": "floor-1"}})));
    assert_ne!(outright, spec(&json!({"channel": {"id": "floor-1", "tenant": "acme"}})));
}

#[test]
fn who_is_suspended_or_goes_or_cannot_be_served_means_no_channel() {
    assert_eq!(spec(&json!({"suspend": true})), None);
    assert_eq!(spec(&json!({"channel": {"id": "+"}})), None);
    assert_eq!(Channel::of(&on("ws://broker.example")), None);
    let mut going = resource(&json!({}));
    going.metadata.deletion_timestamp = Some(at(9));
    assert_eq!(Channel::of(&going), None);
}

#[test]
fn the_oldest_has_the_channel_whoever_came_first() {
    let mut claims = Claims::default();
    assert_eq!(names(&claims.claim(claimant("young", 2), channel("a"))), ["young"]);
    assert_eq!(claims.rival("young"), None);
    assert_eq!(names(&claims.claim(claimant("old", 1), channel("a"))), ["old", "young"]);
    assert_eq!((claims.rival("old"), claims.rival("young")), (None, Some(&claimant("old", 1))));
    assert!(claims.claim(claimant("youngest", 3), channel("a")).is_empty(), "nothing changes for the others");
    assert_eq!(claims.rival("youngest"), Some(&claimant("old", 1)));
}

#[test]
fn of_the_same_age_the_name_decides() {
    let mut claims = Claims::default();
    claims.claim(claimant("b", 1), channel("a"));
    claims.claim(claimant("a", 1), channel("a"));
    assert_eq!((claims.rival("a"), claims.rival("b")), (None, Some(&claimant("a", 1))));
}

#[test]
fn the_next_gets_the_channel_when_the_oldest_leaves_it_and_loses_it_when_it_comes_back() {
    let mut claims = Claims::default();
    claims.claim(claimant("old", 1), channel("a"));
    claims.claim(claimant("young", 2), channel("a"));
    for elsewhere in [None, channel("b")] {
        let woken = claims.claim(claimant("old", 1), elsewhere);
        assert!(names(&woken).contains(&"young"), "{woken:?}");
        assert_eq!(claims.rival("young"), None);
        let woken = claims.claim(claimant("old", 1), channel("a"));
        assert!(names(&woken).contains(&"young"), "{woken:?}");
        assert_eq!(claims.rival("young"), Some(&claimant("old", 1)));
    }
    assert_eq!(names(&claims.release("old")), ["young"]);
    assert_eq!(claims.rival("young"), None);
}

#[test]
fn what_is_said_again_wakes_nobody() {
    let mut claims = Claims::default();
    claims.claim(claimant("a", 1), channel("a"));
    assert!(claims.claim(claimant("a", 1), channel("a")).is_empty());
    assert!(claims.release("unknown").is_empty());
}

#[test]
fn who_is_gone_while_nobody_watched_leaves_the_channel() {
    let mut claims = Claims::default();
    claims.claim(claimant("old", 1), channel("a"));
    claims.claim(claimant("young", 2), channel("a"));
    assert_eq!(names(&claims.retain(|claimant| claimant.uid == "young")), ["young"]);
    assert_eq!(claims.rival("young"), None);
}

#[test]
fn copies_without_number_wake_a_few() {
    let mut claims = Claims::default();
    let mut woken = 0;
    for i in 0..5000 {
        woken += claims.claim(claimant(&format!("{i:04}"), 5000 - i), channel("a")).len();
    }
    for i in (0..5000).rev() {
        woken += claims.release(&format!("{i:04}")).len();
    }
    assert!(woken <= 2 * 5000 * (1 + TOLD_AT_ONCE), "{woken}");
    assert!(claims.channels.is_empty() && claims.claims.is_empty());
}

proptest! {
    /// Whatever happens in whatever order, each channel has the oldest of those that mean it, and whoever's turn has changed
    /// was woken.
    #[test]
    fn each_channel_is_the_oldests_and_who_gets_or_loses_it_is_woken(
        steps in proptest::collection::vec((0..6usize, 0..4usize), 0..60),
    ) {
        let uids: Vec<String> = (0..6).map(|i| i.to_string()).collect();
        let ages = [3, 1, 4, 1, 5, 9];
        let channels = [None, channel("a"), channel("b"), channel("c")];
        let (mut claims, mut meant) = (Claims::default(), vec![0; 6]);
        for (who, what) in steps {
            let rivals = |claims: &Claims| uids.iter().map(|uid| claims.rival(uid).cloned()).collect::<Vec<_>>();
            let before = rivals(&claims);
            let woken = claims.claim(claimant(&uids[who], ages[who]), channels[what].clone());
            meant[who] = what;
            let after = rivals(&claims);
            for i in 0..6 {
                let mates = (0..6).filter(|j| meant[*j] == meant[i] && meant[i] != 0);
                let oldest = mates.min_by_key(|j| (ages[*j], &uids[*j])).filter(|oldest| *oldest != i);
                prop_assert_eq!(after[i].as_ref().map(|rival| &rival.uid), oldest.map(|oldest| &uids[oldest]));
                if i != who && before[i] != after[i] {
                    prop_assert!(woken.iter().any(|claimant| claimant.uid == uids[i]));
                }
            }
        }
    }
}
