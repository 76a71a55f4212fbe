//! What a user does, on a cluster with nodes: `helm install`, `kubectl apply`, and what the documents say to type. Nothing
//! here knows more of the operator than its image, its chart and its examples.
//!
//! `make e2e` starts a cluster and runs them on it; `KUBECONFIG=… make e2e` runs them on another one, which must be able to
//! run the image, and which they leave without a trace. They need `helm`, `kubectl` and `oras`.
//!
//! [`harness`] takes turns and runs commands; every other module is about one thing that users do.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a helper that cannot go on fails its test, and says where")]

mod documents;
mod examples;
mod full;
mod harness;
mod installing;
mod leftovers;
mod looking;
mod losses;
mod midway;
#[path = "../it/modules.rs"]
mod modules;
mod secrets;
mod sidecars;
mod status;
