#!/usr/bin/env bash
# Builds the release binary as the image holds it: linked statically, for this architecture or the other one.
# Prints where it is. Needs nothing of this folder: the Dockerfile runs it alone.
# usage: static.sh amd64|arm64
set -euo pipefail

case ${1-} in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) sed -n '2,4s/^# //p' "$0" >&2 && exit 2 ;;
esac
target=$machine-unknown-linux-gnu
linker=CARGO_TARGET_${target^^}_LINKER
export "${linker//-/_}=$machine-linux-gnu-gcc"

# Messages of a panic name source files: not by where this machine happens to keep them.
export CARGO_ENCODED_RUSTFLAGS=$'-Ctarget-feature=+crt-static\x1f'--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=
cargo build --quiet --locked --release --bin wasmproxy --target "$target" >&2
echo "${CARGO_TARGET_DIR:-target}/$target/release/wasmproxy"
