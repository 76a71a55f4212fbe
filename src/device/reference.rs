//! What a device asks for, and what it accepts as an answer.

use std::{fmt, str::FromStr};

use crate::{
    digest::{Digest, InvalidDigest},
    protocol::MAX_APP_NAME,
};

/// An OCI reference as its user wrote it: it goes into requests verbatim, and answers repeat it.
///
/// What it means is the worker's business, but for a digest at its end: then no other module is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    text: String,
    digest: Option<Digest>,
}

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
        &self.text
    }

    /// The digest that it asks for.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
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
        let digest = text.rsplit_once('@').map(|(_, digest)| digest.parse()).transpose()?;
        Ok(Self { text: text.to_owned(), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_asked_for_as_it_was_written() {
        let reference: Reference = "add:1.2".parse().unwrap();
        assert_eq!((reference.as_str(), reference.digest()), ("add:1.2", None));
    }

    #[test]
    fn a_digest_in_a_reference_is_what_it_asks_for() {
        let digest = Digest::of(b"add");
        let reference: Reference = format!("registry.example:5000/add:1.2@{digest}").parse().unwrap();
        assert_eq!(reference.digest(), Some(digest));
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        let long = "a".repeat(MAX_APP_NAME + 1);
        assert_eq!("".parse::<Reference>(), Err(InvalidReference::Empty));
        assert_eq!(long.parse::<Reference>(), Err(InvalidReference::TooLong(MAX_APP_NAME + 1)));
        assert_eq!("add@sha256:12".parse::<Reference>(), Err(InvalidReference::Digest(InvalidDigest)));
    }
}
