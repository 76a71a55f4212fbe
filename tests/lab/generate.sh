#!/usr/bin/env bash
# Writes the files that are generated from the code; with --check, fails where they differ from it instead.
# usage: generate.sh [--check]

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$lab/../.."
crd=crds/wasmproxies.wasmproxy.io.yaml
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cargo run --quiet --locked -- crd > "$new"
case ${1-} in
  '') install -D -m 644 "$new" "$crd" ;;
  --check) diff -u "$crd" "$new" || die "$crd is not what the code says: run \`make generate\`" ;;
  *) usage ;;
esac
