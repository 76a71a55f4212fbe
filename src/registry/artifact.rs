//! Which layer of a manifest is the WebAssembly module.
//!
//! An index leads to its WASM entry, or its only one; a manifest to its one raw WASM layer, else to its last layer if that
//! is a tar archive that may hold the module, else to its only layer, whose bytes are then checked as they are read. What
//! is ambiguous is an error that lists what was seen: never a guess.

use std::{fmt, str::FromStr, sync::Arc};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::layer::{Compression, UnusableLayer};
use crate::digest::Digest;

/// What we say we understand, in an `Accept` header.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

const INDEX_TYPES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST_TYPES: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// The media type of a module.
pub(super) const WASM: &str = "application/wasm";

/// The layers that are a module as it is: of the CNCF's TAG Runtime (wkg, wasmCloud, containerd), of wasm-to-oci
/// (Krustlet, Kubewarden), of Solo and Istio, and of runwasi.
const RAW_LAYER_TYPES: [&str; 4] = [
    WASM,
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
];

/// The configurations that say what an image runs.
const IMAGE_CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The platforms that mean WASM in an index, best first.
const WASM_SYSTEMS: [&str; 3] = ["wasip2", "wasip1", "wasi"];

/// How a module and a component begin: `\0asm`, a version and a layer.
const PREAMBLES: [[u8; 8]; 2] = [*b"\0asm\x01\0\0\0", *b"\0asm\x0d\0\x01\0"];

/// The longest media type that is kept, in bytes: as long as any may be (RFC 6838, section 4.2, names of 127 each).
const MAX_MEDIA_TYPE: usize = 255;

/// The size of what every module begins with, in bytes.
pub(super) const PREAMBLE_LEN: usize = 8;

/// Why an artifact is no WebAssembly module that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// The document is neither an image manifest nor an index, or claims to be what it is not.
    #[error("what its reference names is no OCI or Docker manifest")]
    NotAManifest,
    /// A digest in the manifest is of another algorithm than SHA-256.
    #[error("its manifest holds a digest that is not sha256")]
    Digest,
    /// An index whose entry is an index again.
    #[error("its index leads to another index")]
    NestedIndex,
    /// An index of several entries, none of them for WASM.
    #[error("its index has no entry for wasm among the platforms {0}")]
    NoWasmPlatform(Seen),
    /// The configuration of a container image is not what it should be.
    #[error("its image configuration cannot be read")]
    ImageConfig,
    /// A container image, and nowhere to unpack it.
    #[error(
        "it is a container image, and unpacking that needs a cache directory: set PROXY_CACHE_DIR or --cache-dir, or push \
         the .wasm file as it is (media types seen: {0})"
    )]
    NoCache(Seen),
    /// A container image whose last layer is compressed otherwise than with gzip.
    #[error("its last layer is compressed in a way that is not supported: use gzip (media types seen: {0})")]
    Compression(Seen),
    /// A container image without a module that can be used.
    #[error("it is a container image, and of its last layer: {why} (media types seen: {seen})")]
    Layer {
        /// What is wrong with the layer.
        why: UnusableLayer,
        /// The media types of all layers.
        seen: Seen,
    },
    /// No layer is a module, or it cannot be told which.
    #[error("it has not exactly one WebAssembly layer (media types seen: {0})")]
    NotOneModule(Seen),
    /// The bytes do not begin as a module or component does.
    #[error("its bytes are neither a WebAssembly module nor a component (media types seen: {0})")]
    NotWasm(Seen),
}

/// Media types or platforms found in a manifest: the first eight, none longer than 80 bytes, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen(String);

impl Seen {
    pub(super) fn new(names: impl Iterator<Item = String>) -> Self {
        const MOST: usize = 8;
        let mut distinct: Vec<String> = Vec::new();
        for name in names {
            let name = name.chars().filter(char::is_ascii_graphic).take(80).collect();
            if !distinct.contains(&name) {
                distinct.push(name);
            }
            if distinct.len() > MOST {
                distinct[MOST] = "…".to_owned();
                break;
            }
        }
        Self(if distinct.is_empty() { "none".to_owned() } else { distinct.join(", ") })
    }
}

impl From<&str> for Seen {
    fn from(name: &str) -> Self {
        Self::new(std::iter::once(name.to_owned()))
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A blob that a manifest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Without parameters, and no longer than any may be.
    pub(super) media_type: String,
}

/// Where a manifest's module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    /// The layer is the module.
    Raw(Layer),
    /// The layer is an archive that holds the module.
    Packed(Arc<Packed>),
}

/// A layer that is an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) layer: Layer,
    pub(super) compression: Compression,
    /// The configuration that says what the image runs, where there is one.
    pub(super) config: Option<Layer>,
    /// There is no other layer: it may be a module that was pushed under this media type.
    pub(super) is_only: bool,
    /// The media types of all layers.
    pub(super) seen: Seen,
}

/// A document that a reference names.
#[derive(Debug)]
pub(super) enum Manifest {
    Image(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

impl Manifest {
    /// Reads a document that came with `content_type`.
    ///
    /// What it is follows from its fields. A document with the fields of both, or with a media type that says
    /// otherwise, is refused, as the image specification advises (CVE-2021-41190).
    pub(super) fn parse(json: &[u8], content_type: Option<&str>) -> Result<Self, Unsupported> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        let fields: Fields = parse_json(json)?;
        let claims = |types: &[&str]| {
            let declared = content_type.into_iter().chain(fields.media_type.as_deref());
            declared.map(without_parameters).any(|declared| types.contains(&declared))
        };
        match (fields.manifests.is_some(), fields.layers.is_some()) {
            (true, false) if !claims(&MANIFEST_TYPES) => parse_json(json).map(|index| Self::Index(Box::new(index))),
            (false, true) if !claims(&INDEX_TYPES) => parse_json(json).map(|image| Self::Image(Box::new(image))),
            _ => Err(Unsupported::NotAManifest),
        }
    }
}

fn parse_json<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Result<T, Unsupported> {
    serde_json::from_slice(json).map_err(|_| Unsupported::NotAManifest)
}

/// The manifest that an index has for WASM, or its only one.
pub(super) fn select_entry(index: &ImageIndex) -> Result<Digest, Unsupported> {
    let for_system = |system: &str| {
        index.manifests().iter().find(|entry| {
            entry.platform().as_ref().is_some_and(|platform| {
                matches!(platform.architecture().to_string().as_str(), "wasm" | "wasm32")
                    && platform.os().to_string() == system
            })
        })
    };
    let entry = WASM_SYSTEMS.into_iter().find_map(for_system).or(match index.manifests().as_slice() {
        [only] => Some(only),
        _ => None,
    });
    entry.map_or_else(|| Err(Unsupported::NoWasmPlatform(platforms(index))), sha256)
}

fn platforms(index: &ImageIndex) -> Seen {
    Seen::new(index.manifests().iter().map(|entry| match entry.platform() {
        Some(platform) => format!("{}/{}", platform.os(), platform.architecture()),
        None => "unknown".to_owned(),
    }))
}

/// The layer of a manifest that is the module, or holds it, as far as media types tell.
pub(super) fn select_layer(manifest: &ImageManifest) -> Result<Selected, Unsupported> {
    let layers = manifest.layers();
    let seen = || Seen::new(layers.iter().map(|layer| layer.media_type().to_string()));
    let is_raw = |layer: &&Descriptor| RAW_LAYER_TYPES.contains(&media_type(layer));
    let raw: Vec<_> = layers.iter().filter(is_raw).collect();
    let module = match (raw.as_slice(), layers.as_slice()) {
        ([module], _) => module,
        ([], [.., last]) if let Some(compression) = archive(media_type(last)) => {
            let compression = compression.ok_or_else(|| Unsupported::Compression(seen()))?;
            let config = Some(manifest.config()).filter(|config| IMAGE_CONFIG_TYPES.contains(&media_type(config)));
            return Ok(Selected::Packed(Arc::new(Packed {
                layer: layer(last)?,
                compression,
                config: config.map(layer).transpose()?,
                is_only: layers.len() == 1,
                seen: seen(),
            })));
        }
        ([], [only]) => only,
        _ => return Err(Unsupported::NotOneModule(seen())),
    };
    if module.size() < PREAMBLE_LEN as u64 {
        return Err(Unsupported::NotWasm(seen()));
    }
    layer(module).map(Selected::Raw)
}

/// Whether a media type is that of a tar archive (`…layer.v1.tar+gzip`, `…rootfs.diff.tar.gzip`, `application/x-tar` and
/// their kind), and how that is compressed, if we know it.
fn archive(media_type: &str) -> Option<Option<Compression>> {
    let mut words = media_type.split(|c: char| !c.is_ascii_alphanumeric()).skip_while(|word| *word != "tar");
    words.next()?;
    Some(match (words.next(), words.next()) {
        (None, _) => Some(Compression::None),
        (Some("gzip" | "gz"), None) => Some(Compression::Gzip),
        _ => None,
    })
}

/// Whether bytes that begin with `prefix` can be a module or a component.
pub(super) fn may_be_wasm(prefix: &[u8]) -> bool {
    PREAMBLES.iter().any(|preamble| preamble.starts_with(&prefix[..prefix.len().min(PREAMBLE_LEN)]))
}

fn layer(descriptor: &Descriptor) -> Result<Layer, Unsupported> {
    // It is remembered for long, and whoever pushes may make it as long as a manifest.
    let media_type = media_type(descriptor).chars().take(MAX_MEDIA_TYPE).collect();
    Ok(Layer { digest: sha256(descriptor)?, size: descriptor.size(), media_type })
}

fn sha256(descriptor: &Descriptor) -> Result<Digest, Unsupported> {
    Digest::from_str(descriptor.digest().as_ref()).map_err(|_| Unsupported::Digest)
}

fn media_type(descriptor: &Descriptor) -> &str {
    without_parameters(descriptor.media_type().as_ref())
}

fn without_parameters(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
