//! What devices may ask for.

use globset::{GlobBuilder, GlobMatcher};

use crate::registry::Reference;

/// Patterns on fully qualified references: `*` stands for anything within a path segment, `**` for anything at all.
#[derive(Debug, Clone)]
pub struct AllowList {
    patterns: Vec<String>,
    matchers: Vec<GlobMatcher>,
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} cannot be read: {message}")]
pub struct InvalidPattern {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub message: String,
}

impl AllowList {
    /// A list of patterns, such as `registry.example/wasm/**`.
    ///
    /// # Errors
    /// Where one of them is no pattern.
    pub fn new<P: Into<String>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, InvalidPattern> {
        let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        let matchers = patterns
            .iter()
            .map(|pattern| match GlobBuilder::new(pattern).literal_separator(true).build() {
                Ok(glob) => Ok(glob.compile_matcher()),
                Err(error) => Err(InvalidPattern { pattern: pattern.clone(), message: error.kind().to_string() }),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns, matchers })
    }

    /// Anything under a registry.
    ///
    /// # Errors
    /// Where the host makes no pattern.
    pub fn anything_under(host: &str) -> Result<Self, InvalidPattern> {
        Self::new([format!("{host}/**")])
    }

    /// Whether a device may ask for `reference`.
    pub fn allows(&self, reference: &Reference) -> bool {
        let text = reference.to_string();
        self.matchers.iter().any(|matcher| matcher.is_match(&text))
    }

    /// The patterns as they were written.
    pub fn patterns(&self) -> &[String] {
        &self.patterns
    }
}

impl PartialEq for AllowList {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(pattern: &str, reference: &str) -> bool {
        AllowList::new([pattern]).unwrap().allows(&Reference::parse(reference, "registry.example").unwrap())
    }

    #[test]
    fn two_stars_stand_for_anything() {
        assert!(allows("registry.example/wasm/**", "registry.example/wasm/a/b:1"));
        assert!(allows("registry.example/**", "add"));
        assert!(!allows("registry.example/wasm/**", "registry.example/other/a:1"));
        assert!(!allows("registry.example/**", "evil.example/registry.example/a"));
    }

    #[test]
    fn one_star_stays_within_a_segment() {
        assert!(allows("registry.example/wasm/*:1", "registry.example/wasm/a:1"));
        assert!(!allows("registry.example/wasm/*:1", "registry.example/wasm/a/b:1"));
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        assert_eq!(AllowList::new(["a[".to_owned()]).unwrap_err().pattern, "a[");
    }
}
