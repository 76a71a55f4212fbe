#!/usr/bin/env bash
# Writes what is generated: from the code the resource's definition, for kubectl and for the chart, in docs/reference.md what that
# says of each field, and the tables of docs/metrics.md; from the chart's values.yaml its schema and README, and from its defaults
# the manifest in deploy/.
# With --check, fails where a file differs instead; a test does where the reference does.
# usage: generate.sh [--check]

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

case ${1-} in '' | --check) ;; *) usage ;; esac
need values-schema helm-docs
cd "$lab/../.."
chart=charts/wasmproxy
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

definition=wasmproxies.wasmproxy.io.yaml
cargo run --quiet --locked -- crd > "$new/$definition"
values-schema --values $chart/values.yaml --use-helm-docs --no-additional-properties --draft 7 --indent 2 \
  --output "$new/values.schema.json" > "$new/log" 2>&1 || die "$(cat "$new/log")"
helm-docs --chart-search-root $chart --template-files README.md.gotmpl --sort-values-order file \
  --dry-run --log-level warning > "$new/README.md"

# settle FILE: puts a new one in its place, or says how it differs
settle() {
  local file=$1 fresh=$new/${1##*/}
  if [[ $check ]]; then
    diff -u "$file" "$fresh" || die "$file is not what it is generated from: run \`make generate\`"
  else
    install -D -m 644 "$fresh" "$file"
  fi
}
check=${1-}
settle crds/$definition
settle $chart/files/crds/$definition
settle $chart/values.schema.json
settle $chart/README.md
tests/lab/manifests.sh > "$new/install.yaml"
settle deploy/install.yaml
[[ $check ]] || WASMPROXY_GENERATE=1 cargo test --quiet --locked --test api -- \
  reference::what_is_quoted metrics::every_metric > /dev/null
