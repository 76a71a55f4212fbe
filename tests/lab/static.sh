#!/usr/bin/env bash
# Builds the binary as the image holds it: linked statically, for this architecture or the other one.
# Prints where it is. Needs nothing of this folder: the Dockerfile runs it alone.
# usage: static.sh amd64|arm64
#   PROFILE=NAME               of cargo's, instead of release
#   WASMPROXY_REVISION=COMMIT  which the binary says it was built from, if at all
set -euo pipefail

case ${1-} in
  amd64) machine=x86_64 ;;
  arm64) machine=aarch64 ;;
  *) sed -n '2,6s/^# //p' "$0" >&2 && exit 2 ;;
esac
profile=${PROFILE:-release}
target=$machine-unknown-linux-gnu
linker=CARGO_TARGET_${target^^}_LINKER
export "${linker//-/_}=$machine-linux-gnu-gcc"

# Messages of a panic name source files: not by where this machine happens to keep them.
export CARGO_ENCODED_RUSTFLAGS=$'-Ctarget-feature=+crt-static\x1f'--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=
cargo build --quiet --locked --profile "$profile" --bin wasmproxy --target "$target" >&2
echo "${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/wasmproxy"
