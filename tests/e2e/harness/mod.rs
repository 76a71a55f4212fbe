//! What every test stands on: a turn on the one cluster ([`Cluster`]), a namespace of one's own in it ([`Namespace`]),
//! commands as a user types them ([`shell`]), and a way in from outside ([`Forward`]).
//!
//! Nothing here waits by looking again and again: `kubectl wait`, `kubectl rollout status` and `helm --wait` do, and [`Watch`].

mod cluster;
mod forward;
mod namespace;
mod playground;
pub mod shell;
mod watch;

pub use cluster::{CHART, Cluster, MARK, RELEASE, SYSTEM};
pub use forward::Forward;
pub use namespace::Namespace;
pub use playground::{PASSWORD, Playground};
pub use watch::Watch;
