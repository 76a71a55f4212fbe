//! What people write to name an artifact, made fully qualified.

use std::{fmt, sync::Arc};

use crate::digest::Digest;

/// The longest reference, as written and fully qualified, in bytes.
const MAX_LEN: usize = 512;

/// The longest repository, as registries take it, in bytes.
const MAX_REPOSITORY_LEN: usize = 255;

const DOCKER_HUB: &str = "docker.io";

/// A fully qualified OCI reference, valid by construction: `host/repository`, and a tag, a digest or both.
///
/// With both, the digest decides and the tag only informs. Clones are cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference(Arc<Parts>);

#[derive(PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Parts {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Longer than 512 bytes, as written or fully qualified.
    #[error("a reference is at most {MAX_LEN} bytes")]
    TooLong,
    /// The host, in the reference or by default, is no host name with an optional port.
    #[error("a registry is a host name and an optional port, as in `registry.example:5000`")]
    Host,
    /// The rest is no repository with an optional tag and digest.
    #[error("a reference is `host/repository:tag` or `host/repository@sha256:…`, the repository in lower case")]
    Grammar,
    /// The digest is of another algorithm, or not in lower case.
    #[error(transparent)]
    Digest(#[from] crate::digest::InvalidDigest),
}

impl Reference {
    /// Reads a reference; one without a host is taken under `default_host`, one without tag and digest means `:latest`.
    ///
    /// What stands before the first `/` is a host if it holds a `.` or a `:`, or is `localhost` (docker's rule), or is
    /// the default host itself.
    ///
    /// # Errors
    /// Where the text or `default_host` does not keep to the grammar.
    pub fn parse(text: &str, default_host: &str) -> Result<Self, InvalidReference> {
        if text.len() > MAX_LEN {
            return Err(InvalidReference::TooLong);
        }
        let (host, rest) = match text.split_once('/') {
            Some((first, rest)) if is_host(first) || first == default_host => (first, rest),
            _ => (default_host, text),
        };
        let host = canonical_host(host)?;
        let (name, digest) = split(rest, '@');
        let (repository, tag) = split(name, ':');
        if !is_repository(repository) || !tag.is_none_or(is_tag) {
            return Err(InvalidReference::Grammar);
        }
        let digest = digest.map(str::parse).transpose()?;
        let tag = tag.or_else(|| digest.is_none().then_some("latest")).map(str::to_owned);
        let repository = match repository {
            official if host == DOCKER_HUB && !official.contains('/') => format!("library/{official}"),
            repository => repository.to_owned(),
        };
        let reference = Self(Arc::new(Parts { host, repository, tag, digest }));
        if reference.to_string().len() > MAX_LEN { Err(InvalidReference::TooLong) } else { Ok(reference) }
    }

    /// The registry as people name it: `host` or `host:port`, in lower case.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// The path of the repository in its registry.
    pub fn repository(&self) -> &str {
        &self.0.repository
    }

    /// The tag, where one was given or meant.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag.as_deref()
    }

    /// The digest of the manifest that this reference is pinned to.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.host, self.0.repository)?;
        if let Some(tag) = &self.0.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.0.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

/// `host[:port]` in lower case, Docker Hub under the one name that its references carry.
pub(super) fn canonical_host(text: &str) -> Result<String, InvalidReference> {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let port_is_valid = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    // The URL standard refuses some names of valid labels, such as `1.2.3.999`.
    let is_contactable = || url::Url::parse(&format!("https://{text}/")).is_ok();
    if name.len() > 253 || !name.split('.').all(is_label) || !port_is_valid || !is_contactable() {
        return Err(InvalidReference::Host);
    }
    Ok(match text.to_ascii_lowercase() {
        host if host == "index.docker.io" || host == "registry-1.docker.io" => DOCKER_HUB.to_owned(),
        host => host,
    })
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// What stands before the first `mark`, and behind it.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

// The grammar of a repository and a tag is the distribution specification's ("Pulling manifests"), without a regular
// expression: compiling one that counts to 128 was most of what a worker did until it was up.

fn is_repository(text: &str) -> bool {
    text.len() <= MAX_REPOSITORY_LEN && text.split('/').all(is_component)
}

/// Lower-case letters and digits, between two of which there may be one `.`, one or two `_`, or any number of `-`.
fn is_component(text: &str) -> bool {
    let mut between = text.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_framed = between.next() == Some("") && between.next_back() == Some("");
    is_framed && between.all(|separator| matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-'))
}

fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && !text.starts_with(['.', '-'])
}

/// Where a host's registry answers: Docker Hub's is not at the name that its references carry.
pub(super) fn endpoint(host: &str) -> &str {
    if host == DOCKER_HUB { "registry-1.docker.io" } else { host }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn qualified(text: &str) -> String {
        Reference::parse(text, "registry.example").unwrap().to_string()
    }

    #[test]
    fn a_reference_without_a_host_is_taken_under_the_default_host() {
        assert_eq!(qualified("wasm/add:1.2"), "registry.example/wasm/add:1.2");
        assert_eq!(qualified("add"), "registry.example/add:latest");
        assert_eq!(Reference::parse("add", "registry").unwrap().to_string(), "registry/add:latest");
    }

    #[test]
    fn what_looks_like_a_host_is_one() {
        assert_eq!(qualified("other.example/add"), "other.example/add:latest");
        assert_eq!(qualified("LOCALHOST:5000/add:1"), "localhost:5000/add:1");
        assert_eq!(qualified("localhost/add"), "localhost/add:latest");
        assert_eq!(Reference::parse("registry/add", "registry").unwrap().to_string(), "registry/add:latest");
    }

    #[test]
    fn a_tag_may_look_like_a_port() {
        assert_eq!(qualified("localhost:5000"), "registry.example/localhost:5000");
    }

    #[test]
    fn docker_hub_has_one_name_and_its_official_repositories() {
        assert_eq!(qualified("docker.io/add"), "docker.io/library/add:latest");
        assert_eq!(qualified("index.docker.io/team/add"), "docker.io/team/add:latest");
        assert_eq!(endpoint("docker.io"), "registry-1.docker.io");
    }

    #[test]
    fn a_digest_stands_beside_the_tag_or_in_its_place() {
        let pinned = Reference::parse(&format!("add:1@{DIGEST}"), "registry.example").unwrap();
        assert_eq!((pinned.tag(), pinned.digest()), (Some("1"), DIGEST.parse().ok()));
        let pinned = Reference::parse(&format!("add@{DIGEST}"), "registry.example").unwrap();
        assert_eq!((pinned.tag(), pinned.digest()), (None, DIGEST.parse().ok()));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_its_reason() {
        use InvalidReference::{Grammar, Host, TooLong};
        let invalid_digest = InvalidReference::Digest(crate::digest::InvalidDigest);
        for (text, reason) in [
            ("", Grammar),
            ("/add", Grammar),
            ("Add", Grammar),
            ("a/../b", Grammar),
            ("a//b", Grammar),
            ("a___b", Grammar),
            ("a-", Grammar),
            ("add:", Grammar),
            ("add:-1", Grammar),
            (&*format!("add:{}", "1".repeat(129)), Grammar),
            (&*"a".repeat(256), Grammar),
            ("add:té", Grammar),
            ("add:1?x", Grammar),
            ("add@sha256:00", invalid_digest.clone()),
            (&*format!("add@{}", DIGEST.to_uppercase()), invalid_digest.clone()),
            (&*format!("add@sha256:{}", "AB".repeat(32)), invalid_digest.clone()),
            (&*format!("add@sha512:{}", "ab".repeat(64)), invalid_digest),
            ("user@registry.example/add", Host),
            ("a_b.example/add", Host),
            ("-a.example/add", Host),
            ("1.2.3.999/add", Host),
            ("registry.example:99999/add", Host),
            ("registry.example:+80/add", Host),
            (&*"a".repeat(513), TooLong),
        ] {
            assert_eq!(Reference::parse(text, "registry.example"), Err(reason), "{text}");
        }
        assert_eq!(Reference::parse("add", "https://registry.example"), Err(Host));
        assert_eq!(Reference::parse("add", ""), Err(Host));
    }

    proptest! {
        #[test]
        fn any_text_is_a_reference_or_an_error(text in ".{0,600}", host in ".{0,20}") {
            let _ = Reference::parse(&text, &host);
        }

        #[test]
        fn it_takes_what_others_take(rest in "[a-b0-1]{0,2}([-_./:A]{0,3}[a-b0-1]{0,2}){0,4}") {
            let text = format!("registry.example/{rest}");
            let others = oci_spec::distribution::Reference::try_from(&*text);
            prop_assert_eq!(Reference::parse(&text, "").is_ok(), others.is_ok());
        }

        #[test]
        fn what_is_written_reads_back(
            host in "([a-z][a-z0-9]{0,8}\\.){0,3}[a-z]{2,6}(:[1-9][0-9]{0,3})?",
            first in "[a-z0-9]{1,9}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}",
            rest in "(/[a-z0-9]{1,9}(\\.[a-z0-9]{1,4}){0,2}){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?(@sha256:[0-9a-f]{64})?",
        ) {
            let reference = Reference::parse(&(first + &rest), &host).unwrap();
            prop_assert_eq!(Reference::parse(&reference.to_string(), &host).unwrap(), reference);
        }
    }
}
