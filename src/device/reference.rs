//! What a device asks for, and what it accepts as an answer.

use std::{fmt, str::FromStr};

use crate::{
    digest::{Digest, InvalidDigest},
    protocol::MAX_APP_NAME,
};

/// An OCI reference as its user wrote it: it goes into requests verbatim, and answers repeat it.
///
/// What it means is the worker's business. A digest at its end is that of the artifact's manifest, which the worker
/// verifies; a device knows the module's own alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference(String);

/// Why a text is no reference that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// No text at all.
    #[error("the reference is empty: write one as in registry.example/wasm/add:1.2")]
    Empty,
    /// Longer than a request may say.
    #[error("the reference is {0} bytes long; a request holds at most {MAX_APP_NAME}")]
    TooLong(usize),
    /// Something else than a digest after `@`.
    #[error("the reference's part after `@` is no digest: {0}")]
    Digest(#[from] InvalidDigest),
}

impl Reference {
    /// The text, which is a request's `app_name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        if text.is_empty() {
            return Err(InvalidReference::Empty);
        }
        if text.len() > MAX_APP_NAME {
            return Err(InvalidReference::TooLong(text.len()));
        }
        if let Some((_, digest)) = text.rsplit_once('@') {
            digest.parse::<Digest>()?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_asked_for_as_it_was_written() {
        let pinned = format!("registry.example:5000/add:1.2@{}", Digest::of(b"manifest"));
        for text in ["add:1.2", &pinned] {
            assert_eq!(text.parse::<Reference>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let long = "a".repeat(MAX_APP_NAME + 1);
        assert_eq!("".parse::<Reference>(), Err(InvalidReference::Empty));
        assert_eq!(long.parse::<Reference>(), Err(InvalidReference::TooLong(MAX_APP_NAME + 1)));
        assert_eq!("add@sha256:12".parse::<Reference>(), Err(InvalidReference::Digest(InvalidDigest)));
    }
}
