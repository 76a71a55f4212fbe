#!/usr/bin/env bash
# An MQTT broker of another maker: RabbitMQ with its plugin, with what it keeps in DIR, on a free port of 127.0.0.1. It
# lets anybody in. It takes some ten seconds to start, the first time in a DIR: it waits for others of its cluster.
# usage: rabbitmq.sh DIR [OPTION]...
#   --port N      instead of a free one
#   --temporary   DIR goes when the broker does
#   --until-eof   stop at the end of standard input

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"

# Debian's wrapper on the PATH would become another user, and keep everything in /var.
rabbitmq=/usr/lib/rabbitmq/bin/rabbitmq-server
need "$rabbitmq" erl
folder "${1-}"
shift
log=$dir/broker.log
while (($#)); do server_option "$@" && shift "$shifted"; done

# All that it would look for in /etc and keep in /var.
export HOME=$dir RABBITMQ_CONF_ENV_FILE=$dir/rabbitmq-env.conf RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf \
  RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins \
  RABBITMQ_MNESIA_BASE=$dir/data RABBITMQ_LOG_BASE=$dir/log RABBITMQ_GENERATED_CONFIG_DIR=$dir/generated
# Then the script becomes the server, instead of waiting for it.
export RUNNING_UNDER_SYSTEMD=true

# A node of Erlang listens for others of its kind. Nobody has to find this one, so it needs no port mapper, which would
# be a daemon that outlives it; that it has its name already when RabbitMQ starts keeps RabbitMQ from starting one.
node() {
  local cluster_port; cluster_port=$(free_port)
  export RABBITMQ_NODENAME=lab@localhost RABBITMQ_DIST_PORT=$cluster_port
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-sname $RABBITMQ_NODENAME -start_epmd false -erl_epmd_port $cluster_port
    -kernel inet_dist_use_interface {127,0,0,1}"
}

start() {
  node
  echo '[rabbitmq_mqtt].' > enabled_plugins
  # A write-ahead log is as large as it may get from the start.
  cat > rabbitmq.conf <<EOF
listeners.tcp = none
mqtt.listeners.tcp.lab = 127.0.0.1:$port
mqtt.allow_anonymous = true
loopback_users = none
log.console = true
log.file = false
raft.wal_max_size_bytes = 1048576
EOF
  background "$log" "$rabbitmq"
}

running() { grep -q 'Server startup complete' "$log"; }

listen start running
serve "URL=mqtt://127.0.0.1:$port" "PORT=$port" "PID=${children[0]}" "LOG=$log"
