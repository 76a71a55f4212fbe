#!/usr/bin/env bash
# Builds the image from what is here, without a container engine and without pulling anything, and writes it to
# target/image/wasmproxy.tar: an archive for `ctr images import`, `kind load image-archive` or `docker load`.
# usage: image.sh
#   ARCH=amd64|arm64  instead of this machine's

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need buildah
cd "$lab/../.."
arch=${ARCH:-$(dpkg --print-architecture)}
version=$(sed -n '0,/^version = "\(.*\)"$/s//\1/p' Cargo.toml)
name=ghcr.io/wasmproxy/wasmproxy:$version
archive=target/image/wasmproxy.tar
revision=$(git rev-parse HEAD 2> /dev/null || echo unknown)
# The same source makes the same image, whenever it does.
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || echo 0)}

echo "Building $name for $arch"
binary=$(WASMPROXY_REVISION=$revision "$lab/static.sh" "$arch")

dir=$(mktemp -d --tmpdir wasmproxy-image.XXXXXX)
trap 'chmod -R u+w "$dir" && rm -rf "$dir"' EXIT # a layer's root may be written by root only
mkdir "$dir/context"
install -m 755 "$binary" "$dir/context/wasmproxy"
# Those that Debian trusts, not those that this machine was told to trust besides.
cat /usr/share/ca-certificates/mozilla/*.crt > "$dir/context/ca-certificates.crt"
chmod 644 "$dir/context/ca-certificates.crt"

export TMPDIR=$dir HOME=$dir/home # what buildah keeps goes with it
builder() { buildah --root "$dir/root" --runroot "$dir/run" --storage-driver vfs "$@"; }
builder bud --quiet --layers --isolation chroot --format oci --identity-label=false --timestamp "$epoch" \
  --arch "$arch" --target packed --build-arg "TARGETARCH=$arch" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
  --file Dockerfile --tag "$name" "$dir/context" > /dev/null
mkdir -p "$(dirname "$archive")"
builder push --quiet "$name" "docker-archive:$dir/image.tar:$name"
mv "$dir/image.tar" "$archive"
echo "$archive: $(stat -c %s "$archive") bytes"
