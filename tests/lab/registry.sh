#!/usr/bin/env bash
# An OCI registry: docker-registry, with what it keeps in DIR, on a free port of 127.0.0.1.
# usage: registry.sh DIR [OPTION]...
#   --user NAME:PASSWORD  who may push and pull; may be said again; without it, anybody
#   --token URL FILE      who has a token from URL, signed by a key whose certificate is below those in FILE;
#                         the issuer and the service are called "lab"
#   --tls                 behind TLS, with a certificate below DIR/pki/ca.crt
#   --mutual-tls          the same, and clients show a certificate: DIR/pki/client.crt and client.key
#   --port N              instead of a free one
#   --temporary           DIR goes when the registry does
#   --until-eof           stop at the end of standard input

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"
# shellcheck source=tests/lab/certificates.sh
source "$lab/certificates.sh"

need docker-registry htpasswd openssl
folder "${1-}"
shift
users=() token='' tls='' log=$dir/registry.log
while (($#)); do
  case $1 in
    --user) users+=("${2?}") && shift 2 ;;
    --token) token="realm: \"${2?}\", rootcertbundle: \"${3?}\"" && shift 3 ;;
    --tls | --mutual-tls) tls=$1 && shift ;;
    *) server_option "$@" && shift "$shifted" ;;
  esac
done

((${#users[@]} == 0)) || (umask 077 && : > htpasswd)
for user in "${users[@]}"; do
  # The registry knows bcrypt only; a low cost, since it is paid again for every request.
  htpasswd -Bi -C 4 htpasswd "${user%%:*}" <<< "${user#*:}" 2> /dev/null
done

transport() { # what the connection is made of
  [[ $tls ]] || return 0
  server_certificates "$tls"
  printf '  %s\n' "tls:" "  certificate: \"$dir/pki/server.crt\"" "  key: \"$dir/pki/server.key\""
  [[ $tls == --tls ]] || echo "    clientcas: [\"$dir/pki/ca.crt\"]"
}

transport=$(transport)

start() {
  cat > config.yaml <<EOF
version: 0.1
log: {level: info, accesslog: {disabled: false}}
storage: {filesystem: {rootdirectory: "$dir/data"}, delete: {enabled: true}}
http:
  addr: 127.0.0.1:$port
  secret: $(openssl rand -hex 16)
$transport
${users:+auth: {htpasswd: {realm: wasmproxy lab, path: "$dir/htpasswd"\}\}}
${token:+auth: {token: {issuer: lab, service: lab, $token\}\}}
EOF
  background "$log" docker-registry serve config.yaml
}

listening() { grep -q "listening on 127.0.0.1:$port" "$log"; }

listen start listening
facts=("HOST=127.0.0.1:$port" "PORT=$port" "PID=${children[0]}" "LOG=$log")
[[ ! $tls ]] || facts+=("CA=$dir/pki/ca.crt")
serve "${facts[@]}"
