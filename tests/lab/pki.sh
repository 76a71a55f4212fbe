#!/usr/bin/env bash
# Certificates for trials: an authority of their own in DIR (ca.crt, ca.key), made when it is not there yet, and
# below it NAME.crt and NAME.key, for servers and clients alike.
# usage: pki.sh DIR [NAME [ALTNAMES]]
#   ALTNAMES  who may be called by it ("DNS:localhost,IP:127.0.0.1" unless said)

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/certificates.sh
source "$lab/certificates.sh"

[[ ${1-} && $1 != -* ]] || usage
need openssl
mkdir -p "$1" && cd "$1"
authority
[[ ! ${2-} ]] || certificate "$2" "/CN=$2" "${3-}"
