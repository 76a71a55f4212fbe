#!/usr/bin/env bash
# Runs a command in new cgroups, in each hierarchy that there is, and in a namespace that begins with them. The command itself
# is in one below, called `programs`: of version 2 a cgroup has processes or shares out controllers, never both.
# usage: cgroups.sh NAME COMMAND...

# shellcheck source=tests/lab/lib.sh
source "$(dirname "$0")/../lab/lib.sh"

name=${1?}
shift
export places='' # the new cgroups, one in each hierarchy

# place DIR: makes a cgroup of that name, and goes there
place() {
  local of
  mkdir -p "$1/programs"
  # A new set of processors is empty.
  [[ ! -e $1/cpuset.sched_load_balance ]] || for of in cpus mems; do
    cat "$1/../cpuset.$of" > "$1/cpuset.$of"
    cat "$1/cpuset.$of" > "$1/programs/cpuset.$of"
  done
  echo $$ > "$1/cgroup.procs"
  places+=" $1"
}

mapfile -t own < /proc/self/cgroup # it changes on the way
if [[ ! -e /sys/fs/cgroup/cgroup.controllers ]]; then
  for line in "${own[@]}"; do
    IFS=: read -r _ hierarchy path <<< "$line"
    dir=/sys/fs/cgroup/${hierarchy#name=}$path
    [[ $hierarchy ]] || dir=/sys/fs/cgroup/unified$path
    [[ ! -e $dir/cgroup.procs ]] || place "${dir%/}/$name"
  done
elif [[ ${own[0]} == */$name.scope ]]; then
  place "/sys/fs/cgroup${own[0]#0::}"
elif [[ -d /run/systemd/system ]]; then
  # It is systemd that shares out controllers there: for the asking, and until the cgroup is empty.
  exec systemd-run --quiet --scope --collect --unit="$name" --property=Delegate=yes "$0" "$name" "$@"
else
  for controller in cpu memory pids; do
    grep -qw "$controller" /sys/fs/cgroup/cgroup.subtree_control || die "New cgroups have no controller \"$controller\" on this" \
      "machine, which Kubernetes needs: set KUBECONFIG to a cluster, or \`make kind-e2e\`."
  done
  place "/sys/fs/cgroup/$name"
fi

# shellcheck disable=SC2016 # inside the new namespace
exec unshare --cgroup bash -ec 'for place in $places; do echo $$ > "$place/programs/cgroup.procs"; done; unset places; exec "$@"' - "$@"
