# shellcheck shell=bash
# Certificates in the current folder, by openssl: sourced by the scripts that need them.

ec=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365)

# authority: ca.crt and ca.key, unless they are there
authority() {
  [[ -e ca.crt ]] || openssl req -x509 "${ec[@]}" -subj "/CN=wasmproxy lab" -keyout ca.key -out ca.crt 2> /dev/null
}

# certificate NAME [SUBJECT [ALTNAMES]]: NAME.crt and NAME.key, signed by the authority
certificate() {
  openssl req -x509 "${ec[@]}" -CA ca.crt -CAkey ca.key -subj "${2:-/CN=$1}" -addext basicConstraints=critical,CA:false \
    -addext "subjectAltName=${3:-DNS:localhost,IP:127.0.0.1}" -keyout "$1.key" -out "$1.crt" 2> /dev/null
}

# server_certificates --tls|--mutual-tls: what a server behind TLS needs, in ./pki, unless it is there
server_certificates() {
  (mkdir -p pki && cd pki && authority
    [[ -e server.crt ]] || certificate server
    [[ $1 == --tls || -e client.crt ]] || certificate client)
}
