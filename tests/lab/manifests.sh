#!/usr/bin/env bash
# Prints deploy/install.yaml: what the chart makes of its defaults, and the namespace for it, without what is of Helm alone.
# usage: manifests.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need helm
cat << 'EOS'
# What the chart makes of its defaults: written by `make generate`. docs/gitops.md says how to change it by an overlay.
apiVersion: v1
kind: Namespace
metadata:
  name: wasmproxy-system
  labels:
    app.kubernetes.io/name: wasmproxy
    app.kubernetes.io/part-of: wasmproxy
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/audit: restricted
    pod-security.kubernetes.io/warn: restricted
EOS
# Without Helm, whoever deletes the definition means it.
helm template wasmproxy "$lab/../../charts/wasmproxy" --namespace wasmproxy-system --skip-tests --set crds.keep=false |
  sed -e '/^# Source: /d' -e '/^ *helm\.sh\/chart: /d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d' -e '/^$/d'
