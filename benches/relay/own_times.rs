//! What the registry takes by itself, for somebody whose connection is open and who knows what to ask for.

use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, Method, Response};
use wasmproxy::tls::install_provider;

use crate::samples::Results;

/// What whoever pulls says that it takes.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// So long has nobody asked it anything before it is asked for a HEAD, as where a module comes from the cache: who has just been
/// at work answers sooner.
const REST: Duration = Duration::from_millis(120);

/// A client of the registry.
pub struct Registry {
    client: Client,
    url: String,
}

impl Registry {
    /// Trusts what is below this authority.
    pub fn at(host: &str, ca: &[u8]) -> Self {
        install_provider();
        let ca = Certificate::from_pem(ca).unwrap();
        let client = Client::builder().tls_certs_only([ca]).build().unwrap();
        Self { client, url: format!("https://{host}/v2") }
    }

    /// Notes how long a HEAD of the manifest takes; and a HEAD, and a GET of the module to the end of its first chunk.
    ///
    /// The manifest is got in between, since whoever asks for the first time needs that, too.
    pub async fn measure(&self, reference: &str, chunk_size: usize, results: &mut Results) {
        let (repository, tag) = reference.split_once(':').unwrap();
        let manifest = format!("{}/{repository}/manifests/{tag}", self.url);
        // So that the connection stands.
        self.send(Method::HEAD, &manifest).await;
        results.add("registry's own HEAD", self.head(reference).await.as_secs_f64() * 1e3);

        let begun = Instant::now();
        let manifest: serde_json::Value =
            serde_json::from_slice(&self.send(Method::GET, &manifest).await.bytes().await.unwrap()).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        let mut module = self.send(Method::GET, &format!("{}/{repository}/blobs/{digest}", self.url)).await;
        let mut left = chunk_size;
        while left > 0 {
            let Some(bytes) = module.chunk().await.unwrap() else { break };
            left = left.saturating_sub(bytes.len());
        }
        results.add("registry's own manifest and first chunk", begun.elapsed().as_secs_f64() * 1e3);
    }

    /// How long a HEAD of the manifest takes, out of the blue.
    pub async fn head(&self, reference: &str) -> Duration {
        let (repository, tag) = reference.split_once(':').unwrap();
        let manifest = format!("{}/{repository}/manifests/{tag}", self.url);
        tokio::time::sleep(REST).await;
        let begun = Instant::now();
        self.send(Method::HEAD, &manifest).await;
        begun.elapsed()
    }

    /// How fast the registry says a module, in MB/s, to somebody who throws it away.
    pub async fn rate(&self, reference: &str) -> f64 {
        let (repository, tag) = reference.split_once(':').unwrap();
        let manifest = self.send(Method::GET, &format!("{}/{repository}/manifests/{tag}", self.url)).await;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes().await.unwrap()).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap();
        let begun = Instant::now();
        let mut module = self.send(Method::GET, &format!("{}/{repository}/blobs/{digest}", self.url)).await;
        let mut bytes = 0;
        while let Some(piece) = module.chunk().await.unwrap() {
            bytes += piece.len();
        }
        bytes as f64 / 1e6 / begun.elapsed().as_secs_f64()
    }

    async fn send(&self, method: Method, url: &str) -> Response {
        let request = self.client.request(method, url).header("accept", MANIFEST);
        request.send().await.unwrap().error_for_status().unwrap()
    }
}
