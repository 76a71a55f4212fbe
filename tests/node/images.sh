#!/usr/bin/env bash
# Packs what Pods of the node run besides wasmproxy, under the names that manifests say: the programs that this machine has, not
# the images of those names.
# usage: images.sh DIR    prints the archives

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
examples=$here/../../examples

dir=${1?}
need coredns docker-registry mosquitto oras
mkdir -p "$dir"

pack() { # NAME FILE[=PATH]...
  local archive; archive=$dir/$(tr -c '[:alnum:].\n' - <<< "$1").tar
  "$here/pack.py" "$1" "$archive" "${@:2}"
  echo "$archive"
}

program() { command -v "$1"; }

pack registry.k8s.io/pause:3.10 "$kubernetes/bin/pause=/pause"
pack localhost/coredns:1 "$(program coredns)=/coredns"

mapfile -t names < <(sed -n 's/^ *-\{0,1\} *image: *\([^ #]*\).*/\1/p' "$examples"/*.yaml | sort -u)
for image in "${names[@]}"; do
  case $image in
    */wasmproxy:* | registry.k8s.io/pause:*) ;;
    */eclipse-mosquitto:*) pack "$image" "$(program mosquitto)=/usr/sbin/mosquitto" \
      "$(program mosquitto_passwd)=/usr/bin/mosquitto_passwd" ;;
    */registry:*) pack "$image" "$(program docker-registry)=/bin/registry" ;;
    */oras:*) pack "$image" "$(program oras)=/bin/oras" ;;
    *) die "An example runs $image: say in $0 which program of this machine that is." ;;
  esac
done
