//! Parts that are measured by themselves: `benches/hot` calls what is here, and nobody else should.
//!
//! What is part of the interface anyway is measured through that.

pub use crate::{
    registry::hot::manifest,
    worker::hot::{Dispatch, fingerprint},
};
