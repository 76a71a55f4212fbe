#!/usr/bin/env bash
# Writes tests/lab/order.ld anew, by which static.sh has the linker put together what a worker runs: while it starts, while it
# follows a resource, and while it serves. Without that, or where it has become old, everything works, and more of the program
# is in memory: see docs/benchmarks.md. Takes some minutes: what is run is counted, by instruction.
# usage: order.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need kubectl nm valgrind
cd "$lab/../.."
dir=$(mktemp -d --tmpdir wasmproxy-order.XXXXXX)
servers=()
finish() {
  ((${#servers[@]} == 0)) || kill "${servers[@]}" 2> /dev/null || true
  wait
  rm -rf "$dir"
}
trap finish EXIT

# start NAME SCRIPT [OPTION]...: a server of this folder
start() {
  "$lab/$2" "$dir/$1" "${@:3}" < /dev/null > "$dir/$1.log" 2>&1 &
  servers+=($!)
  until grep -sqx ready "$dir/$1.log"; do
    kill -0 $! 2> /dev/null || die "$(cat "$dir/$1.log")"
    sleep 0.1
  done
}
fact() { sed -n "s,^$2=,,p" "$dir/$1/facts"; } # SERVER NAME

# counted NAME: a program that is the worker, and leaves in $dir/of-NAME what it has run
counted() {
  mkdir "$dir/of-$1"
  cat > "$dir/worker" << END
#!/bin/sh
exec $(command -v valgrind) -q --tool=callgrind --demangle=no --callgrind-out-file='$dir/of-$1/%p' '$binary' "\$@"
END
  chmod +x "$dir/worker"
}

bench() { # NAME WHAT
  counted "$1"
  WORKER=$dir/worker RUNS=1 QUICK=1 ONLY=$2 cargo bench --quiet --locked --bench relay &> "$dir/$1.log" || die "$(cat "$dir/$1.log")"
}

follow() { # NAME: a resource, until the broker is connected
  start broker broker.sh
  start cluster control-plane.sh --apply crds
  export KUBECONFIG=$dir/cluster/kubeconfig
  kubectl apply -f - > /dev/null << END
apiVersion: wasmproxy.io/v1alpha1
kind: WasmProxy
metadata: {name: order, namespace: default}
spec:
  channel: {id: order}
  broker: {url: "$(fact broker URL)"}
  registry: {host: registry.example}
  worker: {management: External, serviceAccountName: default}
END
  counted "$1"
  "$dir/worker" worker --resource order --namespace default --http-port 0 &> "$dir/$1.log" &
  local worker=$!
  kubectl wait wp/order --for=condition=BrokerConnected --timeout=120s > /dev/null || die "$(cat "$dir/$1.log")"
  kill "$worker"
  wait "$worker" || die "$(cat "$dir/$1.log")"
}

binary=$(CARGO_PROFILE_RELEASE_STRIP=none "$lab/static.sh" "$(dpkg --print-architecture)")
binary=$(realpath "$binary")
bench start idle
follow resource
bench service small,module

nm -S "$binary" > "$dir/symbols"
{
  echo '/* What a worker runs, in one place: of its start, of a resource, of its service. Written by tests/lab/order.sh. */'
  echo 'SECTIONS { .text.worker : {'
  for run in start resource service; do
    sed -En "s/^c?fn=\([0-9]+\) ([^']+).*/\1/p" "$dir/of-$run"/* | LC_ALL=C sort -u > "$dir/functions"
    awk -f "$lab/order.awk" "$dir/symbols" "$dir/functions"
  done | awk '!seen[$0]++ { print "*(.text." $0 ")" }'
  echo '} } INSERT BEFORE .text;'
} > "$dir/order.ld"
cp "$dir/order.ld" "$lab/order.ld"
touch src/main.rs # what is linked already is not linked again for it
