# shellcheck shell=bash
# How a script of this folder runs its server: sourced by those that do.
#
# The script is the server's parent and its life-line: it prints the facts that a client needs, then `ready`, and
# then waits. Whatever ends the script, be it SIGKILL, ends the server.

port=        # the one to listen on: a free one unless said
temporary=   # non-empty: the folder goes with the server
until_eof=   # non-empty: stop at the end of standard input
stop_signal=TERM
children=()  # process ids
declare -A logs=() # where each of them says what it does
log=         # the same of the server that is being started, or has failed

# server_option OPTION [VALUE]: takes an option that every server has; `shifted` is how many words that were
# shellcheck disable=SC2034 # by the scripts that source this
server_option() {
  shifted=1
  case $1 in
    --port)
      port=${2-}
      shifted=2
      ;;
    --temporary) temporary=1 ;;
    --until-eof) until_eof=1 ;;
    *) usage ;;
  esac
}

# folder DIR: makes it and goes there
folder() {
  [[ ${1-} && $1 != -* ]] || usage
  mkdir -p "$1"
  dir=$(cd "$1" && pwd)
  cd "$dir" || exit
  trap stop EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# background LOG COMMAND...: a child that dies with this script
background() {
  setpriv --pdeathsig KILL -- "${@:2}" < /dev/null >> "$1" 2>&1 &
  children+=($!)
  logs[$!]=$1
}

stop() {
  ((${#children[@]} == 0)) || kill -"$stop_signal" "${children[@]}" 2> /dev/null || true
  end "${children[@]}"
  [[ ! $temporary ]] || { cd / && rm -rf "$dir"; }
}

# await COMMAND...: runs it until it succeeds; fails once a child has ended, or after a minute
await() {
  local end=$((SECONDS + 60)) child
  until "$@" &> /dev/null; do
    for child in "${children[@]}"; do kill -0 "$child" 2> /dev/null || { log=${logs[$child]} && return 1; }; done
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

# Below the kernel's ephemeral ports: no outgoing connection takes it while a server is down for a moment.
free_port() {
  local candidate
  while candidate=$((10000 + SRANDOM % 20000)); do
    (: < "/dev/tcp/127.0.0.1/$candidate") 2> /dev/null || break
  done
  echo "$candidate"
}

# listen START READY: calls START, which uses $port and $log, until READY succeeds. A free port may be taken by
# somebody else before the server has it: then, and only then, with another one.
listen() {
  local given=$port
  for _ in {1..5}; do
    port=${given:-$(free_port)}
    : > "$log"
    "$1"
    ! await "$2" || return 0
    if [[ $given ]] || ! grep -qi 'address already in use' "$log"; then break; fi
    unset 'children[-1]' # it has ended
  done
  failed "the server did not start"
}

failed() { # WHAT
  tail -n 20 "$log" >&2
  temporary= # there is something to read in it
  die "$(basename "$0"): $1: see $log"
}

# serve FACT...: says what a client needs, here and in the file `facts`; returns when it is time to stop
serve() {
  printf '%s\n' "$@" | tee facts
  echo "ready"
  local watcher=''
  if [[ $until_eof ]]; then
    exec 3<&0 # a background job's own standard input is /dev/null
    setpriv --pdeathsig KILL cat <&3 > /dev/null &
    watcher=$!
  fi
  local ended=''
  wait -n -p ended "${children[@]}" $watcher 2> /dev/null || true
  [[ $ended == "$watcher" ]] || die "$(basename "$0"): a server ended by itself: see ${logs[$ended]}"
}
