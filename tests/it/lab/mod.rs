//! Real servers for tests, each on a port and in a folder of its own, so that tests run in parallel.
//!
//! - [`ControlPlane::shared`]: etcd, kube-apiserver and kube-controller-manager with our CRD, started once for all
//!   tests; a test asks it for a namespace of its own.
//! - [`Kubelet`]: a stand-in for scheduler and kubelet, which runs the Pods of a namespace as processes.
//! - [`Broker`]: mosquitto, with whatever users, TLS and settings a test is about; and those of other [`Maker`]s.
//! - [`Registry`]: docker-registry, the same, with a helper to push modules.
//! - [`Pki`]: certificates beyond those that a broker or a registry makes for itself.
//! - [`OddBroker`]: mosquitto with the manners of other brokers.
//! - [`tool`]: what people push artifacts with, oras and skopeo, and what they install with, helm and kubectl.
//! - [`FaultProxy`]: what gets in the way between one of these and its clients.
//!
//! A server is run by a script in `tests/lab/`, the same that `make demo` uses, and that anybody can start by hand.
//! It ends when its value is dropped, and with the test process, however that ends.

mod access;
mod broker;
mod control_plane;
mod fault;
mod helm;
mod kubelet;
mod odd_broker;
mod pki;
mod registry;
mod server;
mod service;
mod tests;
mod tool;

pub use access::{Transport, User};
use access::{change_password, user_options};
pub use broker::{Broker, BrokerConfig, Maker};
pub use control_plane::ControlPlane;
pub use fault::{Direction, FaultProxy};
pub use helm::{Administrator, chart, helm, template, try_template};
pub use kubelet::{Container, Kubelet};
pub use odd_broker::{Manner, OddBroker};
pub use pki::Pki;
pub use registry::{Registry, RegistryConfig};
pub use server::{Server, free_port, repository};
pub use service::Service;
pub use tool::tool;
