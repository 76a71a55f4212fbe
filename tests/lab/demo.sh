#!/usr/bin/env bash
# The whole way of a module, on this machine: pushed to a registry, declared in a WasmProxy, fetched by a device.
# Nothing is left running, nor any file but what `make setup` keeps.
# usage: demo.sh
#   MODULE=FILE     the module to send (esbuild.wasm unless said)
#   KEEP=1          keep everything up until Ctrl-C, and say what to type next
#   WASMPROXY=FILE  the program to show (built from this folder unless said)

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/lib.sh"

(($# == 0)) || usage
module=$(realpath -m -- "${MODULE:-$esbuild/esbuild.wasm}")
cd "$lab/../.."
dir=$(mktemp -d --tmpdir wasmproxy-demo.XXXXXX)
fetched=$dir/fetched.wasm
wasmproxy=${WASMPROXY:-${CARGO_TARGET_DIR:-target}/debug/wasmproxy}
export KUBECONFIG=$dir/control-plane/kubeconfig KUBECACHEDIR=$dir/kubectl DOCKER_CONFIG=$dir/docker

servers=() # process ids, in the order in which they were started
command=   # process id of what runs in the foreground
log=       # where to look if this step fails

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

finish() {
  local status=$? i
  trap '' HUP INT TERM
  [[ ! $command ]] || stop "$command"
  for ((i = ${#servers[@]} - 1; i >= 0; i--)); do stop "${servers[i]}"; done
  if ((status > 0 && status < 128 && ${#servers[@]} > 0)); then
    echo
    echo "The demo failed at this step."
    [[ ! -s $log ]] || { echo "The end of $log:" && tail -n 20 "$log" | sed 's/^/  /'; }
    echo "All logs are in $dir"
  else
    rm -rf "$dir"
  fi
  exit "$status"
}

stop() {
  kill "$1" 2> /dev/null || true
  end "$1"
}

step() { if [[ -t 1 ]]; then printf '\n\e[1m%s\e[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }

# run COMMAND...: in the foreground, in such a way that it ends when we are told to, or when a server has ended
run() {
  local ended='' status=0
  "$@" &
  command=$!
  wait -n -p ended "$command" "${servers[@]}" || status=$?
  [[ $ended == "$command" ]] || die "A server ended by itself."
  command=
  return "$status"
}

# show COMMAND...: the same, for all to see
show() {
  echo "\$ $*"
  run "$@"
}

# start NAME COMMAND...: a server; it dies with this script, and Ctrl-C reaches it through this script only
start() {
  setpriv --pdeathsig TERM setsid "${@:2}" < /dev/null > "$dir/$1.log" 2>&1 &
  servers+=($!)
}

ready() { # NAME
  log=$dir/$1.log
  until grep -sqx ready "$log"; do
    kill -0 "${servers[@]}" 2> /dev/null || return 1
    sleep 0.05
  done
}

# Until the module is out, or cannot be: then it says why.
until_ready() {
  local deadline=$((SECONDS + 60))
  until kubectl wait -n quickstart wp/quickstart --for=condition=Ready --timeout=1s 2> /dev/null; do
    if [[ $(condition Stalled .status) ]] || ((SECONDS > deadline)); then
      die "It is not ready: $(condition Ready .message)"
    fi
  done
}
condition() { kubectl get -n quickstart wp/quickstart -o "jsonpath={.status.conditions[?(@.type==\"$1\")]$2}"; }

fact() { sed -n "s,^$2=,,p" "$dir/$1/facts"; } # SERVER NAME
password() { openssl rand -hex 8; }

step "1. Get what is missing on this machine, and build wasmproxy"
MODULE=${MODULE-} run "$lab/setup.sh" demo
[[ ${WASMPROXY-} ]] || run cargo build --locked --bin wasmproxy
[[ -s $module ]] || die "There is no module in $module"

step "2. Start a control plane, a broker and a registry, all on 127.0.0.1"
broker_password=$(password) device_password=$(password) registry_password=$(password)
start control-plane "$lab/control-plane.sh" "$dir/control-plane"
start broker "$lab/broker.sh" "$dir/broker" --user "wasmproxy:$broker_password" --user "device:$device_password"
start registry "$lab/registry.sh" "$dir/registry" --user "wasmproxy:$registry_password"
for server in broker registry control-plane; do ready "$server"; done
broker=$(fact broker URL) registry=$(fact registry HOST)
echo "Kubernetes  $(fact control-plane SERVER)"
echo "MQTT        $broker"
echo "OCI         $registry"

step "3. Push a module to the registry"
log=$dir/registry/registry.log
echo "$(basename "$module"), $(stat -c %s "$module") bytes"
echo '{}' > "$dir/config.json"
cp "$module" "$dir/module.wasm"
(cd "$dir" && oras push --no-tty --plain-http --username wasmproxy --password-stdin \
  --config config.json:application/vnd.wasm.config.v0+json "$registry/wasm/demo:1" module.wasm:application/wasm) \
  <<< "$registry_password" > "$dir/oras.log" || { log=$dir/oras.log && false; }
sed -n 's/^Pushed/Pushed/p' "$dir/oras.log"

step "4. Tell Kubernetes: the definition, and examples/quickstart.yaml with this broker and registry"
log=
mkdir "$dir/manifests"
cp examples/quickstart.yaml "$dir/manifests/"
cat > "$dir/manifests/kustomization.yaml" <<EOF
resources: [quickstart.yaml]
patches:
  - target: {kind: WasmProxy, name: quickstart}
    patch: |
      - {op: replace, path: /spec/broker/url, value: "$broker"}
      - {op: replace, path: /spec/registry/host, value: "$registry"}
  - target: {kind: Secret, name: broker}
    patch: |
      - {op: replace, path: /stringData/password, value: "$broker_password"}
  - target: {kind: Secret, name: registry}
    patch: |
      - {op: replace, path: /stringData/password, value: "$registry_password"}
EOF
show kubectl apply --server-side -f crds/
run kubectl wait --for=condition=Established -f crds/ --timeout=30s > "$dir/kubectl.log"
show kubectl apply -k "$dir/manifests"

step "5. Start the controller, and wait until the module is out"
controller=(controller --workers in-process --http-port 0) # no probes: their port may be in use here
echo "\$ wasmproxy ${controller[*]} &"
start controller "$wasmproxy" "${controller[@]}"
log=$dir/controller.log
echo "\$ kubectl wait -n quickstart wp/quickstart --for=condition=Ready --timeout=60s"
run until_ready

step "6. Fetch the module as a device"
device=(fetch wasm/demo:1 --broker "$broker" --channel quickstart --device demo-device -o "$fetched")
export WASMPROXY_USERNAME=device WASMPROXY_PASSWORD=$device_password
echo "\$ wasmproxy ${device[*]}"
run "$wasmproxy" "${device[@]}"

step "7. Compare"
digest() { sha256sum "$1" | cut -d' ' -f1; }
echo "pushed   sha256:$(digest "$module")"
echo "fetched  sha256:$(digest "$fetched")"
cmp "$module" "$fetched"
echo "They are equal."
artifact() { kubectl get -n quickstart wp/quickstart -o "jsonpath={.status.artifacts[0]$1}"; }
run kubectl wait -n quickstart wp/quickstart --for=jsonpath='{.status.artifacts[0].receipts}'=1 --timeout=30s > "$dir/kubectl.log"
show kubectl get -n quickstart wp
chunks=$((($(stat -c %s "$module") + 511999) / 512000))
echo "$(artifact .reference): $(artifact .phase), $(artifact .chunks.published) of $(artifact .chunks.total) chunks"
[[ $(artifact .phase) == Published && $(artifact .chunks.published) == "$chunks" && $(artifact .chunks.total) == "$chunks" ]] ||
  die "It should be Published, $chunks of $chunks chunks."

if [[ ${KEEP-} ]]; then
  step "It stays up until you press Ctrl-C here. In another terminal:"
  cat <<EOF
export KUBECONFIG=$KUBECONFIG PATH=\$PATH:$kubernetes/bin
kubectl get wp -A -w
kubectl describe wp -n quickstart quickstart

export WASMPROXY_USERNAME=device WASMPROXY_PASSWORD=$device_password
$(realpath "$wasmproxy") fetch wasm/demo:1 -o /tmp/demo.wasm --broker $broker --channel quickstart

tail -f $dir/controller.log
EOF
  trap 'exit 0' INT
  wait -n "${servers[@]}" || true
  die "A server ended by itself."
fi
step "Done: nothing is left running. KEEP=1 make demo keeps it up for you to play with."
