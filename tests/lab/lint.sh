#!/usr/bin/env bash
# Every check that needs no server.
# usage: lint.sh

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
cd "$lab/../.."
set -x
cargo fmt --check
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items --quiet
cargo deny --locked check --hide-inclusion-graph bans licenses sources
if cargo deny --locked fetch db; then
  cargo deny --locked check --hide-inclusion-graph advisories
else
  echo "Advisories were not checked here: their database cannot be fetched."
fi
git ls-files -z .ci/run '*.sh' | xargs -0 shellcheck --external-sources
actionlint
tests/lab/generate.sh --check
