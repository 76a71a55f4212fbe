use k8s_openapi::jiff::Timestamp;

use super::*;

const TERMS: Terms = Terms::DEFAULT;

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

fn time(second: i64) -> MicroTime {
    MicroTime(Timestamp::from_second(second).unwrap())
}

fn candidate(identity: &str) -> Candidate {
    Candidate::new(identity.to_owned(), TERMS)
}

/// What the API server makes of it: every write has another version.
fn stored(mut lease: Lease, version: u64) -> Lease {
    lease.metadata.resource_version = Some(version.to_string());
    lease
}

/// `a` leads since `start`, and `b` has seen that then.
fn two(start: Instant) -> (Candidate, Candidate) {
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    a.observe(None, start);
    assert_eq!(a.step(start), Step::Claim);
    let lease = stored(a.claim(time(0)), 1);
    a.taken(lease.clone(), start);
    b.observe(Some(lease), start);
    (a, b)
}

fn spec(lease: Option<&Lease>) -> &LeaseSpec {
    lease.unwrap().spec.as_ref().unwrap()
}

#[test]
fn it_looks_before_it_claims() {
    assert_eq!(candidate("a").step(Instant::now()), Step::Look);
}

#[test]
fn where_there_is_no_lease_it_is_made() {
    let now = Instant::now();
    let (a, _) = two(now);
    let spec = spec(a.lease());
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_duration_seconds), (Some("a"), Some(15)));
    assert_eq!((spec.lease_transitions, spec.acquire_time.clone()), (Some(0), Some(time(0))));
    assert!(a.leads());
}

#[test]
fn a_leader_renews_every_two_seconds_and_says_since_when_it_leads() {
    let start = Instant::now();
    let (mut a, _) = two(start);
    assert_eq!(a.step(after(start, 0.1)), Step::Wait(after(start, 2.0)));
    assert_eq!(a.step(after(start, 2.0)), Step::Claim);
    let renewed = a.claim(time(2));
    assert_eq!(
        renewed.metadata.resource_version.as_deref(),
        Some("1"),
        "the version that was seen is the precondition"
    );
    a.taken(stored(renewed, 2), after(start, 2.0));
    let spec = spec(a.lease());
    assert_eq!((spec.acquire_time.clone(), spec.renew_time.clone()), (Some(time(0)), Some(time(2))));
    assert_eq!(spec.lease_transitions, Some(0));
    assert_eq!(a.step(after(start, 3.0)), Step::Wait(after(start, 4.0)));
}

#[test]
fn a_standby_waits_until_the_record_has_not_changed_for_as_long_as_it_says() {
    let start = Instant::now();
    let (a, mut b) = two(start);
    assert_eq!(b.step(after(start, 1.0)), Step::Wait(after(start, 15.0)));
    b.observe(Some(stored(a.claim(time(2)), 2)), after(start, 3.0));
    assert_eq!(b.step(after(start, 17.9)), Step::Wait(after(start, 18.0)));
    assert_eq!(b.step(after(start, 18.0)), Step::Claim);
    let claim = b.claim(time(20));
    assert_eq!(claim.metadata.resource_version.as_deref(), Some("2"));
    let spec = spec(Some(&claim));
    assert_eq!((spec.lease_transitions, spec.acquire_time.clone()), (Some(1), Some(time(20))));
}

#[test]
fn no_clock_but_its_own_counts() {
    let start = Instant::now();
    for far in [-1_000_000, 1_000_000] {
        let (a, mut b) = two(start);
        b.observe(Some(stored(a.claim(time(far)), 2)), after(start, 1.0));
        assert_eq!(b.step(after(start, 15.9)), Step::Wait(after(start, 16.0)));
    }
}

#[test]
fn what_is_written_beside_the_record_is_no_sign_of_life() {
    let start = Instant::now();
    let (_, mut b) = two(start);
    let mut touched = stored(b.lease().unwrap().clone(), 9);
    touched.metadata.labels = Some([("somebody".to_owned(), "was-here".to_owned())].into());
    b.observe(Some(touched), after(start, 14.0));
    assert_eq!(b.step(after(start, 15.0)), Step::Claim);
    assert_eq!(b.claim(time(15)).metadata.resource_version.as_deref(), Some("9"));
    assert!(b.claim(time(15)).metadata.labels.is_some(), "what others wrote stays");
}

#[test]
fn a_lease_that_somebody_deletes_ends_nobodys_term() {
    let start = Instant::now();
    let (mut a, mut b) = two(start);
    b.observe(None, after(start, 1.0));
    assert_eq!(b.step(after(start, 14.0)), Step::Wait(after(start, 15.0)));
    a.observe(None, after(start, 2.0));
    assert_eq!(a.step(after(start, 2.0)), Step::Claim, "the holder makes it anew");
    assert_eq!(a.claim(time(2)).metadata.resource_version, None);
}

/// As a manifest has it, or whoever replaces it with that.
fn emptied(version: u64) -> Lease {
    stored(Lease { spec: Some(LeaseSpec::default()), ..Lease::default() }, version)
}

#[test]
fn a_lease_that_somebody_empties_ends_nobodys_term() {
    let start = Instant::now();
    let (mut a, mut b) = two(start);
    b.observe(Some(emptied(9)), after(start, 1.0));
    assert_eq!(b.step(after(start, 14.0)), Step::Wait(after(start, 15.0)));
    a.observe(Some(emptied(9)), after(start, 2.0));
    assert_eq!(a.step(after(start, 2.0)), Step::Claim, "the holder writes it anew");
    assert_eq!(a.claim(time(2)).metadata.resource_version.as_deref(), Some("9"));
}

#[test]
fn a_lease_that_nobody_has_written_to_is_claimed_at_once() {
    let now = Instant::now();
    for lease in [emptied(1), Lease { spec: None, ..emptied(1) }] {
        let mut a = candidate("a");
        a.observe(Some(lease), now);
        assert_eq!(a.step(now), Step::Claim);
        assert_eq!(spec(Some(&a.claim(time(0)))).lease_transitions, Some(0));
    }
}

#[test]
fn a_lease_that_was_released_is_claimed_at_once() {
    let start = Instant::now();
    let (a, mut b) = two(start);
    let released = a.release(time(3)).unwrap();
    let released_spec = released.spec.as_ref().unwrap();
    assert_eq!((released_spec.holder_identity.as_deref(), released_spec.lease_duration_seconds), (Some(""), Some(1)));
    b.observe(Some(stored(released, 2)), after(start, 3.0));
    assert_eq!(b.step(after(start, 3.0)), Step::Claim);
    assert_eq!(spec(Some(&b.claim(time(3)))).lease_transitions, Some(1));
    assert_eq!(b.release(time(3)), None, "what is not ours we do not release");
}

#[test]
fn who_was_outrun_looks_and_waits_again() {
    let start = Instant::now();
    let (a, mut b) = two(start);
    let renewed = stored(a.claim(time(14)), 2);
    assert_eq!(b.step(after(start, 15.0)), Step::Claim);
    b.outrun();
    assert_eq!(b.step(after(start, 15.0)), Step::Look);
    b.observe(Some(renewed), after(start, 15.1));
    assert_eq!(b.step(after(start, 15.1)), Step::Wait(after(start, 30.1)));
}

#[test]
fn a_claim_that_was_taken_without_an_answer_is_found_and_made_again() {
    let start = Instant::now();
    let (_, mut b) = two(start);
    let sent = after(start, 15.0);
    let claim = stored(b.claim(time(15)), 2);
    b.failed(sent);
    assert_eq!(b.step(after(start, 16.0)), Step::Wait(after(start, 17.0)));
    assert_eq!(b.step(after(start, 17.0)), Step::Claim);
    b.outrun();
    b.observe(Some(claim), after(start, 17.1));
    assert!(!b.leads(), "how much of the term is left is not known");
    assert_eq!(b.step(after(start, 17.1)), Step::Claim);
}

#[test]
fn who_cannot_renew_tries_until_the_deadline_and_gives_up_before_anybody_else_begins() {
    let start = Instant::now();
    let (mut a, b) = two(start);
    let mut tried = 0;
    let mut now = after(start, 2.0);
    while a.step(now) != Step::Lost {
        match a.step(now) {
            Step::Claim => {
                tried += 1;
                let patience = a.patience(now);
                assert!(now + patience <= after(start, 10.0), "a request outlives the deadline");
                a.failed(now);
                now += patience.min(Duration::from_millis(100));
            }
            Step::Wait(until) => now = until,
            step => panic!("{step:?}"),
        }
    }
    assert_eq!((tried, now), (4, after(start, 10.0)));
    assert_eq!(b.step(now), Step::Wait(after(start, 15.0)));
}

#[test]
fn a_term_counts_from_before_the_claim_was_sent() {
    let start = Instant::now();
    let (mut a, mut b) = two(start);
    let (sent, written) = (after(start, 2.0), after(start, 6.0));
    let lease = stored(a.claim(time(2)), 2);
    b.observe(Some(lease.clone()), written);
    a.taken(lease, sent);
    assert_eq!(a.step(after(start, 12.0)), Step::Lost);
    assert_eq!(b.step(after(start, 12.0)), Step::Wait(after(start, 21.0)));
}

#[test]
fn a_program_that_was_held_up_gives_up_first_thing() {
    let start = Instant::now();
    let (a, _) = two(start);
    assert_eq!(a.step(after(start, 60.0)), Step::Lost);
}

#[test]
fn a_lease_that_another_has_taken_is_lost() {
    let start = Instant::now();
    for other in ["b", ""] {
        let (mut a, _) = two(start);
        let mut taken = a.lease().unwrap().clone();
        taken.spec.as_mut().unwrap().holder_identity = Some(other.to_owned());
        a.outrun();
        assert_eq!(a.step(after(start, 2.0)), Step::Look);
        a.observe(Some(stored(taken, 7)), after(start, 2.0));
        assert_eq!(a.step(after(start, 2.0)), Step::Lost);
    }
}

#[test]
fn a_record_is_good_for_as_long_as_its_writer_said() {
    let start = Instant::now();
    let (a, mut b) = two(start);
    let mut longer = a.claim(time(1));
    longer.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    b.observe(Some(stored(longer, 2)), start);
    assert_eq!(b.step(start), Step::Wait(after(start, 60.0)));
}
