//! Of the servers that other tests have (`tests/it/lab`), broker and registry, without what tests those.

#[path = "../it/lab/access.rs"]
mod access;
#[path = "../it/lab/broker.rs"]
mod broker;
#[path = "../it/lab/registry.rs"]
mod registry;
#[path = "../it/lab/server.rs"]
mod server;
#[path = "../it/lab/service.rs"]
mod service;

pub use access::{Transport, User};
use access::{change_password, user_options};
pub use broker::{Broker, BrokerConfig};
pub use registry::Registry;
pub use server::Server;
pub use service::Service;
