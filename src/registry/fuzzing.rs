//! What must hold of references, and of whatever a registry answers: see [`crate::fuzzing`].

#![allow(clippy::unwrap_used, reason = "to panic is how it says that something does not hold")]

use std::sync::LazyLock;

use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use tokio_util::sync::CancellationToken;

use super::{
    artifact::{Manifest, PREAMBLE_LEN, Selected, may_be_wasm, select_entry, select_layer},
    auth::{Challenge, challenge as challenge_in, token_url},
    blob::content_range,
    layer::{Compression, Search, entrypoint, find, write},
    options::RegistryOptions,
    reference::Reference,
    transport::{Transport, retry_after},
};
use crate::{digest::Digest, tls::TlsOptions};

/// A default host and a reference, one a line: what is printed reads back and is plain to see, and what it names in a URL
/// is where it should be. Returns it, where it is one.
pub fn reference(data: &[u8]) -> Option<Reference> {
    static TRANSPORT: LazyLock<Transport> = LazyLock::new(|| {
        let tls = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
        Transport::new("registry.example", false, tls, RegistryOptions::DEFAULT_TIMEOUT).unwrap()
    });
    let (default_host, text) = std::str::from_utf8(data).ok()?.split_once('\n')?;
    let reference = Reference::parse(text, default_host).ok()?;
    let shown = reference.to_string();
    assert!(text.len() <= 512 && shown.len() <= 512);
    assert!(text.chars().chain(shown.chars()).all(|c| c.is_ascii_graphic()), "{text:?} as {shown:?}");
    assert_eq!(Reference::parse(&shown, reference.host()).as_ref(), Ok(&reference));
    if reference.host().contains(['.', ':']) {
        assert_eq!(Reference::parse(&shown, "other.example").as_ref(), Ok(&reference));
    }

    let url = TRANSPORT.url(&reference, "manifests/1").unwrap();
    assert_eq!(url.path(), format!("/v2/{}/manifests/1", reference.repository()));
    assert_eq!((url.query(), url.fragment(), url.username(), url.password()), (None, None, "", None));
    Some(reference)
}

/// A content type and a document, the type in the first line: one layer, one entry, or a short word on why not.
pub fn manifest(data: &[u8]) {
    let (content_type, json) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (std::str::from_utf8(&data[..end]).ok(), &data[end + 1..]),
        None => (None, data),
    };
    let refused = match Manifest::parse(json, content_type.filter(|content_type| !content_type.is_empty())) {
        Ok(Manifest::Image(image)) => select_layer(&image).map(|selected| {
            let layer = match &selected {
                Selected::Raw(layer) => layer,
                Selected::Packed(packed) => &packed.layer,
            };
            assert!(layer.size >= PREAMBLE_LEN as u64 || matches!(selected, Selected::Packed(_)));
            assert!(image.layers().iter().any(|named| named.digest().as_ref() == layer.digest.to_string()));
        }),
        Ok(Manifest::Index(index)) => select_entry(&index).map(|entry| {
            assert!(index.manifests().iter().any(|named| named.digest().as_ref() == entry.to_string()));
        }),
        Err(why) => Err(why),
    };
    if let Err(why) = refused {
        let said = why.to_string();
        assert!(said.len() < 1000 && !said.chars().any(char::is_control), "{said:?}");
    }
    let _ = may_be_wasm(json);
}

/// A container image's layer, after a byte of options: what is found in it is within bounds and comes out as it was found,
/// or it is said shortly why not. One of the options makes every block's checksum right, which chance would not.
pub fn layer(data: &[u8]) {
    let Some((options, layer)) = data.split_first() else { return };
    let mut layer = layer.to_vec();
    if options & 1 != 0 {
        layer.as_chunks_mut::<512>().0.iter_mut().for_each(make_sound);
    }
    let search = Search {
        compression: if options & 2 != 0 { Compression::Gzip } else { Compression::None },
        entrypoint: (options & 4 != 0).then(|| b"app/run".to_vec()),
        max_module_size: 4096,
        max_unpacked_size: 1 << 20,
    };
    let (mut output, stop) = (Vec::new(), CancellationToken::new());
    let written = find(&*layer, &search, &stop).and_then(|found| {
        assert!(found.size <= search.max_module_size);
        let digest = write(&*layer, &search, &found, &mut output, &stop)?;
        assert_eq!((digest, output.len() as u64), (Digest::of(&output), found.size));
        assert!(output.len() >= PREAMBLE_LEN && may_be_wasm(&output));
        Ok(())
    });
    if let Err(why) = written {
        let said = why.to_string();
        assert!(said.len() < 1000 && !said.chars().any(char::is_control), "{said:?}");
    }
}

/// Gives a header of an archive the checksum that it should have.
fn make_sound(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A container image's configuration: what it runs is a path from the root.
pub fn image_config(data: &[u8]) {
    if let Ok(Some(path)) = entrypoint(data) {
        assert!(path.len() <= data.len() && !path.starts_with(b"/") && !path.starts_with(b"./"));
    }
}

/// `WWW-Authenticate` headers, one a line, and the address of the token service that they name.
pub fn challenge(data: &[u8]) {
    let values = data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
    let headers: HeaderMap = values.map(|value| (WWW_AUTHENTICATE, value)).collect();
    let Some(Challenge::Bearer { realm, service, scope }) = challenge_in(&headers) else { return };
    let reference = Reference::parse("wasm/add", "registry.example").unwrap();
    if let Ok(url) = token_url(&reference, &realm, service.as_deref(), scope.as_deref()) {
        let scope = scope.unwrap_or_else(|| "repository:wasm/add:pull".to_owned());
        assert!(url.query_pairs().any(|(name, value)| name == "scope" && value == scope));
    }
}

/// `Content-Range` and `Retry-After`.
pub fn headers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some((start, size)) = content_range(text) {
        let size = size.map_or("*".to_owned(), |size| size.to_string());
        assert_eq!(content_range(&format!("bytes {start}-{start}/{size}")), content_range(text));
    }
    if let Some(wait) = retry_after(text) {
        // What is waited for is added to the time that it is.
        assert!(tokio::time::Instant::now().checked_add(wait).is_some(), "{wait:?}");
    }
}
