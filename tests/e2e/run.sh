#!/usr/bin/env bash
# The tests of image, chart and examples on a whole cluster: one of its own, of which nothing is left, or the one that
# KUBECONFIG names.
# usage: run.sh
#   TEST=NAME         what has this in its name, only
#   IMAGE=FILE        an archive with the image, instead of one of what is here
#   KEEP=1            keeps the cluster of its own up, and says how to use it and how to end it
#   KNODE_NET=A.B     the network of that cluster (tests/node): the first of 10.199, 10.198, … that is free, unless said
#   KUBECONFIG=FILE   another cluster, without wasmproxy: it pulls what it runs, unless
#   E2E_LOAD=COMMAND  gives it the images in the archives that are appended to this command
#   E2E_NODE=COMMAND  runs there what is appended to this command, on its node: a test kills processes so, or leaves it out
#   E2E_THREADS=N     how many tests at a time, at most (8 unless said: they mostly wait)

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"

(($# == 0)) || usage
cd "$lab/../.."
node=tests/node/node.sh
archive=${IMAGE:-target/image/wasmproxy.tar}
failed=target/e2e # what there is to read of a failure
own=              # non-empty: the cluster is of our own
[[ ${KUBECONFIG-} ]] || own=1

dir=$(mktemp -d --tmpdir wasmproxy-e2e.XXXXXX)
phase=
phases=()
# What the tests run leaves nothing in the home of whoever runs them.
export KUBECACHEDIR=$dir/kubectl HELM_CACHE_HOME=$dir/helm/cache HELM_CONFIG_HOME=$dir/helm/config HELM_DATA_HOME=$dir/helm/data \
  DOCKER_CONFIG=$dir/docker

finish() {
  local status=$?
  trap '' HUP INT TERM
  set +e
  [[ ! $command ]] || stop
  ((status == 0 || status >= 128)) || tell
  if [[ $own && -e $dir/before ]]; then
    if [[ ${KEEP-} && $status -lt 128 ]]; then keep; else leave || status=1; fi
  fi
  rm -rf "$dir"
  ((${#phases[@]} == 0)) || printf '%s\n' "" "${phases[@]}"
  exit "$status"
}
# shellcheck source=tests/e2e/running.sh
source tests/e2e/running.sh

stop() {
  kill -TERM -- "-$command" 2> /dev/null
  end "$command"
  kill -KILL -- "-$command" 2> /dev/null
}

# step NAME COMMAND...: a phase, whose duration is told at the end
step() {
  local start=$SECONDS status=0
  phase=$1
  run "${@:2}" || status=$?
  phases+=("$(printf '%-8s %4d s' "$phase" $((SECONDS - start)))")
  return "$status"
}

tests() { step "$1" cargo test --locked --test e2e "${@:2}"; }

# tell: what there is to know of a failure: in files, and the gist of it here
tell() {
  [[ $phase != @(up|load|tests) ]] || rm -rf "$failed"
  [[ $phase != @(up|load) || ! $own ]] || tell_node
  [[ $phase != tests ]] || tell_cluster
}

tell_node() {
  mkdir -p "$failed" && cp -r "$state/log" "$failed/node"
  printf '\nThe cluster did not come up: see above. The logs of its node are in %s\n' "$failed/node"
} >&2

tell_cluster() {
  mkdir -p "$failed/pods"
  kubectl get pods,events -A -o wide &> "$failed/cluster.txt"
  kubectl describe nodes,pods -A &> "$failed/described.txt"
  local namespace pod
  while read -r namespace pod; do
    kubectl logs -n "$namespace" "$pod" --all-containers --prefix --ignore-errors &> "$failed/pods/$namespace.$pod.log"
  done < <(kubectl get pods -A --no-headers -o custom-columns=:metadata.namespace,:metadata.name)
  [[ ! $own ]] || cp -r "$state/log" "$failed/node"
  printf '\nThe tests failed: see above. Pods that are there, and the last warnings:\n\n'
  kubectl get pods -A | tail -n 40
  echo
  kubectl get events -A --field-selector type=Warning --sort-by .lastTimestamp | tail -n 20 | cut -c 1-300
  printf '\nAll of it, the logs of the Pods%s are in %s\n' "$([[ ! $own ]] || echo ' and of the node')" "$failed"
} 2>&1

keep() {
  cat << EOF

The cluster stays up:

export KUBECONFIG=$KUBECONFIG PATH=\$PATH:$kubernetes/bin:$helm/bin
kubectl get pods -A

To end it: KNODE_NET=$KNODE_NET $node down
EOF
}

# leave: ends the node; fails where something of it remains
leave() {
  local remains
  "$node" down || return
  rm -rf "$dir"/{kubectl,helm,docker}
  remains=$(traces | comm -13 "$dir/before" -)
  [[ ! $remains ]] || { echo "The cluster is gone, but not all of it:" && echo "$remains" && return 1; } >&2
  echo "The cluster is gone, and has left nothing behind."
}

traces() { env -u KUBECONFIG tests/node/traces.sh "knode-${KNODE_NET//./-}" "$state"; }

free_net() {
  local second
  for ((second = 199; second >= 100; second--)); do
    [[ $(ip -4 route show root "10.$second.0.0/16") ]] || break
  done
  echo "10.$second"
}

if [[ $own ]]; then
  tests/lab/setup.sh image e2e node
  KNODE_NET=${KNODE_NET:-$(free_net)}
  export KNODE_NET
  state=$("$node" state)
  load=("$node" load)
else
  tests/lab/setup.sh image e2e
  read -ra load <<< "${E2E_LOAD-}"
fi

[[ ${IMAGE-} ]] || step image tests/lab/image.sh
[[ -s $archive ]] || die "There is no image in $archive: \`make image\` writes it"
tests compile --no-run
if [[ $own ]]; then
  traces > "$dir/before"
  step up "$node" up
  export KUBECONFIG=$state/admin.conf E2E_NODE="$node enter"
fi
((${#load[@]} == 0)) || step load "${load[@]}" "$archive"
tests tests -- --test-threads="${E2E_THREADS:-8}" ${TEST:+"$TEST"}
[[ $own ]] || tests leave --quiet -- --ignored leave
