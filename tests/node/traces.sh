#!/usr/bin/env bash
# What a node could leave behind on this machine, a line each: lists of before and after differ by what it has left.
# usage: traces.sh NAME STATE    the node is called so, and keeps what it has in that folder
# Of the other nodes on this machine nothing is said.

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"

name=${1?} state=${2?}

# What the node or a test has started: in its cgroups, or with a word of its folder. Our own process group
# asks, and what has ended but was not yet asked how is nothing.
processes() {
  local own process
  own=$(ps -o pgid= $$)
  for process in /proc/[0-9]*; do
    ! { grep -qs "/$name\(/\|\.scope\|$\)" "$process/cgroup" ||
      grep -qsF "$state" "$process/cmdline" "$process/environ"; } ||
      ps -o pid=,pgid=,stat=,args= "${process#/proc/}" | awk -v own="$own" '$2 != own && $3 !~ /^Z/' || true
  done
}

interfaces() { ip -brief link | sed 's/[@ ].*//'; }
routes() { for family in -4 -6; do ip "$family" route show table all && ip "$family" rule; done | sed 's/ expires [0-9]*sec//'; }
rules() { nft --stateless list ruleset; }
mounts() { cut -d' ' -f1-3 /proc/mounts; }
cgroups() { find /sys/fs/cgroup -type d \( -name "$name" -o -name "$name.scope" -o -name 'kubepods*' \) -prune 2> /dev/null; }
network_namespaces() { ip netns; }

# Those that Kubernetes, containerd, helm and kubectl make where nobody tells them otherwise, and the node's own.
folders() {
  local folder
  for folder in "$state" /etc/{cni,containerd,kubernetes}/* /opt/{cni,containerd} /usr/libexec/kubernetes \
    /run/{containerd,runc,flannel} /var/lib/{cni,containerd,etcd,kubelet} /var/log/{pods,containers} \
    ~/.kube ~/.cache/helm ~/.config/helm ~/.local/share/helm; do
    [[ ! -e $folder ]] || find "$folder" -maxdepth 1
  done
}

settings() {
  sysctl -a 2> /dev/null | grep -E '^(kernel\.(panic|keys\.root)|vm\.(overcommit_memory|panic_on_oom)|fs\.inotify|net\.(bridge|ipv4\.ip_forward|ipv4\.conf\.all))'
}

others() { grep -vE "knode-[0-9]+-[0-9]+" || true; } # lines of the nodes that are not ours

for kind in processes interfaces routes rules mounts cgroups network_namespaces folders settings; do
  { $kind || true; } | sed "s/^ */${kind//_/ }: /; s/$name/NODE/g" | others | sed "s/NODE/$name/g"
done | LC_ALL=C sort -u
