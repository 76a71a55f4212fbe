#!/usr/bin/env bash
# Measures how long the image's program takes from its start until it answers /healthz, as a worker alone in the image's files
# and as its user; and how much it takes up. Prints the median and the longest of RUNS=50.
# usage: bench-image.sh    (as root, after `make image`)

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"

(($# == 0 && EUID == 0)) || usage
need chroot tar
archive=$lab/../../target/image/wasmproxy.tar
root=$(mktemp -d --tmpdir wasmproxy-start.XXXXXX)
trap 'rm -rf "$root"' EXIT
mkdir -m 755 "$root/files"
tar -xf "$archive" -C "$root"
for layer in "$root"/*.tar; do tar -xf "$layer" -C "$root/files"; done
chmod 755 "$root"

export PROXY_REGISTRY_URL=localhost PROXY_CHANNEL_ID=start PROXY_HTTP_HOST=127.0.0.1 PROXY_HTTP_PORT PROXY_LOG_LEVEL=error

answers() { # PORT: whether /healthz does, without starting a process to ask
  local status
  exec {connection}<> "/dev/tcp/127.0.0.1/$1" || return
  printf 'GET /healthz HTTP/1.0\r\n\r\n' >&"$connection"
  read -r status <&"$connection"
  exec {connection}>&-
  [[ $status == *' 200 '* ]]
}

start() { # prints microseconds
  local begun=${EPOCHREALTIME/./}
  chroot --userspec=65532:65532 "$root/files" /wasmproxy worker > /dev/null &
  until answers "$PROXY_HTTP_PORT" 2> /dev/null; do :; done
  echo $((${EPOCHREALTIME/./} - begun))
  kill $!
  wait $! || true
}

for ((run = 0; run < ${RUNS:-50}; run++)); do
  PROXY_HTTP_PORT=$(free_port)
  start
done | sort -n > "$root/times"
mapfile -t times < "$root/times"
echo "from start to /healthz: median $((times[${#times[@]} / 2] / 1000)) ms, longest $((times[-1] / 1000)) ms"
echo "files: $(du -sb --apparent-size "$root/files" | cut -f1) bytes, compressed: $(cat "$root"/*.tar | gzip | wc -c) bytes"
