//! The chart's `ValidatingAdmissionPolicy` for Secrets, in force in a namespace of each test's own.
//!
//! The API server looks at caches, which are moments behind: so a test waits for the first answer of the kind it expects,
//! and asks for others only when that has shown what the caches hold.

mod fence;
mod references;
mod secrets;
mod wasmproxies;
