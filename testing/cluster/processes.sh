# shellcheck shell=bash
# Starting, awaiting and stopping processes; sourced by control-plane.sh, node/env.sh and ../images/dockerd.sh.
# A process is known by its name: RUN/pid/NAME, RUN/log/NAME.log. IN, when set, is a command prefix for all of them.

say() { printf '%s %s\n' "$(date +%T)" "$*"; }

# start NAME COMMAND...: runs COMMAND as a session of its own.
start() {
  local name=$1; shift
  setsid ${IN[@]+"${IN[@]}"} "$@" >"$RUN/log/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/pid/$name"
}

# wait_for SECONDS WHAT COMMAND...: repeats COMMAND until it succeeds.
wait_for() {
  local limit=$1 what=$2 end=$((SECONDS + $1)); shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= end)); then say "gave up after ${limit}s waiting for $what" >&2; return 1; fi
    sleep 0.2
  done
}

gone() { ! kill -0 "$1" 2>/dev/null; }

# ours PID: whether PID is still the process that was started here. Each has a path under RUN on its command line; after a
# reboot its number may belong to somebody else.
ours() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF "$RUN/"; }

# stop NAME...: TERM (or SIGNAL) to all of them at once, KILL to those that are still there after 5 s.
stop() {
  local name pid
  for name in "$@"; do
    if [[ ! -f $RUN/pid/$name ]]; then continue; fi
    if ours "$(<"$RUN/pid/$name")"; then kill "-${SIGNAL:-TERM}" "$(<"$RUN/pid/$name")" 2>/dev/null || true; else rm -f "$RUN/pid/$name"; fi
  done
  for name in "$@"; do
    if [[ ! -f $RUN/pid/$name ]]; then continue; fi
    pid=$(<"$RUN/pid/$name")
    wait_for 5 "$name to end" gone "$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
    rm -f "$RUN/pid/$name"
  done
}
