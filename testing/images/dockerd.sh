#!/usr/bin/env bash
# A Docker engine of its own: no bridge, no firewall rules, its own socket. Builds and runs with --network host or none. Needs root.
#   dockerd.sh up     starts it
#   dockerd.sh down   stops what `up` started, containers included; keeps DATA
# RUN: state, socket, logs, pids. DATA: images and build cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${RUN:?}" "${DATA:=${XDG_CACHE_HOME:-$HOME/.cache}/slipway/docker}"
source "$here/../cluster/processes.sh"
docker=(docker --host "unix://$RUN/docker.sock")

up() {
  mkdir -p "$RUN/log" "$RUN/pid" "$DATA"
  echo '{}' >"$RUN/daemon.json" # instead of the one of the machine's own engine
  start dockerd dockerd --host "unix://$RUN/docker.sock" --data-root "$DATA" --exec-root "$RUN/exec" --pidfile "$RUN/dockerd.pid" \
    --config-file "$RUN/daemon.json" --bridge none --iptables=false --ip6tables=false \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent slipway-docker
  wait_for 60 dockerd "${docker[@]}" version || { tail -n 20 "$RUN/log/dockerd.log"; return 1; }
}

down() {
  if [[ ! -d $RUN ]]; then return; fi
  local containers
  containers=$("${docker[@]}" ps -aq 2>/dev/null || true)
  if [[ -n $containers ]]; then "${docker[@]}" rm --force $containers >/dev/null; fi
  "${docker[@]}" image prune --force --filter until=48h >/dev/null 2>&1 || true # build stages that are older than two days
  stop dockerd # ends its containerd as well
  awk -v run="$RUN/" 'index($5, run) == 1 {print $5}' /proc/self/mountinfo | sort -r | xargs -r umount -l
  find /sys/fs/cgroup -depth -type d -path '*/slipway-docker*' -exec rmdir {} + 2>/dev/null || true
  rm -rf "$RUN"
  # Directories that dockerd and the shims make whatever they are told; only what is empty goes.
  rmdir /run/docker/{plugins,} /run/containerd/{s,fifo,} 2>/dev/null || true
}

case ${1-} in
  up | down) "$1" ;;
  *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
