#!/usr/bin/env bash
# Builds the image's program and writes it down as a container runtime unpacks it, piece by piece. Prints where it is. What a linker
# writes at once Linux keeps in larger pieces, and maps these as a whole: the program would have three times as much resident.
# usage: unpacked.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
cd "$lab/../.."
file=${CARGO_TARGET_DIR:-$PWD/target}/unpacked/wasmproxy
binary=$("$lab/static.sh" "$(dpkg --print-architecture)")
mkdir -p "${file%/*}"
rm -f "$file"
dd if="$binary" of="$file" bs=32k status=none
chmod 755 "$file"
echo "$file"
