#!/usr/bin/env bash
# Runs the fuzz targets, one after the other. What is found is left in fuzz/artifacts, and said.
# usage: fuzz.sh
#   TARGET=NAME  that one only
#   MINUTES=N    for each (1 unless said)

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
need cargo-fuzz
cd "$lab/../.."
# `cargo fuzz` needs options of the compiler that its stable releases do not let anybody have, though they have them.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/fuzz
cp Cargo.lock fuzz/Cargo.lock # what is fuzzed is what is shipped

mapfile -t targets < <(cargo fuzz list)
[[ ! ${TARGET-} ]] || targets=("$TARGET")
minutes=${MINUTES:-1}
bounds=(-max_total_time=$((minutes * 60)) -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=64)

for target in "${targets[@]}"; do
  # What is found on the way is for the next run; fuzz/corpus is what everybody has.
  found=$CARGO_TARGET_DIR/corpus/$target
  mkdir -p "$found"
  cargo fuzz run --target-dir "$CARGO_TARGET_DIR" "$target" "$found" "fuzz/corpus/$target" -- \
    "${bounds[@]}" -print_final_stats=1 > "$found.log" 2>&1 || {
    tail -n 50 "$found.log"
    die "$target failed: see above. Mend it, and put the input into fuzz/corpus/$target"
  }
  sed -n "s/^stat::number_of_executed_units: */$target, $minutes min, executions: /p" "$found.log"
done
