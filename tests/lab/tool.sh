#!/usr/bin/env bash
# Runs one of the programs that setup.sh gets, from wherever it is.
# usage: tool.sh PROGRAM [ARGUMENT]...

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($#)) || usage
need "$1"
exec "$@"
