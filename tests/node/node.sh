#!/usr/bin/env bash
# A Kubernetes of one node without a container engine: etcd, containerd, the control plane, a kubelet and kube-proxy, in
# namespaces and cgroups of their own. Whatever ends its first process ends all of it, and nothing of it outlives `down`.
# usage: node.sh up                 makes an end of the one before and starts anew; prints the KUBECONFIG
#        node.sh load IMAGE.tar...  gives the node images besides those of images.sh: it can pull none
#        node.sh enter COMMAND...   runs it where the node's programs run
#        node.sh state              prints its folder, where admin.conf is the KUBECONFIG, and logs are in log
#        node.sh down               ends it
#   KNODE_NET=A.B      its /16, 10.199 unless said: A.B.0.1 is this machine, .0.2 the node, .1.0/24 its Pods, .2.0/24 its
#                      Services. What the node is called comes from it, so that there may be several on one machine
#   KNODE_STATE=DIR    certificates, etcd, images, logs: a folder of its own in ~/.cache/wasmproxy unless said; `down` deletes it

# shellcheck source=tests/lab/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lab/lib.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lab/certificates.sh
source "$lab/certificates.sh"

net=${KNODE_NET:-10.199}
node=$net.0.2
name=knode-${net//./-} # the node, its cgroups, and its interface on this machine (of 15 characters at most)
state=$(realpath -m "${KNODE_STATE:-$cache/$name}")
init=$here/init.sh

# shellcheck source=tests/node/configure.sh
source "$here/configure.sh"

able() { # what cannot be helped from here is said before anything is done
  [[ $net =~ ^[0-9]{1,3}\.[0-9]{1,3}$ ]] || die "KNODE_NET=$net is not the first half of an address, like 10.199"
  [[ ! -e $state || -e $state/.node ]] || die "KNODE_STATE=$state is there already, and no node's: name a folder that may be deleted"
  ((EUID == 0)) || die "A node of Kubernetes is made by root: run this as root, or set KUBECONFIG to a cluster, or \`make kind-e2e\`."
  unshare --mount --net --pid --fork true 2> /dev/null ||
    die "This machine lets nobody make namespaces (a container?): set KUBECONFIG to a cluster, or \`make kind-e2e\`."
}

cgroups() { find /sys/fs/cgroup -type d \( -name "$name" -o -name "$name.scope" \) -prune 2> /dev/null; }

interface() { ip -brief link show "$name" 2> /dev/null; }

first() { pgrep -P "$(< "$state/pid")"; } # process 1 of the node, as this machine counts

running() { [[ -e $state/pid && $(tr '\0' ' ' 2> /dev/null < "/proc/$(< "$state/pid")/cmdline") == *unshare*"$init $net "* ]]; }

up() {
  need etcd containerd runc kubelet kube-proxy kube-scheduler kube-apiserver kube-controller-manager kubectl openssl curl ip nft
  down
  [[ ! $(ip -4 route show root "$net.0.0/16") ]] || die "$net.0.0/16 is in use on this machine: set KNODE_NET to another"
  mkdir -p "$(dirname "$state")" && mkdir -m 700 "$state" && touch "$state/.node"
  (configure)
  local images; images=$("$here/images.sh" "$state/images")
  # Its first process is told as file 3 what the network of this machine is.
  setsid "$here/cgroups.sh" "$name" unshare --ipc --mount --net --pid --uts --fork --kill-child --mount-proc \
    --propagation slave "$init" "$net" "$name" "$state" < /dev/null 3< /proc/self/ns/net &> "$state/log/init.log" &
  echo $! > "$state/pid"
  export KUBECONFIG=$state/admin.conf
  await "containerd" ctr -a "$state/containerd.sock" version
  mapfile -t images <<< "$images"
  load "${images[@]}" > "$state/log/images.log" && rm -r "$state/images"
  await "the API server" kubectl get --raw /readyz
  await "the node" kubectl wait --for=condition=Ready "node/$name" --timeout=1s
  await "the default service account" kubectl get serviceaccount default
  await "Services" curl -ksf "https://$net.2.1/readyz"
  sed "s/10\.199/$net/" "$here/dns.yaml" | kubectl apply -f - > "$state/log/dns.log"
  await "names of Services" kubectl wait -n kube-system --for=condition=Available deployment/coredns --timeout=1s
  echo "export KUBECONFIG=$KUBECONFIG"
}

await() { # WHAT COMMAND...: runs it until it succeeds, for three minutes at most: some machines are slow, or busy
  local end=$((SECONDS + 180))
  until "${@:2}" &> "$state/log/await.log"; do
    if ((SECONDS > end)) || ! running; then
      tail -n 5 "$state"/log/{await,init}.log >&2
      die "Gave up waiting for $1: the logs are in $state/log"
    fi
    sleep 0.1
  done
}

load() {
  local archive
  for archive; do ctr -a "$state/containerd.sock" -n k8s.io images import "$archive"; done
}

enter() { CONTAINERD_ADDRESS=$state/containerd.sock nsenter -t "$(first)" -a "$@"; }

down() {
  # Its child is process 1 of the node: the kernel ends the rest with that.
  ! running || kill -KILL "$(< "$state/pid")"
  local cgroup
  for _ in {1..200}; do
    while read -r cgroup; do find "$cgroup" -depth -type d -exec rmdir {} + 2> /dev/null || true; done < <(cgroups)
    # The kernel does that too, but may wait for connections that nobody will ever close.
    ip link delete "$name" 2> /dev/null || true
    [[ $(cgroups) || $(interface) ]] || { rm -rf "$state" && return; }
    sleep 0.05
  done
  die "Something of the node is still there: $(cgroups) $(interface)"
}

case ${1-} in
  state) echo "$state" ;;
  up | down | load | enter) able && "$@" ;;
  *) usage ;;
esac
