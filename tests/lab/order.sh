#!/usr/bin/env bash
# Writes tests/lab/order.ld anew, by which static.sh has the linker put together what a worker runs: first of its start, then of
# its service. Without that, or where it has become old, everything works, and more of the program is in memory: see
# docs/benchmarks.md. Takes some minutes, for it counts each instruction of a worker that `make bench` has work.
# usage: order.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need nm valgrind
cd "$lab/../.."
dir=$(mktemp -d --tmpdir wasmproxy-order.XXXXXX)
trap 'rm -rf "$dir"' EXIT

binary=$(CARGO_PROFILE_RELEASE_STRIP=none "$lab/static.sh" "$(dpkg --print-architecture)")
binary=$(realpath "$binary")
nm -S "$binary" > "$dir/symbols"

# run NAME MEASUREMENTS: writes to $dir/NAME which functions these make a worker run
run() {
  mkdir "$dir/of-$1"
  cat > "$dir/worker" << END
#!/bin/sh
exec $(command -v valgrind) -q --tool=callgrind --demangle=no --callgrind-out-file='$dir/of-$1/%p' '$binary' "\$@"
END
  chmod +x "$dir/worker"
  WORKER=$dir/worker RUNS=1 QUICK=1 ONLY=$2 cargo bench --quiet --locked --bench relay &> "$dir/log" || die "$(cat "$dir/log")"
  sed -En "s/^c?fn=\([0-9]+\) ([^']+).*/\1/p" "$dir/of-$1"/* | sort -u > "$dir/$1"
}
run start idle
run service small,module

{
  echo '/* What a worker runs, in one place: first of its start, then of its service. Written by tests/lab/order.sh. */'
  echo 'SECTIONS { .text.worker : {'
  for run in start service; do awk -f "$lab/order.awk" "$dir/symbols" "$dir/$run"; done | awk '!seen[$0]++ { print "*(.text." $0 ")" }'
  echo '} } INSERT BEFORE .text;'
} > "$dir/order.ld"
mv "$dir/order.ld" "$lab/order.ld"
touch src/main.rs # what is linked already is not linked again for it
