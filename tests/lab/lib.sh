# shellcheck shell=bash
# What the scripts of this folder share. Sourced, never run.
set -euo pipefail

lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What is built or fetched once stays here; every folder below it is named by its version.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmproxy

# Used by setup.sh, which builds them, and below, where they are found.
kubernetes_version=$(sed -n 's,^\tk8s.io/kubernetes \(v[0-9.]*\)$,\1,p' "$lab/kubernetes/go.mod")
oras_version=v1.3.6
cargo_deny_version=0.20.2
kubernetes=$cache/kubernetes-$kubernetes_version
oras=$cache/oras-$oras_version
cargo_deny=$cache/cargo-deny-$cargo_deny_version

# Debian keeps servers in /usr/sbin, which is on root's PATH only.
PATH=${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS:}$kubernetes/bin:$oras/bin:$cargo_deny/bin:$PATH:/usr/sbin

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
