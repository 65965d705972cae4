#!/usr/bin/env bash
# kubelet.sh start   starts the node's kubelet
# kubelet.sh kill    ends it as a crash does (SIGKILL): containers run on, and nobody tells the API server of them
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
case ${1-} in
  start)
    start kubelet "$BIN/kubelet" --config="$RUN/kubelet.yaml" --kubeconfig="$RUN/kubelet.kubeconfig" --root-dir="$RUN/kubelet" \
      --cert-dir="$RUN/kubelet/pki" --hostname-override="$NODE_NAME" --node-ip="$HOST" --v=2
    ;;
  kill)
    SIGNAL=KILL stop kubelet
    ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
