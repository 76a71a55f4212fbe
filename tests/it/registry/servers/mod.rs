//! What the tests talk to where no real registry will do, or it is not enough.

pub mod stand_in;
pub mod token;
