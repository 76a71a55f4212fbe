#!/usr/bin/env bash
# Writes what is generated from the code: the resource's definition, and in docs/reference.md what that says of each field.
# With --check, fails where the definition differs instead; a test does where the reference does.
# usage: generate.sh [--check]

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

cd "$lab/../.."
crd=crds/wasmproxies.wasmproxy.io.yaml
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cargo run --quiet --locked -- crd > "$new"
case ${1-} in
  '')
    install -D -m 644 "$new" "$crd"
    WASMPROXY_GENERATE=1 cargo test --quiet --locked --test api reference::what_is_quoted > /dev/null
    ;;
  --check) diff -u "$crd" "$new" || die "$crd is not what the code says: run \`make generate\`" ;;
  *) usage ;;
esac
