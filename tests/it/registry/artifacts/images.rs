//! Artifacts whose module is a file in a container image's last layer.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

use wasmproxy::registry::Unsupported;

use super::super::{pull, resolve};
use super::layout::{Layout, TAR, TAR_GZIP, gzip, tar};
use super::{Workshop, module, why};

const WASI: &str = "wasip1/wasm";

#[tokio::test]
async fn images_that_skopeo_copies_are_unpacked_in_either_format() {
    let workshop = Workshop::start().await;
    let layer = tar(&[("plugin.wasm", &module(100_000))]);
    for (source, layer) in [("zipped", (TAR_GZIP, gzip(&layer))), ("plain", (TAR, layer.clone()))] {
        let layout = Layout::new(&workshop.path(source));
        layout.publish(&layout.image("linux/amd64", &[layer], &["/plugin.wasm"]));
    }
    workshop.write("layer.tar", &layer);
    let registry = workshop.unpacking();
    for (number, (source, format)) in [
        ("oci:zipped", "oci"),
        ("oci:zipped", "v2s2"),
        ("oci:plain", "oci"),
        ("oci:plain", "v2s2"),
        ("tarball:layer.tar", "v2s2"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("image:{number}");
        workshop.copy(source, &name, format).await;
        let resolved = resolve(&registry, &name).await.unwrap();
        assert_eq!(
            (resolved.media_type.as_str(), resolved.size),
            ("application/wasm", 100_000),
            "{source} as {format}"
        );
        assert_eq!(pull(&registry, &name).await.unwrap(), module(100_000), "{source} as {format}");
    }
}

#[tokio::test]
async fn an_index_of_images_leads_to_the_one_for_wasm_in_either_format() {
    let workshop = Workshop::start().await;
    let layout = Layout::new(&workshop.path("layout"));
    let images = [("linux/amd64", 1000), (WASI, 2000)].map(|(platform, size)| {
        layout.image(platform, &[(TAR_GZIP, gzip(&tar(&[("plugin.wasm", &module(size))])))], &[])
    });
    layout.publish(&layout.index(&images));
    let registry = workshop.unpacking();
    for format in ["oci", "v2s2"] {
        let name = format!("image:{format}");
        workshop.copy("oci:layout", &name, format).await;
        assert_eq!(pull(&registry, &name).await.unwrap(), module(2000), "{format}");
    }
}

#[tokio::test]
async fn the_last_layer_counts_and_in_it_the_file_that_the_image_runs() {
    let workshop = Workshop::start().await;
    let first = tar(&[("plugin.wasm", b"no"), ("app/run.wasm", b"no")]);
    let last = tar(&[("app/run.wasm", &module(1000)), ("app/other.wasm", b"no"), ("etc/passwd", b"root")]);
    let layers = [(TAR_GZIP, gzip(&first)), (TAR_GZIP, gzip(&last))];
    let registry = workshop.unpacking();
    for (name, entrypoint, is_found) in
        [("run:1", &["/app/run.wasm", "--fast"][..], true), ("other:1", &["/bin/sh"], false), ("none:1", &[], false)]
    {
        let layout = Layout::new(&workshop.path("layout"));
        layout.publish(&layout.image(WASI, &layers, entrypoint));
        workshop.copy("oci:layout", name, "oci").await;
        if is_found {
            assert_eq!(pull(&registry, name).await.unwrap(), module(1000));
        } else {
            // The very same layer, of which it was found out before what is in it for those who run something else.
            let why = why(&registry, name).await.to_string();
            assert!(why.contains("app/other.wasm") && why.contains(TAR_GZIP), "{why}");
        }
    }
}

#[tokio::test]
async fn a_folder_that_oras_pushes_is_unpacked() {
    let workshop = Workshop::start().await;
    workshop.write("folder/sub/add.wasm", &module(1000));
    workshop.write("folder/README", b"how to add");
    workshop.push("folder:1", None, &["folder"]).await;
    assert_eq!(pull(&workshop.unpacking(), "folder:1").await.unwrap(), module(1000));
}

#[tokio::test]
async fn archives_of_gnu_tar_are_read_in_each_of_its_formats() {
    let workshop = Workshop::start().await;
    let long = format!("{}module.wasm", "a-rather-long-name/".repeat(9));
    let registry = workshop.unpacking();
    for (number, (format, name, gzip)) in [
        ("--format=gnu", &*long, false),
        ("--format=pax", &long, true),
        ("--format=ustar", &long, false),
        ("--format=v7", "module.wasm", true),
        ("--format=oldgnu", &long, true),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = format!("folder-{number}");
        workshop.write(&format!("{folder}/{name}"), &module(1000 + number));
        // A file with holes: its pieces are more than fit into one header.
        workshop.write(&format!("{folder}/a/holes"), b"");
        let holes = File::options().write(true).open(workshop.path(&folder).join("a/holes")).unwrap();
        (0..32).for_each(|piece| holes.write_all_at(b"x", piece * (64 << 10)).unwrap());
        tokio::fs::symlink("a/holes", workshop.path(&folder).join("plugin.wasm")).await.unwrap();
        let knows_holes = !matches!(format, "--format=ustar" | "--format=v7");
        let options =
            [(knows_holes, "--sparse"), (knows_holes, "--hole-detection=raw"), (gzip, "--gzip"), (true, format)];
        let options = options.into_iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, option)| option);
        workshop.tar("layer.tar", &folder, &options.chain(["."]).collect::<Vec<_>>()).await;
        let image = format!("image:{number}");
        let media_type = if gzip { TAR_GZIP } else { TAR };
        workshop.push(&image, None, &[&format!("layer.tar:{media_type}")]).await;
        let packed = fs::metadata(workshop.path("layer.tar")).unwrap().len();
        assert!(gzip || (packed < 1 << 20) == knows_holes, "{packed} bytes in {format}");
        assert_eq!(pull(&registry, &image).await.unwrap(), module(1000 + number), "{format}");
    }
}

#[tokio::test]
async fn an_image_without_one_module_is_refused_with_what_was_seen() {
    let workshop = Workshop::start().await;
    let registry = workshop.unpacking();
    for (name, media_type, layer, expected) in [
        ("zstd:1", "application/vnd.oci.image.layer.v1.tar+zstd", vec![0; 100], "use gzip"),
        ("empty:1", TAR, tar(&[("README", b"x")]), "holds no regular file"),
        ("two:1", TAR_GZIP, gzip(&tar(&[("a.wasm", &module(9)), ("b.wasm", &module(9))])), "several modules"),
        ("elf:1", TAR, tar(&[("plugin.wasm", b"\x7fELF and more")]), "plugin.wasm is neither"),
        ("rubbish:1", TAR_GZIP, vec![7; 1000], "cannot be decompressed"),
        ("short:1", TAR_GZIP, gzip(&tar(&[("a.wasm", &module(900))]))[..200].to_vec(), "ends too early"),
    ] {
        workshop.write("layer", &layer);
        let config = "application/vnd.oci.image.config.v1+json";
        workshop.push(name, Some(config), &[&format!("layer:{media_type}")]).await;
        let why = why(&registry, name).await.to_string();
        assert!(why.contains(expected) && why.contains(&format!("(media types seen: {media_type})")), "{why}");
    }
    workshop.write("layer", &tar(&[("plugin.wasm", &module(9))]));
    workshop.write("config.json", br#"{"config": {"Entrypoint": 7}}"#);
    let config = "application/vnd.oci.image.config.v1+json";
    workshop.push("config:1", Some(config), &[&format!("layer:{TAR}")]).await;
    assert_eq!(why(&registry, "config:1").await, Unsupported::ImageConfig);
}

#[tokio::test]
async fn an_image_needs_a_cache_and_the_error_says_which_setting_gives_one() {
    let workshop = Workshop::start().await;
    workshop.write("layer", &tar(&[("plugin.wasm", &module(9))]));
    workshop.push("image:1", None, &[&format!("layer:{TAR}")]).await;
    let why = workshop.why("image:1").await;
    assert!(matches!(why, Unsupported::NoCache(_)), "{why}");
    assert!(why.to_string().contains("PROXY_CACHE_DIR") && why.to_string().contains(TAR), "{why}");
}
