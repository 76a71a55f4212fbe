#!/usr/bin/env bash
# Builds the binary as the image holds it: linked statically, for this architecture or the other one.
# Prints where it is. Runs at the root of the sources, and needs nothing of this folder but order.ld.
# usage: static.sh amd64|arm64
#   PROFILE=NAME               of cargo's, instead of release
#   WASMPROXY_REVISION=COMMIT  which the binary says it was built from, if at all
set -euo pipefail

case ${1-} in
  # It is loaded at any address: 27,000 addresses in it are put right then, which a table of bits says in 15 KB instead of 660.
  amd64) machine=x86_64 options=,-z,pack-relative-relocs ;;
  arm64) machine=aarch64 options= ;;
  *) sed -n '2,6s/^# //p' "$0" >&2 && exit 2 ;;
esac
profile=${PROFILE:-release}
target=$machine-unknown-linux-gnu
linker=CARGO_TARGET_${target^^}_LINKER
export "${linker//-/_}=$machine-linux-gnu-gcc"

flags=(
  -Ctarget-feature=+crt-static
  # Where one function is run, the kernel maps 64 KiB around it: order.ld puts together what a worker runs, by names of this kind.
  -Csymbol-mangling-version=v0
  "-Clink-arg=-Wl,-T,tests/lab/order.ld$options"
  # Messages of a panic name source files: not by where this machine happens to keep them.
  "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src="
)
export CARGO_ENCODED_RUSTFLAGS
CARGO_ENCODED_RUSTFLAGS=$(printf '\x1f%s' "${flags[@]}")
CARGO_ENCODED_RUSTFLAGS=${CARGO_ENCODED_RUSTFLAGS:1}
cargo build --quiet --locked --profile "$profile" --bin wasmproxy --target "$target" >&2
echo "${CARGO_TARGET_DIR:-target}/$target/${profile/#dev/debug}/wasmproxy"
