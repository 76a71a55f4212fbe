# shellcheck shell=bash
# How run.sh and kind.sh run what takes long, so that nothing of it outlives them: sourced by both, which have a `finish`.

command= # process id, and group, of what runs

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# run COMMAND...: in a group of its own, in such a way that it ends when we are told to
run() {
  local status=0
  setpriv --pdeathsig TERM setsid "$@" < /dev/null &
  command=$!
  wait "$command" || status=$?
  command=
  return "$status"
}
