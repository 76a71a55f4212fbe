#!/usr/bin/env bash
# An MQTT broker: mosquitto, with what it keeps in DIR, on a free port of 127.0.0.1.
# usage: broker.sh DIR [OPTION]...
#   --user NAME:PASSWORD  who may connect; may be said again; without it, anybody
#   --tls                 behind TLS, with a certificate below DIR/pki/ca.crt
#   --mutual-tls          the same, and clients show a certificate: DIR/pki/client.crt and client.key
#   --config LINE         a line for the listener in mosquitto.conf; may be said again
#   --port N              instead of a free one
#   --temporary           DIR goes when the broker does
#   --until-eof           stop at the end of standard input

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"
# shellcheck source=tests/lab/certificates.sh
source "$lab/certificates.sh"

need mosquitto mosquitto_passwd openssl
folder "${1-}"
shift
users=() lines=() tls='' scheme=mqtt log=$dir/broker.log
while (($#)); do
  case $1 in
    --user) users+=("${2?}") && shift 2 ;;
    --config) lines+=("${2?}") && shift 2 ;;
    --tls | --mutual-tls) tls=$1 && shift ;;
    *) server_option "$@" && shift "$shifted" ;;
  esac
done

access() { # who may connect
  if ((${#users[@]} == 0)); then
    echo "allow_anonymous true"
  else
    (umask 077 && printf '%s\n' "${users[@]}" > passwords && mosquitto_passwd -U passwords)
    echo "password_file $dir/passwords"
  fi
}

transport() { # what the connection is made of
  [[ $tls ]] || return 0
  server_certificates "$tls"
  printf '%s\n' "cafile $dir/pki/ca.crt" "certfile $dir/pki/server.crt" "keyfile $dir/pki/server.key"
  [[ $tls == --tls ]] || echo "require_certificate true"
}

access=$(access)
transport=$(transport)
[[ ! $tls ]] || scheme=mqtts

start() {
  # Started as root, mosquitto would become another user, who cannot read this folder.
  cat > mosquitto.conf <<EOF
user $(id -un)
log_dest stderr
log_timestamp_format %H:%M:%S
listener $port 127.0.0.1
$access
$transport
$(printf '%s\n' "${lines[@]}")
EOF
  background "$log" mosquitto -c mosquitto.conf
}

running() { grep -q 'mosquitto version .* running' "$log"; }

listen start running
facts=("URL=$scheme://127.0.0.1:$port" "PORT=$port" "PID=${children[0]}" "LOG=$log")
[[ ! $tls ]] || facts+=("CA=$dir/pki/ca.crt")
serve "${facts[@]}"
