//! What is measured of reading what a registry says: see [`crate::hot`].

use super::artifact::{Manifest, select_entry, select_layer};

/// Reads a manifest or an index, and says whether there is something in it that we would bring.
pub fn manifest(json: &[u8], content_type: &str) -> bool {
    match Manifest::parse(json, Some(content_type)) {
        Ok(Manifest::Image(image)) => select_layer(&image).is_ok(),
        Ok(Manifest::Index(index)) => select_entry(&index).is_ok(),
        Err(_) => false,
    }
}
