# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.
set -euo pipefail
shopt -s inherit_errexit

lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What is built or fetched once stays here; every folder below it is named by its version.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmproxy

# Used by setup.sh, which builds them, and below, where they are found.
kubernetes_version=$(sed -n 's,^\tk8s.io/kubernetes \(v[0-9.]*\)$,\1,p' "$lab/kubernetes/go.mod")
kstatus_version=$(sed -n 's,^\tsigs.k8s.io/cli-utils \(v[0-9.]*\)$,\1,p' "$lab/kstatus/go.mod")
oras_version=v1.3.6
coredns_version=v1.15.0
helm_version=v4.3.1
kind_version=v0.33.0
mochi_version=v2.7.9
helm_docs_version=v1.14.2
prometheus_operator_version=v0.85.0
values_schema_version=$(sed -n 's,^require github.com/losisin/helm-values-schema-json/v2 \(v[0-9.]*\)$,\1,p' "$lab/values-schema/go.mod")
actionlint_version=v1.7.12
cargo_deny_version=0.20.2
cargo_fuzz_version=0.13.2
esbuild_version=0.28.2
kubernetes=$cache/kubernetes-$kubernetes_version
kstatus=$cache/kstatus-$kstatus_version
oras=$cache/oras-$oras_version
coredns=$cache/coredns-$coredns_version
helm=$cache/helm-$helm_version
kind=$cache/kind-$kind_version
mochi=$cache/mochi-$mochi_version
helm_docs=$cache/helm-docs-$helm_docs_version
values_schema=$cache/values-schema-$values_schema_version
actionlint=$cache/actionlint-$actionlint_version
# What is in there is read by tests.
export prometheus_operator=$cache/prometheus-operator-$prometheus_operator_version
cargo_deny=$cache/cargo-deny-$cargo_deny_version
cargo_fuzz=$cache/cargo-fuzz-$cargo_fuzz_version
# shellcheck disable=SC2034 # for setup.sh, which fetches it, and demo.sh, which sends it
esbuild=$cache/esbuild-$esbuild_version

# Debian keeps servers in /usr/sbin, which is on root's PATH only.
PATH=${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS:}$kubernetes/bin:$kstatus/bin:$oras/bin:$coredns/bin:$helm/bin:$helm_docs/bin:$values_schema/bin:$kind/bin:$mochi/bin:$actionlint/bin:$cargo_deny/bin:$cargo_fuzz/bin:$PATH:/usr/sbin

die() {
  echo "$*" >&2
  exit 1
}

# usage: prints the comment at the head of the script
usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

# need PROGRAM...
need() {
  local program
  for program; do
    command -v "$program" > /dev/null || die "$program is missing: \`make setup\` gets everything that is needed"
  done
}

# end PID...: ends children that were told to end, the hard way if they take more than ten seconds
end() {
  local child
  exec {errors}>&2 2> /dev/null # bash would tell of each that was killed
  for child; do
    # No `wait`: bash can lose the end of a child when a trap interrupts it, and would then wait for ever.
    for _ in {1..500}; do
      kill -0 "$child" || continue 2
      sleep 0.02
    done
    kill -KILL "$child" || true
  done
  exec 2>&"$errors"
}
