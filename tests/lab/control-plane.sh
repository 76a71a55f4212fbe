#!/usr/bin/env bash
# A Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager, with what they keep in DIR, on a
# free port of 127.0.0.1. There are no nodes: Deployments make Pods, and the Pods stay Pending.
# usage: control-plane.sh DIR [OPTION]...
#   --apply PATH  manifests to begin with; their CustomResourceDefinitions are established before it says ready
#   --audit USER  count the requests of this user: one JSON line each in the file that the fact AUDIT names
#   --controllers LIST  those of kube-controller-manager that run, instead of all
#   --port N      the API server's, instead of a free one
#   --temporary   DIR goes when the control plane does
#   --until-eof   stop at the end of standard input

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"
# shellcheck source=tests/lab/server.sh
source "$lab/server.sh"
# shellcheck source=tests/lab/certificates.sh
source "$lab/certificates.sh"

need kubectl etcd kube-apiserver kube-controller-manager openssl curl
folder "${1-}"
shift
manifests=()
audit=()
controllers='*'
while (($#)); do
  case $1 in
    --apply) manifests+=("$(cd "$OLDPWD" && realpath "${2?}")") && shift 2 ;;
    --audit)
      cat > audit.yaml << EOF
{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
 "rules": [{"level": "Metadata", "users": ["${2?}"]}, {"level": "None"}]}
EOF
      audit=(--audit-policy-file=audit.yaml --audit-log-path="$dir/audit.log" --audit-log-mode=blocking --audit-log-maxsize=10000) && shift 2
      ;;
    --controllers) controllers=${2?} && shift 2 ;;
    *) server_option "$@" && shift "$shifted" ;;
  esac
done
log=$dir/kube-apiserver.log
stop_signal=KILL # nothing here outlives a stop, and a graceful one takes seconds

authority
certificate server /CN=kube-apiserver DNS:localhost,IP:127.0.0.1,DNS:kubernetes.default.svc,IP:10.0.0.1
certificate admin /O=system:masters/CN=admin
openssl ecparam -genkey -name prime256v1 -noout -out service-accounts.key

# On sockets in this folder, so that only the API server needs a port.
background "$dir/etcd.log" etcd --data-dir etcd --logger zap --log-level warn --unsafe-no-fsync \
  --heartbeat-interval 20 --election-timeout 200 --initial-cluster default=unix://etcd:2 \
  --listen-peer-urls unix://etcd:2 --initial-advertise-peer-urls unix://etcd:2 \
  --listen-client-urls unix://etcd:1 --advertise-client-urls unix://etcd:1

start() {
  cat > kubeconfig <<EOF
{"apiVersion": "v1", "kind": "Config", "current-context": "lab",
 "clusters": [{"name": "lab", "cluster": {"server": "https://127.0.0.1:$port", "certificate-authority-data": "$(base64 -w0 ca.crt)"}}],
 "users": [{"name": "admin", "user": {"client-certificate-data": "$(base64 -w0 admin.crt)", "client-key-data": "$(base64 -w0 admin.key)"}}],
 "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}]}
EOF
  background "$log" kube-apiserver --etcd-servers=unix://etcd:1 --bind-address=127.0.0.1 --secure-port="$port" \
    --client-ca-file=ca.crt --tls-cert-file=server.crt --tls-private-key-file=server.key --authorization-mode=RBAC \
    --allow-privileged --service-cluster-ip-range=10.0.0.0/24 --endpoint-reconciler-type=none --advertise-address=127.0.0.1 \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=service-accounts.key \
    --service-account-signing-key-file=service-accounts.key "${audit[@]}"
}

get() { curl -sf --max-time 10 --cacert ca.crt --cert admin.crt --key admin.key "https://127.0.0.1:$port$1"; }
ready() { get /readyz; }
account() { get /api/v1/namespaces/default/serviceaccounts/default; }

listen start ready
background "$dir/kube-controller-manager.log" kube-controller-manager --kubeconfig=kubeconfig --leader-elect=false --controllers="$controllers" \
  --secure-port=0 --service-account-private-key-file=service-accounts.key --root-ca-file=ca.crt \
  --kube-api-qps=200 --kube-api-burst=400 --flex-volume-plugin-dir="$dir/plugins"
await account || failed "kube-controller-manager did not start"
export KUBECONFIG=$dir/kubeconfig KUBECACHEDIR=$dir/kubectl
for path in "${manifests[@]}"; do
  kubectl apply --server-side -f "$path" > kubectl.log
  kubectl wait --for=condition=Established crd --all --timeout=1m > kubectl.log
done
serve "KUBECONFIG=$dir/kubeconfig" "SERVER=https://127.0.0.1:$port" "CA=$dir/ca.crt" "PORT=$port" "PID=${children[1]}" "LOG=$log" "AUDIT=$dir/audit.log"
