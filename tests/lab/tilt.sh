#!/usr/bin/env bash
# Writes what the image is packed from to DIR, compiled for no longer than need be: for the Tiltfile.
# usage: tilt.sh DIR

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$lab/../.."
dir=${1?}
mkdir -p "$dir"
# What a debugger knows would be most of the image.
export PROFILE=dev CARGO_PROFILE_DEV_STRIP=debuginfo
install "$("$lab/static.sh" "$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')")" "$dir/wasmproxy"
cat /etc/ssl/certs/ca-certificates.crt > "$dir/ca-certificates.crt"
