//! A long run in which everything breaks, at random, and every promise is held to.
//!
//! ```text
//!                            links, which break        way to the broker, which breaks
//!   full devices, old ones ◄────────────────► mosquitto ◄────────────────► worker, a process that is killed
//!                                                 ▲                          │ way to the registry, which breaks
//!   a hostile one ────────────────────────────────┘                          ▼
//!   somebody who pushes ──────────────────────────────────────────────► registry
//! ```
//!
//! - [`Director`](director): one step after the other, each an action chosen by a seeded generator. Steps are paced by what
//!   devices get done meanwhile.
//! - [`floor`]: the servers, and the ways between them.
//! - [`full`], [`old`], [`hostile`]: who is on the channel.
//! - [`ledger`]: what was pushed, and when: what is true.
//! - [`report`]: figures, history, and the first promise that was broken.
//!
//! After the last step nothing breaks any more, and everybody has to come to an end:
//! - a full device holds a module, verified, that its reference has meant at some time; or it was told why not, and what
//!   it was told is true;
//! - an old device never holds anything else than what was pushed under that name, whether it asked for it or not;
//! - the worker never ends unless it is told to;
//! - and the channel still brings every module.
//!
//! `SOAK_SEED` repeats the choices of a run, as far as servers and clocks allow. `SOAK_STEPS` says how many steps it has,
//! `SOAK_MINUTES` for how long they go on. A run that fails leaves its folder, with the worker's log.

mod director;
mod faults;
mod floor;
mod full;
mod hostile;
mod ledger;
mod old;
mod report;

use std::time::Duration;

use director::Director;

/// How long a run goes on.
#[derive(Clone, Copy, Debug)]
enum Length {
    Steps(u64),
    Time(Duration),
}

/// What a run is told.
#[derive(Clone, Copy, Debug)]
struct Settings {
    seed: u64,
    length: Length,
}

impl Settings {
    /// A short run of a new seed, unless the environment says otherwise.
    fn read() -> Self {
        let number = |name| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty());
            value.map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value} is no number")))
        };
        let length = match (number("SOAK_STEPS"), number("SOAK_MINUTES")) {
            (Some(steps), _) => Length::Steps(steps),
            (None, Some(minutes)) => Length::Time(Duration::from_secs(60 * minutes)),
            (None, None) => Length::Steps(30),
        };
        let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
        Self { seed, length }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_ends_with_the_module_or_a_reason_whatever_breaks() {
    let settings = Settings::read();
    println!("soak: SOAK_SEED={}, {:?}", settings.seed, settings.length);
    let mut director = Director::start(settings).await;
    director.run().await;
    director.settle().await;
    println!("{}", director.end().await);
}
