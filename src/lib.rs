//! `wasmproxy` brings WebAssembly modules from OCI registries to devices that have nothing but MQTT.
//!
//! A `WasmProxy` resource says: *bring these artifacts from this registry to this channel*. The **controller**
//! turns each resource into a **worker**; the worker does the job and reports into the resource's status. It runs in the
//! controller's process, or in one of its own that watches that one resource; it also runs alone, configured by its environment. A **device** is the other end.
//!
//! ```text
//!   OCI registry ──► registry ──► worker ──► mqtt ──► broker ──► device
//!                    (bytes,      (chunks,   (publish,             │
//!                     verified)    progress)  acknowledged)        │
//!                                    ▲                             │
//!                                    └──── requests, receipts ◄────┘
//! ```
//!
//! # The rooms
//!
//! | module | what it is for | knows | never touches |
//! |---|---|---|---|
//! | [`api`] | the resource: spec, status, conditions, their rules | nothing | I/O |
//! | [`protocol`] | topics, requests, chunks, notices, receipts: bytes in, types out and back | nothing | I/O |
//! | [`registry`] | a reference becomes a descriptor, a descriptor becomes verified bytes; credentials, cache | OCI | MQTT, Kubernetes |
//! | [`mqtt`] | a connection that outlives its broker; a publish that ends when the broker has acknowledged it | MQTT | OCI, Kubernetes |
//! | [`worker`] | one channel: requests in, transfers, chunks out, progress | `protocol`, `registry`, `mqtt` | Kubernetes |
//! | [`resource`] | what ties a worker to its resource: spec in, status out | `api`, the worker's front door | OCI, MQTT |
//! | [`controller`] | reconcile one resource: its worker, its status | `api`, `resource` | OCI, MQTT |
//! | [`pod`] | a worker in a process of its own that watches its own resource | `api`, `resource` | OCI, MQTT |
//! | [`device`] | the other end: gather chunks, ask again for what is missing, verify | `protocol`, `mqtt` | the rest |
//! | [`cli`] | one file a subcommand | all | – |
//! | [`telemetry`] | logs and probes | – | – |
//!
//! Dependencies point downwards only. Four small things are shared by all: [`digest::Digest`], what a module *is*,
//! [`tls::TlsOptions`], what a connection trusts, `backoff`, how long whoever failed waits, and
//! `buffers`, which are used again.

#![forbid(unsafe_code)]

pub mod api;
mod backoff;
mod buffers;
pub mod cli;
pub mod controller;
pub mod device;
pub mod digest;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
#[doc(hidden)]
pub mod hot;
pub mod mqtt;
pub mod pod;
pub mod protocol;
pub mod registry;
pub mod resource;
pub mod telemetry;
pub mod tls;
pub mod worker;
