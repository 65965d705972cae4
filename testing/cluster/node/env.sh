# shellcheck shell=bash
# Paths and addresses of the one-node test cluster. Sourced by up.sh, down.sh and images.sh.
# Every value can be overridden from the environment.
: "${HERE:=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}"
: "${CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/slipway}"
: "${BIN:=$CACHE/k8s-v1.35.8}"       # etcd, kube-*, kubectl, kubelet, kube-proxy, coredns, registry: ../control-plane.sh builds them
: "${RUN:=$CACHE/node/run}"          # everything that one run makes: state, certificates, logs; down.sh removes it
: "${IMAGES:=$CACHE/images}"         # image archives, kept
: "${NS:=slipway}"                   # network namespace (named, so that nsenter can enter it)
: "${NODE_NAME:=node1}"                # not NODE: npm sets that one
: "${HOST:=10.255.0.1}"              # node, apiserver and registry address (on bridge kube0)
: "${API_PORT:=16443}"
: "${REGISTRY:=$HOST:5000}"
: "${OUTSIDE:=10.255.2.1}"           # the machine's end of the link into the namespace: where pods reach a test's own servers
: "${UPLINK:=10.255.2.2}"            # the namespace's end
: "${POD_CIDR:=10.244.0.0/24}"
: "${POD_GW:=10.244.0.1}"            # bridge cni0; cluster DNS listens here
: "${SVC_CIDR:=10.96.0.0/16}"
: "${SVC_API:=10.96.0.1}"            # first address of SVC_CIDR: the `kubernetes` Service
: "${CNI_BIN:=/usr/lib/cni}"
: "${RUNC:=$(command -v runc)}"
: "${PAUSE:=$REGISTRY/pause:3.10}"

PKI=$RUN/pki
LOG=$RUN/log
PID=$RUN/pid
CRI_SOCK=$RUN/containerd.sock
IN=(nsenter --net="/run/netns/$NS")  # not `ip netns exec`: that remounts /sys and hides /sys/fs/cgroup
export KUBECONFIG=$RUN/admin.kubeconfig
source "$HERE/../processes.sh"

kc() { "${IN[@]}" "$BIN/kubectl" "$@"; }
cri() { "${IN[@]}" ctr --address "$CRI_SOCK" --namespace k8s.io "$@"; }

# shim_pids: the containerd shims of this cluster, known by its socket on their command line.
shim_pids() {
  local dir
  for dir in /proc/[0-9]*; do
    if { tr '\0' ' ' <"$dir/cmdline"; } 2>/dev/null | grep -q "^[^ ]*containerd-shim-runc-v2 .*-address $CRI_SOCK "; then echo "${dir#/proc/}"; fi
  done
}
