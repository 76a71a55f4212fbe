#!/usr/bin/env bash
# The tests of run.sh on a cluster of kind's, which is deleted afterwards. It needs a container engine that kind knows, and pulls
# the images of the node, of the broker and of the registry.
# usage: kind.sh
#   TEST, IMAGE, E2E_THREADS  as run.sh takes them
#   KIND_IMAGE=NAME   of the node, instead of kind's own: another version of Kubernetes
#   KEEP=1            keeps the cluster up, and says how to use it and how to delete it

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"

(($# == 0)) || usage
cd "$lab/../.."
cluster=wasmproxy-e2e-$$
dir=$(mktemp -d --tmpdir wasmproxy-kind.XXXXXX)
export KUBECONFIG=$dir/kubeconfig
created=

finish() {
  local status=$?
  trap '' HUP INT TERM
  set +e
  if [[ $command ]]; then
    kill "$command" 2> /dev/null # it ends its own in good order
    end "$command"
  fi
  if [[ $created && $status -gt 0 && $status -lt 128 ]]; then
    kind export logs "target/e2e/kind" --name "$cluster" &> /dev/null
    echo "The logs of kind are in target/e2e/kind"
  fi
  if [[ $created && ${KEEP-} && $status -lt 128 ]]; then
    echo "The cluster stays up: export KUBECONFIG=$KUBECONFIG"
    echo "To end it: kind delete cluster --name $cluster && rm -r $dir"
  else
    [[ ! $created ]] || kind delete cluster --name "$cluster" || status=1
    rm -rf "$dir"
  fi
  exit "$status"
}
# shellcheck source=tests/e2e/running.sh
source tests/e2e/running.sh

engine() { # prints that which kind finds by itself, or as KIND_EXPERIMENTAL_PROVIDER says
  local engine
  for engine in ${KIND_EXPERIMENTAL_PROVIDER:-docker podman nerdctl}; do
    if command -v "$engine" > /dev/null && "$engine" info &> /dev/null; then echo "$engine" && return; fi
  done
  return 1
}

engine=$(engine) || die "kind needs a container engine that answers: docker, podman or nerdctl. \`make e2e\` needs none, but root on Debian."
run tests/lab/setup.sh kind
created=1 # what a failure leaves of it is deleted too
run kind create cluster --name "$cluster" --wait 3m ${KIND_IMAGE:+--image "$KIND_IMAGE"}
E2E_LOAD="kind load image-archive --name $cluster" E2E_NODE="$engine exec $cluster-control-plane" run tests/e2e/run.sh
