//! What the tests talk to.

pub mod certificates;
pub mod fault;
pub mod registry;
pub mod stand_in;
pub mod token;
