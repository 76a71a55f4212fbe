//! Pulling modules from real registries, and from odd ones.

mod artifacts;
mod auth;
mod cache;
mod cuts;
mod faults;
mod looks;
mod odd;
mod patience;
mod pull;
mod servers;
mod stores;

use wasmproxy::{
    digest::Digest,
    registry::{Credentials, Module, ModuleReader, Origin, Reference, Registry, RegistryError, RegistryOptions},
    tls::TlsOptions,
};

use crate::modules::module;

/// The media type of the CNCF's artifacts.
const WASM: &str = "application/wasm";

/// More than any read from the network is: twice the buffer of the HTTP library, which doubles it by reading ahead.
const MAX_READ: usize = 1024 * 1024;

/// The options for a registry over plain HTTP, read anonymously.
fn options(host: &str) -> RegistryOptions {
    let tls = TlsOptions::default();
    let credentials = Credentials::Anonymous;
    RegistryOptions {
        host: host.to_owned(),
        plain_http: true,
        credentials,
        tls,
        max_module_size: 1 << 30,
        timeout: RegistryOptions::DEFAULT_TIMEOUT,
        cache: None,
    }
}

fn registry(host: &str) -> Registry {
    Registry::new(options(host)).unwrap()
}

async fn resolve(registry: &Registry, name: &str) -> Result<Module, RegistryError> {
    registry.resolve(&Reference::parse(name, registry.host()).unwrap()).await
}

/// Reads to the end; what came before an error comes with it.
async fn read(reader: &mut ModuleReader) -> (Vec<u8>, Result<(), RegistryError>) {
    let mut bytes = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(read)) => {
                assert!(!read.is_empty() && read.len() <= MAX_READ, "{} bytes at once", read.len());
                bytes.extend_from_slice(&read);
            }
            Ok(None) => return (bytes, Ok(())),
            Err(error) => return (bytes, Err(error)),
        }
    }
}

/// Resolves and reads.
async fn pull(registry: &Registry, name: &str) -> Result<Vec<u8>, RegistryError> {
    let module = resolve(registry, name).await?;
    let (bytes, result) = read(&mut registry.open(&module).await?).await;
    result.map(|()| bytes)
}

/// What resolving and reading fails with.
async fn refusal(registry: &Registry, name: &str) -> RegistryError {
    pull(registry, name).await.unwrap_err()
}

/// A module as if it had been resolved.
fn resolved(host: &str, bytes: &[u8]) -> Module {
    Module {
        reference: Reference::parse("add:1", host).unwrap(),
        manifest_digest: Digest::of(b""),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        media_type: WASM.to_owned(),
        origin: Origin::default(),
    }
}

/// A manifest of one module, as JSON.
fn manifest(module: &[u8]) -> String {
    let layer = serde_json::json!({ "mediaType": WASM, "digest": Digest::of(module), "size": module.len() });
    serde_json::json!({ "schemaVersion": 2, "config": layer, "layers": [layer] }).to_string()
}
