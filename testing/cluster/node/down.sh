#!/usr/bin/env bash
# Stops what up.sh started and removes every trace: containers, processes, mounts, cgroups, the network namespace and $RUN.
# Keeps $IMAGES. Ends only processes that up.sh started (those with a pid file, and the containerd shims that carry this cluster's
# socket on their command line) and what a test left running inside the namespace. KEEP_LOGS=DIR copies the logs to DIR first.
set -uo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [[ ! -d $RUN && ! -e /run/netns/$NS ]]; then exit 0; fi

# Processes that tests started inside the namespace and did not stop.
guests() {
  local pid
  for pid in $(ip netns pids "$NS" 2>/dev/null); do ours "$pid" || kill -KILL "$pid"; done
}

# Kills and deletes every container, so that the shims take down their mounts and cgroups; then what libcni remembers of them.
containers() {
  local id ids
  [[ -S $CRI_SOCK ]] || return 0
  mapfile -t ids < <(cri tasks list -q)
  if ((${#ids[@]})); then cri tasks rm --force "${ids[@]}" >/dev/null 2>&1; fi
  for id in $(cri containers list -q); do rm -f "/var/lib/cni/results/"*"-$id-"*; done
}

shims() {
  local pid
  for pid in $(shim_pids); do kill -KILL "$pid"; done
}

mounts() {
  local path
  awk -v run="$RUN/" 'index($5, run) == 1 {print $5}' /proc/self/mountinfo | sort -r | while read -r path; do umount -l "$path"; done
}

cgroups() {
  local try
  for try in 1 2 3 4 5; do
    find /sys/fs/cgroup/*/kubepods -depth -type d -exec rmdir {} + 2>/dev/null
    [[ -z $(find /sys/fs/cgroup -maxdepth 2 -name kubepods) ]] && return
    sleep 0.5
  done
  say "cgroups left under /sys/fs/cgroup/*/kubepods after $try tries" >&2
}

# Paths outside $RUN that the kubelet, libcni, the shims and iproute2 use whatever they are told. Only what is empty goes.
fixed_paths() {
  find /var/log/containers -lname "$RUN/pod-logs/*" -delete
  rm -f /var/lib/kubelet/device-plugins/{kubelet.sock,DEPRECATION}
  rmdir /run/containerd/{s,fifo,} /var/lib/cni/{results,} /var/lib/kubelet/{device-plugins,} /var/log/containers
  if [[ -d /run/netns && -z $(ls /run/netns) ]]; then umount /run/netns; rmdir /run/netns; fi
} 2>/dev/null

stop kubelet
guests
containers
stop kcm scheduler kube-proxy coredns containerd apiserver registry
shims
stop etcd
mounts
cgroups
if [[ -e /run/netns/$NS ]]; then ip netns del "$NS"; fi
if [[ -f $RUN/sysctl.saved ]]; then xargs sysctl -qw <"$RUN/sysctl.saved"; fi
if [[ -n ${KEEP_LOGS-} && -d $LOG ]]; then mkdir -p "$KEEP_LOGS"; cp "$LOG"/* "$KEEP_LOGS"; fi
rm -rf "$RUN"
fixed_paths
say "down after ${SECONDS}s"
