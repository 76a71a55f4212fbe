//! A controller between a real API server, a real broker and a real registry.
//!
//! Each test has a namespace, a broker and a registry of its own, and a controller that watches that namespace. What does not
//! depend on where workers run is tested with workers in the controller's process, and with workers in Pods.

/// Makes two tests of each of these functions, which take a [`Mode`](floor::Mode).
macro_rules! in_both_modes {
    ($($test:ident),+ $(,)?) => {
        mod in_process {
            $(#[tokio::test] async fn $test() { super::$test(crate::controller::floor::Mode::InProcess).await; })+
        }

        mod in_pods {
            $(#[tokio::test] async fn $test() { super::$test(crate::controller::floor::Mode::Pods).await; })+
        }
    };
}

mod backoff;
mod conflicts;
mod events;
mod failures;
pub mod floor;
mod kstatus;
mod lease;
mod lifecycle;
mod namespaces;
mod nodes;
mod pods;
mod probes;
pub mod program;
mod record;
mod replicas;
mod requested;
mod secrets;
