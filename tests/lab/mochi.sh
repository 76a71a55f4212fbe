#!/usr/bin/env bash
# An MQTT broker of another maker: mochi-mqtt, on a free port of 127.0.0.1. It lets anybody in, and keeps nothing.
# usage: mochi.sh DIR [OPTION]...
#   --port N      instead of a free one
#   --temporary   DIR goes when the broker does
#   --until-eof   stop at the end of standard input

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"

need mochi
folder "${1-}"
shift
log=$dir/broker.log
while (($#)); do server_option "$@" && shift "$shifted"; done

start() {
  cat > config.yaml <<EOF
listeners: [{type: tcp, id: lab, address: "127.0.0.1:$port"}]
hooks: {auth: {allow_all: true}}
EOF
  background "$log" mochi --config config.yaml
}

running() { grep -q 'mochi mqtt server started' "$log"; }

listen start running
serve "URL=mqtt://127.0.0.1:$port" "PORT=$port" "PID=${children[0]}" "LOG=$log"
