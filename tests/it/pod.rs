//! A worker that watches its own resource, with the rights of one: between a real API server, broker and registry, and a
//! directory of Secrets. No controller runs; where one is needed, a test plays it.

mod floor;
mod lifecycle;
mod outages;
mod program;
mod rest;
mod secrets;
