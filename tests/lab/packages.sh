#!/usr/bin/env bash
# Installs Debian packages without the services that some of them start: ours run on ports of their own.
# usage: packages.sh PACKAGE...    (as root)
set -euo pipefail

export DEBIAN_FRONTEND=noninteractive

# Debian asks this program whether a service may start.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod +x "$policy"
fi

apt-get -qq update
apt-get -qq install --yes --no-install-recommends "$@" > /dev/null

# Nor at the next boot.
[[ ! -d /run/systemd/system ]] || for package; do
  case $package in
    containerd | mosquitto | docker-registry | prometheus | rabbitmq-server) systemctl --quiet disable "$package" ;;
    etcd-server) systemctl --quiet disable etcd ;;
  esac
done
