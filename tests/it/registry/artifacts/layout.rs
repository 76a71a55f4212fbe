//! OCI image layouts, written by hand (OCI image specification, "Image Layout").

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use wasmproxy::digest::Digest;

pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A folder that holds images.
pub struct Layout(PathBuf);

impl Layout {
    pub fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        Self(dir.to_owned())
    }

    /// Writes an image of these layers that runs `entrypoint`; its descriptor, for [`Self::publish`].
    pub fn image(&self, platform: &str, layers: &[(&str, Vec<u8>)], entrypoint: &[&str]) -> Value {
        let (os, architecture) = platform.split_once('/').unwrap();
        let diff_ids: Vec<_> = layers.iter().map(|(_, layer)| Digest::of(&unzipped(layer))).collect();
        let config = json!({
            "os": os, "architecture": architecture,
            "config": { "Entrypoint": entrypoint },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        let layers: Vec<_> = layers.iter().map(|(media_type, layer)| self.blob(media_type, layer)).collect();
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
        let mut descriptor = self.blob(media_type, manifest.to_string().as_bytes());
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        descriptor
    }

    /// Writes an index of these images; its descriptor.
    pub fn index(&self, images: &[Value]) -> Value {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": images });
        self.blob(media_type, index.to_string().as_bytes())
    }

    /// Makes this the image of the layout.
    pub fn publish(&self, image: &Value) {
        let index = json!({ "schemaVersion": 2, "manifests": [image] });
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unzipped(bytes: &[u8]) -> Vec<u8> {
    let mut unzipped = Vec::new();
    match GzDecoder::new(bytes).read_to_end(&mut unzipped) {
        Ok(_) => unzipped,
        Err(_) => bytes.to_vec(),
    }
}

/// A tar archive of these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}
