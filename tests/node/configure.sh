# shellcheck shell=bash
# What the node's programs read, written to $state: sourced by node.sh.
# shellcheck disable=SC2154 # name, net, node and state are node.sh's

kubeconfig() { # USER: USER.conf, with the certificate of that name
  cat > "$1.conf" << EOF
{"apiVersion": "v1", "kind": "Config", "current-context": "$name",
 "clusters": [{"name": "$name", "cluster": {"server": "https://$node:6443", "certificate-authority-data": "$(base64 -w0 ca.crt)"}}],
 "users": [{"name": "$1", "user": {"client-certificate-data": "$(base64 -w0 "$1.crt")", "client-key-data": "$(base64 -w0 "$1.key")"}}],
 "contexts": [{"name": "$name", "context": {"cluster": "$name", "user": "$1"}}]}
EOF
}

user() { # NAME GROUP
  certificate "$1" "/O=$2/CN=$1"
  kubeconfig "$1"
}

configure() {
  cd "$state" || exit
  mkdir -p log cni var/lib var/log
  authority
  openssl ecparam -genkey -name prime256v1 -noout -out service-accounts.key
  local service=kubernetes.default.svc
  certificate apiserver /O=system:masters/CN=apiserver \
    "IP:$node,IP:$net.2.1,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local"
  user admin system:masters
  user system:kube-controller-manager system:none
  user system:kube-scheduler system:none
  user system:kube-proxy system:node-proxier
  user "system:node:$name" system:nodes
  containerd_config > containerd.toml
  network_config > cni/node.conflist
  kubelet_config > kubelet.yaml
  proxy_config > proxy.yaml
}

containerd_config() {
  local snapshotter=overlayfs
  [[ $(stat -f -c %T .) != overlayfs ]] || snapshotter=native # no overlay on an overlay
  cat << EOF
version = 2
root = "$state/containerd"
state = "/run/containerd"
[grpc]
  address = "$state/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true # a root without CAP_SYS_RESOURCE lowers none
  sandbox_image = "registry.k8s.io/pause:3.10"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$snapshotter"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "$state/cni"
EOF
}

# A link for each Pod, and no bridge: packets between Pods of one node would pass the rules of Services by on a bridge, unless
# a module of the kernel is loaded.
network_config() {
  cat << EOF
{"cniVersion": "1.0.0", "name": "node", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "$net.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
EOF
}

kubelet_config() {
  cat << EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
clusterDNS: [$net.2.10]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$state/containerd.sock
evictionHard: {memory.available: 100Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}
failCgroupV1: false
failSwapOn: false
# An image that was collected could not be had again.
imageGCHighThresholdPercent: 100
makeIPTablesUtilChains: false
resolvConf: ""
# How soon a Secret that changes is in the Pods that have it mounted. A minute unless said.
syncFrequency: 5s
volumePluginDir: $state/kubelet/plugins
EOF
}

proxy_config() {
  cat << EOF
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: "$state/system:kube-proxy.conf"}
clusterCIDR: $net.1.0/24
# What there is of the whole machine is left as it is.
conntrack: {maxPerCore: 0}
EOF
}
