#!/usr/bin/env bash
# Gets what is missing on this machine; does nothing, quickly, where nothing is.
# usage: setup.sh test|demo|image|e2e|node|kind|order|fuzz|lint|chart...
#   demo  the servers that tests and demo talk to and the tools that push to registries, from Debian's packages, and
#         Kubernetes and oras from their Go modules; and a module of some size
#   test  the same without that module, brokers of other makers: RabbitMQ from Debian's packages, mochi-mqtt from its
#         Go module; kstatus, by which others judge an object's status, from its Go module; helm from its Go module;
#         Prometheus, and the definitions of its operator, from its Go module; and the Lua that Argo CD's is compatible with
#   image what builds the container image: for the architecture that ARCH names, or this machine's
#   e2e   what tests on a whole cluster type: openssl, and helm, kubectl and oras from their Go modules
#   node  what a cluster of one node is made of (tests/node), and what its Pods run: Debian's packages, and Go modules
#   kind  kind, from its Go module: it needs a container engine besides
#   order what counts the functions that a worker runs
#   fuzz  the fuzzer
#   lint  the checkers
#   chart what the chart is generated and installed with, from their Go modules: part of lint

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

# missing PROGRAM[=NAME]...: the names whose program is not there
missing() {
  local pair
  for pair; do command -v "${pair%%=*}" > /dev/null || echo "${pair#*=}"; done | sort -u
}

packages() { # PROGRAM=PACKAGE...
  local names root=()
  mapfile -t names < <(missing "$@")
  ((${#names[@]})) || return 0
  command -v apt-get > /dev/null || die "Please install the programs of these Debian packages first: ${names[*]}"
  if ((EUID)); then
    root=(sudo)
    [[ -t 0 ]] || root+=(-n) # nobody is there to type a password
    "${root[@]}" true || die "Please run this first:  sudo apt-get install ${names[*]}"
  fi
  echo "Installing Debian packages: ${names[*]}"
  "${root[@]}" "$lab/packages.sh" "${names[@]}"
}

with_go() { # WHAT: says that it is being built, where there is a Go to build it with
  command -v go > /dev/null || die "Go 1.25 or later is missing: see https://go.dev/doc/install"
  echo "Building $1"
}

build_kubernetes() { # PROGRAM...
  local names
  mapfile -t names < <(missing "$@")
  ((${#names[@]})) || return 0
  with_go "${names[*]} $kubernetes_version from their Go module (minutes, this once)"
  local set="-X k8s.io/component-base/version" minor=${kubernetes_version#*.}
  mkdir -p "$kubernetes/bin"
  (cd "$lab/kubernetes" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$kubernetes/new/" \
    -ldflags "-s -w $set.gitVersion=$kubernetes_version $set.gitMajor=1 $set.gitMinor=${minor%%.*}" "${names[@]/#/./cmd/}")
  mv "$kubernetes"/new/* "$kubernetes/bin/" && rmdir "$kubernetes/new"
}

build_kstatus() {
  ! command -v kstatus > /dev/null || return 0
  with_go "kstatus $kstatus_version from its Go module"
  (cd "$lab/kstatus" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -o "$kstatus/bin/" .)
}

build_oras() {
  ! command -v oras > /dev/null || return 0
  with_go "oras $oras_version from its Go module"
  GOBIN=$oras/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install "oras.land/oras/cmd/oras@$oras_version"
}

build_coredns() {
  ! command -v coredns > /dev/null || return 0
  with_go "coredns $coredns_version from its Go module"
  GOBIN=$coredns/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install -trimpath -ldflags '-s -w' "github.com/coredns/coredns@$coredns_version"
}

# Nor is it any other helm: what is generated with it, and what tests read, is what this one says.
build_helm() {
  [[ ! -x $helm/bin/helm ]] || return 0
  with_go "helm $helm_version from its Go module (minutes, this once)"
  GOBIN=$helm/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install -trimpath \
    -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$helm_version" "helm.sh/helm/v4/cmd/helm@$helm_version"
}

build_kind() {
  ! command -v kind > /dev/null || return 0
  with_go "kind $kind_version from its Go module"
  GOBIN=$kind/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kind@$kind_version"
}

build_mochi() {
  ! command -v mochi > /dev/null || return 0
  with_go "mochi-mqtt $mochi_version from its Go module"
  # Its program is called after the folder that it is in.
  GOBIN=$mochi/new CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install "github.com/mochi-mqtt/server/v2/cmd/docker@$mochi_version"
  mkdir -p "$mochi/bin"
  mv "$mochi/new/docker" "$mochi/bin/mochi" && rmdir "$mochi/new"
}

# The definitions of the objects by which it is told what to scrape, and when to alert.
get_prometheus_operator() {
  local new=$prometheus_operator.new kind modules
  [[ ! -e $prometheus_operator ]] || return 0
  command -v go > /dev/null || die "Go 1.25 or later is missing: see https://go.dev/doc/install"
  echo "Getting the definitions of Prometheus' operator $prometheus_operator_version from its Go module"
  mkdir -p "$new"
  modules=$(go env GOMODCACHE)
  # Outside of any module of ours.
  (cd "$new" && go mod download "github.com/prometheus-operator/prometheus-operator@$prometheus_operator_version")
  for kind in podmonitors prometheusrules servicemonitors; do
    install -m 644 "$modules/github.com/prometheus-operator/prometheus-operator@$prometheus_operator_version/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" \
      "$new/$kind.yaml"
  done
  mv "$new" "$prometheus_operator"
}

# Not what else is called so on this machine: another version writes another README.
build_helm_docs() {
  [[ ! -x $helm_docs/bin/helm-docs ]] || return 0
  with_go "helm-docs $helm_docs_version from its Go module"
  GOBIN=$helm_docs/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install "github.com/norwoodj/helm-docs/cmd/helm-docs@$helm_docs_version"
}

build_values_schema() {
  [[ ! -x $values_schema/bin/values-schema ]] || return 0
  with_go "helm-values-schema-json $values_schema_version from its Go module"
  (cd "$lab/values-schema" && CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -o "$values_schema/bin/values-schema" github.com/losisin/helm-values-schema-json/v2)
}

# A module of 14 MB for the demo. As npm publishes it, or else from the Go module that it is made of.
get_esbuild() {
  [[ ! ${MODULE-} && ! -e $esbuild/esbuild.wasm ]] || return 0
  local new=$esbuild.new
  mkdir -p "$new"
  if command -v npm > /dev/null; then
    echo "Getting esbuild.wasm $esbuild_version with npm"
    npm pack --silent --pack-destination "$new" "esbuild-wasm@$esbuild_version" > "$new/log"
    tar -xzf "$new/esbuild-wasm-$esbuild_version.tgz" -C "$new" --strip-components=1 package/esbuild.wasm
  else
    with_go "esbuild.wasm $esbuild_version from its Go module"
    local modules; modules=$(go env GOMODCACHE)
    GOPATH=$new GOMODCACHE=$modules GOBIN='' GOOS=js GOARCH=wasm GOFLAGS=-buildvcs=false \
      go install -ldflags '-s -w' "github.com/evanw/esbuild/cmd/esbuild@v$esbuild_version"
    mv "$new/bin/js_wasm/esbuild" "$new/esbuild.wasm"
  fi
  mkdir -p "$esbuild"
  mv "$new/esbuild.wasm" "$esbuild/"
  rm -rf "$new"
}

# A compiler for the other architecture, where that is asked for.
cross_compiler() {
  local here machine
  here=$(dpkg --print-architecture)
  case ${ARCH:-$here} in
    "$here") return 0 ;;
    amd64) machine=x86_64 && packages x86_64-linux-gnu-gcc={gcc-x86-64-linux-gnu,libc6-dev-amd64-cross} ;;
    arm64) machine=aarch64 && packages aarch64-linux-gnu-gcc={gcc-aarch64-linux-gnu,libc6-dev-arm64-cross} ;;
    *) die "There is no wasmproxy for $ARCH: ARCH is amd64 or arm64" ;;
  esac
  rustup --quiet target add "$machine-unknown-linux-gnu"
}

build_actionlint() {
  ! command -v actionlint > /dev/null || return 0
  with_go "actionlint $actionlint_version from its Go module"
  GOBIN=$actionlint/bin CGO_ENABLED=0 GOFLAGS=-buildvcs=false go install "github.com/rhysd/actionlint/cmd/actionlint@$actionlint_version"
}

build_cargo_deny() {
  [[ ! -x $cargo_deny/bin/cargo-deny ]] || return 0
  echo "Building cargo-deny $cargo_deny_version (minutes, this once)"
  cargo install --quiet --locked --root "$cargo_deny" "cargo-deny@$cargo_deny_version"
}

build_cargo_fuzz() {
  [[ ! -x $cargo_fuzz/bin/cargo-fuzz ]] || return 0
  echo "Building cargo-fuzz $cargo_fuzz_version"
  cargo install --quiet --locked --root "$cargo_fuzz" "cargo-fuzz@$cargo_fuzz_version"
}

(($#)) || usage
mkdir -p "$cache"
exec {lock}> "$cache/lock" && flock "$lock" # two at once would build everything twice
command -v cargo > /dev/null || die "Rust is missing: see https://rustup.rs"
for purpose; do
  case $purpose in
    test | demo)
      packages cc=build-essential setpriv=util-linux curl=curl openssl=openssl etcd=etcd-server \
        mosquitto=mosquitto docker-registry=docker-registry htpasswd=apache2-utils skopeo=skopeo
      build_kubernetes kube-apiserver kube-controller-manager kubectl
      build_oras
      if [[ $purpose == test ]]; then
        packages /usr/lib/rabbitmq/bin/rabbitmq-server=rabbitmq-server lua5.1=lua5.1 prometheus=prometheus
        get_prometheus_operator
        build_kstatus
        build_mochi
        build_helm
      else
        get_esbuild
      fi
      ;;
    image)
      packages cc=build-essential buildah=buildah update-ca-certificates=ca-certificates
      cross_compiler
      ;;
    e2e)
      packages cc=build-essential setpriv=util-linux openssl=openssl
      build_kubernetes kubectl
      build_helm
      build_oras
      ;;
    node)
      packages setpriv=util-linux curl=curl openssl=openssl pgrep=procps ip=iproute2 nft=nftables iptables=iptables \
        etcd=etcd-server containerd=containerd runc=runc /usr/lib/cni/ptp=containernetworking-plugins python3=python3 \
        mosquitto=mosquitto docker-registry=docker-registry
      build_kubernetes kube-apiserver kube-controller-manager kubectl kubelet kube-proxy kube-scheduler pause
      build_coredns
      build_oras
      ;;
    kind)
      build_kind
      ;;
    order)
      packages nm=binutils valgrind=valgrind
      ;;
    fuzz)
      packages cc=build-essential g++=build-essential
      build_cargo_fuzz
      ;;
    lint)
      packages cc=build-essential shellcheck=shellcheck
      build_actionlint
      build_cargo_deny
      build_helm
      build_helm_docs
      build_values_schema
      ;;
    chart)
      build_helm
      build_helm_docs
      build_values_schema
      ;;
    *) usage ;;
  esac
done
