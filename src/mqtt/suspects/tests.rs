use Judgement::{Denied, Doubt, Innocent, TooLarge};

use super::*;

const CHUNK: usize = 683_000;

/// A connection with a broker that has taken nothing yet.
#[derive(Default)]
struct Channel(Suspects);

impl Channel {
    /// A broker that has taken chunks and notices.
    fn trusted() -> Self {
        let mut channel = Self::default();
        for (topic, size) in [("chunk", CHUNK), ("error", 200)] {
            let id = channel.sends(topic, size);
            channel.takes(id);
        }
        channel
    }

    fn sends(&mut self, topic: &str, size: usize) -> Id {
        let id = self.0.enter(topic);
        self.0.send(id, size);
        id
    }

    fn takes(&mut self, id: Id) {
        self.0.answered(id);
        self.0.leave(id);
    }

    /// At QoS 0, to the socket.
    fn writes(&mut self, size: usize) {
        let number = self.0.write(size);
        self.0.flushed(number, size);
    }

    /// Loses the connection; what was in flight is sent again, one at a time where there is doubt.
    fn loses(&mut self) -> Judgement {
        self.0.lost(true, false, Instant::now())
    }

    fn admits(&self, topic: &str, size: usize) -> bool {
        self.0.admit(topic, size, Instant::now()).is_ok()
    }
}

#[test]
fn the_third_loss_at_the_same_chunk_convicts_its_size() {
    let mut channel = Channel::default();
    let id = channel.sends("chunk", CHUNK);
    assert_eq!(channel.loses(), Innocent);
    assert_eq!(channel.loses(), Doubt);
    channel.0.send(id, CHUNK);
    assert!(channel.0.isolates());
    assert_eq!(channel.loses(), TooLarge(CHUNK));
    let refused = channel.0.admit("other", CHUNK + 1, Instant::now());
    assert_eq!(refused, Err(PublishError::SeemsTooLarge { size: CHUNK, topic: "other".into() }));
    assert!(channel.admits("chunk", CHUNK - 1));
}

#[test]
fn a_chunk_no_larger_than_one_that_was_taken_is_innocent() {
    let mut channel = Channel::trusted();
    channel.sends("chunk", CHUNK);
    for _ in 1..STUBBORN {
        assert_eq!(channel.loses(), Innocent);
    }
}

#[test]
fn what_was_taken_once_does_not_protect_for_ever() {
    let mut channel = Channel::trusted();
    let id = channel.sends("chunk", CHUNK);
    let judgement = (1..).map(|_| channel.loses()).find(|judgement| *judgement != Innocent);
    assert_eq!(judgement, Some(TooLarge(CHUNK)));
    channel.0.leave(id);
    let smaller = channel.sends("chunk", CHUNK - 1);
    assert_eq!(channel.loses(), Innocent, "what was taken before says nothing against it");
    channel.takes(smaller);
}

#[test]
fn a_loss_for_another_reason_counts_for_nothing() {
    let mut channel = Channel::default();
    channel.sends("chunk", CHUNK);
    for _ in 0..100 {
        assert_eq!(channel.0.lost(false, false, Instant::now()), Innocent);
    }
}

#[test]
fn nobody_is_convicted_for_anothers_doing() {
    let mut channel = Channel::default();
    let (notice, small) = (channel.sends("error", 200), channel.sends("chunk", CHUNK / 2));
    let poison = channel.sends("chunk", CHUNK);
    assert_eq!((channel.loses(), channel.loses()), (Innocent, Doubt));
    for (id, topic, size) in [(notice, "error", 200), (small, "chunk", CHUNK / 2)] {
        channel.0.send(id, size);
        assert!(channel.0.isolates(), "{topic} is sent alone");
        channel.takes(id);
    }
    channel.0.send(poison, CHUNK);
    assert_eq!(channel.loses(), TooLarge(CHUNK));
    assert!(channel.admits("error", 200) && channel.admits("chunk", CHUNK / 2));
    channel.0.leave(poison);
    assert!(!channel.0.isolates());
}

#[test]
fn a_small_message_alone_is_convicted_by_its_topic() {
    let mut channel = Channel::default();
    let chunk = channel.sends("chunk", CHUNK);
    channel.takes(chunk);
    let id = channel.sends("error", 200);
    assert_eq!((channel.loses(), channel.loses()), (Innocent, Doubt));
    channel.0.send(id, 200);
    assert_eq!(channel.loses(), Denied("error".into()));
    assert_eq!(channel.0.admit("error", 1, Instant::now()), Err(PublishError::SeemsDenied { topic: "error".into() }));
    assert!(channel.admits("chunk", CHUNK));
}

#[test]
fn a_broker_that_would_say_what_is_not_allowed_has_to_hang_up_very_often_to_convict_a_topic() {
    let mut channel = Channel::default();
    let id = channel.sends("error", 200);
    for _ in 1..STUBBORN {
        channel.0.send(id, 200);
        assert_eq!(channel.0.lost(true, true, Instant::now()), Innocent);
    }
    channel.0.send(id, 200);
    assert_eq!(channel.0.lost(true, true, Instant::now()), Denied("error".into()));
}

#[test]
fn a_suspect_is_acquitted_by_a_connection_that_is_lost_without_it() {
    let mut channel = Channel::default();
    let id = channel.sends("chunk", CHUNK);
    for _ in 0..10 {
        assert_eq!((channel.loses(), channel.loses()), (Innocent, Doubt));
        assert!(channel.0.is_on_trial(id));
        channel.0.acquit(id);
        assert!(!channel.0.is_on_trial(id));
        channel.0.send(id, CHUNK);
    }
}

#[test]
fn a_chunk_of_a_size_that_was_taken_is_convicted_by_its_topic() {
    let mut channel = Channel::trusted();
    let id = channel.sends("device", CHUNK);
    assert_eq!((channel.loses(), channel.loses()), (Innocent, Doubt));
    channel.0.send(id, CHUNK);
    assert_eq!(channel.loses(), Denied("device".into()));
    assert!(channel.admits("chunk", CHUNK));
}

#[tokio::test(start_paused = true)]
async fn a_conviction_is_put_to_the_test_ever_later_and_one_loss_renews_it() {
    let mut channel = Channel::default();
    let mut id = channel.sends("chunk", CHUNK);
    while !matches!(channel.loses(), TooLarge(_)) {
        channel.0.send(id, CHUNK);
    }
    for hold in [2, 4, 8, 16, 32, 64, 120, 120] {
        channel.0.leave(id);
        tokio::time::advance(Duration::from_secs(hold) - Duration::from_millis(1)).await;
        assert!(!channel.admits("chunk", CHUNK), "{hold}");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(channel.admits("chunk", CHUNK), "{hold}");
        id = channel.sends("chunk", CHUNK + 7);
        assert!(channel.0.isolates(), "it is let through alone");
        assert_eq!(channel.loses(), TooLarge(CHUNK));
    }
    tokio::time::advance(Duration::from_secs(120)).await;
    channel.0.send(id, CHUNK + 7);
    channel.takes(id);
    assert!(channel.admits("chunk", CHUNK + 7) && !channel.0.isolates());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_allowed_again_is_found_out() {
    let mut channel = Channel::trusted();
    let id = channel.sends("complete", 200);
    assert_eq!((channel.loses(), channel.loses()), (Innocent, Doubt));
    channel.0.send(id, 200);
    assert_eq!(channel.loses(), Denied("complete".into()));
    tokio::time::advance(Duration::from_secs(2)).await;
    channel.0.send(id, 200);
    channel.takes(id);
    assert!(channel.admits("complete", 200));
    channel.sends("complete", 200);
    assert_eq!((channel.loses(), channel.loses()), (Innocent, Innocent));
}

#[test]
fn at_qos_0_three_losses_in_a_row_after_something_so_large_convict_the_size() {
    let mut channel = Channel::default();
    let notice = channel.sends("error", 200);
    for size in [CHUNK + 1, CHUNK] {
        channel.0.write(size);
        assert_eq!(channel.loses(), Innocent);
    }
    channel.0.write(CHUNK + 2);
    assert_eq!(channel.loses(), TooLarge(CHUNK));
    assert!(!channel.admits("chunk", CHUNK) && channel.admits("chunk", CHUNK - 1));
    channel.takes(notice);
}

#[test]
fn at_qos_0_an_acknowledgement_or_a_pong_says_that_what_came_before_was_taken() {
    for proof in ["acknowledgement", "pong"] {
        let mut channel = Channel::default();
        channel.writes(CHUNK);
        if proof == "pong" {
            channel.0.ping();
            channel.0.pong();
        } else {
            let id = channel.sends("complete", 200);
            channel.takes(id);
        }
        for _ in 1..STUBBORN {
            channel.0.write(CHUNK);
            assert_eq!(channel.loses(), Innocent, "{proof}");
        }
    }
}

#[test]
fn at_qos_0_what_another_connection_has_heard_proves_nothing() {
    let mut channel = Channel::default();
    channel.writes(CHUNK);
    channel.0.ping();
    let id = channel.sends("complete", 200);
    channel.loses();
    channel.0.pong();
    channel.0.send(id, 200);
    channel.takes(id);
    channel.0.write(CHUNK);
    assert_eq!(channel.loses(), Innocent);
    channel.0.write(CHUNK);
    assert_eq!(channel.loses(), TooLarge(CHUNK));
}

#[test]
fn at_qos_0_a_pong_says_nothing_about_what_may_have_come_after_the_ping() {
    let mut channel = Channel::default();
    for _ in 1..CONVICTED {
        channel.0.write(CHUNK);
        channel.0.ping();
        channel.0.pong();
        assert_eq!(channel.loses(), Innocent);
    }
    channel.0.write(CHUNK);
    assert_eq!(channel.loses(), TooLarge(CHUNK));
}

#[test]
fn at_qos_0_much_that_is_written_after_it_says_that_something_was_taken() {
    let mut channel = Channel::default();
    for _ in 0..STUBBORN * 2 {
        for _ in 0..2 + written::PIPE / CHUNK {
            channel.writes(CHUNK);
        }
        assert_eq!(channel.loses(), Innocent);
    }
}

#[test]
fn at_qos_0_what_was_written_to_another_connection_is_not_proven_by_what_follows() {
    let mut channel = Channel::default();
    let late = channel.0.write(CHUNK * 2);
    channel.loses();
    channel.0.flushed(late, CHUNK * 2);
    for _ in 0..2 + written::PIPE / CHUNK {
        channel.writes(CHUNK);
    }
    assert_eq!(channel.0.taken, CHUNK);
}

#[test]
fn at_qos_0_what_was_taken_once_does_not_protect_for_ever() {
    let mut channel = Channel::trusted();
    for loss in 1..=STUBBORN {
        channel.writes(CHUNK);
        let judgement = channel.loses();
        assert_eq!(judgement, if loss < STUBBORN { Innocent } else { TooLarge(CHUNK) }, "{loss}");
    }
    channel.writes(CHUNK - 1);
    assert_eq!(channel.loses(), Innocent, "what was taken before says nothing against it");
}

#[test]
fn at_qos_0_what_is_taken_again_is_protected_again() {
    let mut channel = Channel::trusted();
    for loss in 1..STUBBORN * 3 {
        channel.writes(CHUNK);
        if loss % (STUBBORN - 1) == 0 {
            channel.0.ping();
            channel.0.pong();
        }
        assert_eq!(channel.loses(), Innocent, "{loss}");
    }
}

#[test]
fn at_qos_0_losses_that_another_is_convicted_for_count_for_nothing() {
    let mut channel = Channel::trusted();
    let id = channel.sends("denied", 200);
    for _ in 1..STUBBORN {
        channel.writes(CHUNK);
        channel.0.send(id, 200);
        channel.loses();
    }
    assert!(!channel.admits("denied", 200));
    channel.0.leave(id);
    channel.writes(CHUNK);
    assert_eq!(channel.loses(), Innocent);
}

#[test]
fn a_topic_in_use_is_not_forgotten_for_new_ones() {
    let mut channel = Channel::default();
    for number in 0..MAX_TOPICS * 2 {
        for topic in ["chunk", &number.to_string()] {
            let id = channel.sends(topic, 200);
            channel.takes(id);
        }
    }
    let id = channel.sends("chunk", 200);
    for _ in 1..STUBBORN {
        assert_eq!(channel.loses(), Innocent);
        channel.0.send(id, 200);
    }
}

#[test]
fn topics_are_remembered_within_a_bound() {
    let mut channel = Channel::default();
    for number in 0..MAX_TOPICS * 2 {
        let id = channel.sends(&number.to_string(), 200);
        channel.takes(id);
    }
    assert_eq!((channel.0.allowed.len(), channel.0.open.len()), (MAX_TOPICS, 0));
}
