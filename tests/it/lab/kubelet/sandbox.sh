# shellcheck shell=sh
# Gives a process what it has in a container: a root filesystem with its mounts, and a hostname. It is run in mount and UTS
# namespaces of its own, and becomes that process.
# arguments: ROOT PROGRAM HOSTNAME rw|ro, then SOURCE PATH rw|ro for each mount, then -- and what to run
set -eu
root=$1 program=$2 access=$4
hostname "$3"
shift 4
mount -t tmpfs -o mode=755 tmpfs "$root"
for name in bin sbin lib lib64 usr etc dev proc; do
  if [ -L "/$name" ]; then
    cp -P "/$name" "$root/$name"
  elif [ -d "/$name" ]; then
    mkdir "$root/$name"
    mount --rbind "/$name" "$root/$name"
  fi
done
mount -t tmpfs -o mode=755 tmpfs "$root/usr/local/bin"
: > "$root/usr/local/bin/wasmproxy"
mount --bind "$program" "$root/usr/local/bin/wasmproxy"
# Whatever is mounted below these is mounted into the machine's own folders, which must not get new ones.
for name in usr etc; do mount -o remount,bind,ro "$root/$name"; done
mkdir -m 1777 "$root/tmp"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
  shift 3
done
shift
[ "$access" = rw ] || mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
