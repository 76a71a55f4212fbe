//! Reads the archive: what is said of the image, and the files of all its layers.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use serde_json::Value;
use tar::Entry;

/// An image, as `docker save` writes it.
pub struct Archive {
    /// Bytes of its layers, unpacked: what it takes up on a node.
    pub size: usize,
    /// The names that it is loaded under.
    pub names: Vec<String>,
    /// The image's configuration.
    pub config: Value,
    /// What is in its layers, folders too.
    pub files: BTreeMap<String, Entity>,
}

/// A file or a folder of the image.
pub struct Entity {
    pub owner: u64,
    pub mode: u32,
    pub content: Vec<u8>,
}

impl Archive {
    pub fn open() -> Self {
        let path = path();
        let file =
            File::open(&path).unwrap_or_else(|error| panic!("{}: {error}: `make image` writes it", path.display()));
        let parts = unpack(file);
        let manifest: Value = serde_json::from_slice(&parts["manifest.json"].content).unwrap();
        let part = |name: &Value| &parts[name.as_str().unwrap()].content;
        let layers: Vec<_> = manifest[0]["Layers"].as_array().unwrap().iter().map(part).collect();
        Self {
            size: layers.iter().map(|layer| layer.len()).sum(),
            names: serde_json::from_value(manifest[0]["RepoTags"].clone()).unwrap(),
            config: serde_json::from_slice(part(&manifest[0]["Config"])).unwrap(),
            files: layers.iter().flat_map(|layer| unpack(Cursor::new(layer))).collect(),
        }
    }
}

/// Where `make image` writes it.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/image/wasmproxy.tar")
}

fn unpack(archive: impl Read) -> BTreeMap<String, Entity> {
    tar::Archive::new(archive).entries().unwrap().map(|entry| entity(entry.unwrap())).collect()
}

fn entity(mut entry: Entry<'_, impl Read>) -> (String, Entity) {
    let name = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let header = entry.header();
    (name, Entity { owner: header.uid().unwrap(), mode: header.mode().unwrap(), content })
}
