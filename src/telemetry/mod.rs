//! Logs and probes.
