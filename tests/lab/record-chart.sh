#!/usr/bin/env bash
# Writes the chart down as this version publishes it, and the values that it is tried with: tests/releases/VERSION.
# usage: record-chart.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need helm
cd "$lab/../.."
chart=charts/wasmproxy
release=tests/releases/$(sed -n 's/^version: //p' "$chart/Chart.yaml")
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
helm package "$chart" --destination "$new" > "$new/log"
tar -xzf "$new"/wasmproxy-*.tgz -C "$new"
rm -rf "$release/chart" "$release/values"
mkdir -p "$release/values"
mv "$new/wasmproxy" "$release/chart"
cp "$chart"/ci/*-values.yaml "$release/values/"
