#!/usr/bin/env bash
# Process 1 of the node, in its own namespaces; file 3 is the network namespace of the machine around it. Started by node.sh.
# usage: init.sh NET NAME STATE

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"

net=${1?} name=${2?} state=${3?}
node=$net.0.2

# The trees of cgroups as they are seen from the node's namespace: they begin with its own.
own_cgroups() {
  local hierarchies dir type options
  hierarchies=$(awk '$3 ~ /^cgroup2?$/ {print $2, $3, $4}' /proc/mounts)
  umount -Rl /sys/fs/cgroup
  [[ $hierarchies == "/sys/fs/cgroup cgroup2 "* ]] || mount -t tmpfs tmpfs /sys/fs/cgroup
  while read -r dir type options; do
    mkdir -p "$dir"
    mount -t "$type" -o "$options" "$name" "$dir"
    [[ $type != cgroup2 ]] || sed 's/[^ ]*/+&/g' "$dir/cgroup.controllers" > "$dir/cgroup.subtree_control"
  done <<< "$hierarchies"
}

# Folders, a name, and settings of the kernel: the kubelet would set these for the whole machine.
own_system() {
  local dir setting
  mount --make-rshared /
  mount -t tmpfs tmpfs /run
  for dir in /var/lib /var/log; do mount --bind "$state$dir" "$dir"; done
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    echo "${setting#*=}" > "/run/${setting//\//.}"
    mount --bind "/run/${setting//\//.}" "/proc/sys/${setting%=*}"
  done
  hostname "$name"
}

# With no way out but to the machine around it.
own_network() {
  ip link set lo up
  ip link add eth0 type veth peer name "$name" netns /proc/self/fd/3
  ip addr add "$node/30" dev eth0
  ip link set eth0 up
  ip route add "$net.2.0/24" dev eth0
  nsenter --net=/proc/self/fd/3 sh -ec "ip addr add $net.0.1/30 dev $name; ip link set $name up; ip route add $net.0.0/16 via $node"
  exec 3<&-
  echo 1 > /proc/sys/net/ipv4/ip_forward
}

keep() { # NAME COMMAND...: runs it, and again a second after it has ended
  while :; do
    "${@:2}" >> "log/$1.log" 2>&1 || true
    sleep 1
  done &
}

control_plane() {
  keep etcd etcd --data-dir etcd --unsafe-no-fsync --log-level warn
  keep apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$node" --allow-privileged \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --service-cluster-ip-range="$net.2.0/24" \
    --client-ca-file=ca.crt --tls-cert-file=apiserver.crt --tls-private-key-file=apiserver.key \
    --kubelet-client-certificate=apiserver.crt --kubelet-client-key=apiserver.key --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=service-accounts.key --service-account-signing-key-file=service-accounts.key
  until KUBECONFIG=admin.conf kubectl get --raw /readyz &> /dev/null; do sleep 0.1; done
  keep controller-manager kube-controller-manager --kubeconfig=system:kube-controller-manager.conf --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file=service-accounts.key --root-ca-file=ca.crt \
    --flex-volume-plugin-dir="$state/kubelet/plugins"
  keep scheduler kube-scheduler --kubeconfig=system:kube-scheduler.conf --leader-elect=false
}

cd "$state"
own_cgroups
own_system
own_network
keep containerd containerd --config containerd.toml
control_plane
keep kubelet kubelet --config=kubelet.yaml --kubeconfig="system:node:$name.conf" --node-ip="$node" --root-dir="$state/kubelet"
keep proxy kube-proxy --config=proxy.yaml
wait
