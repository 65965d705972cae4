#!/usr/bin/env bash
# A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, optionally KWOK.
#   control-plane.sh build      builds its binaries, kubectl, helm and KWOK (about 8 minutes on 2 cores, seconds when Go has them cached)
#   control-plane.sh node       builds what node/ needs besides: kubelet, kube-proxy, CoreDNS, registry (5 more minutes)
#   control-plane.sh lint       builds actionlint, which checks .github/workflows (10 seconds)
#   control-plane.sh policy     builds the evaluator of network policies (a minute)
#   control-plane.sh registry   builds the registry alone, which a node has as well
#   control-plane.sh missing build|node|lint|policy|registry   names the binaries that one of them would build
#   control-plane.sh up         starts everything, KWOK where STAGES is set; prints the kubeconfig's path (about 6 seconds)
#   control-plane.sh down       stops exactly what `up` started and removes RUN
#   control-plane.sh apiserver-down|apiserver-again   stops the API server alone (with SIGNAL, else TERM); starts it again, and all but etcd anew
# BIN: where binaries go. RUN: state, keys, logs, pids. PORT: the API server's port (etcd and the others use the four after it).
# STAGES: files of KWOK stages, separated by commas. AUDIT: a file with an audit policy; the log is then RUN/log/audit.log.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
K8S=v1.35.8 HELM=v4.2.4 KWOK=v0.8.0 COREDNS=v1.14.7 REGISTRY=v3.1.2 ACTIONLINT=v1.7.12 CYCLONUS=v0.5.6
BIN=${BIN:-${XDG_CACHE_HOME:-$HOME/.cache}/slipway/k8s-$K8S}
RUN=${RUN:-/tmp/slipway-control-plane}
PORT=${PORT:-16443}
STAGES=${STAGES:-}
AUDIT=${AUDIT:-}
KUBECONFIG_ADMIN=$RUN/admin.kubeconfig ETCD=http://127.0.0.1:$((PORT + 1))
source "$here/processes.sh"

# What each command builds: name and version. A stamp beside each binary says which version it is.
build_tools=("etcd $K8S" "kube-apiserver $K8S" "kube-controller-manager $K8S" "kube-scheduler $K8S" "kubectl $K8S" "kwok $KWOK" "helm $HELM")
node_tools=("kubelet $K8S" "kube-proxy $K8S" "coredns $COREDNS" "registry $REGISTRY")
lint_tools=("actionlint $ACTIONLINT")
policy_tools=("cyclonus $CYCLONUS")
registry_tools=("registry $REGISTRY")

# tool NAME VERSION: builds one binary unless it is there in that version.
tool() {
  if [[ -x $BIN/$1 && -e $BIN/.$1@$2 ]]; then return; fi
  say "building $1 $2"
  local v=$K8S minor=${K8S#v1.} stamp='-s -w' package
  minor=${minor%%.*}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do # unstamped servers report a version that helm and kubectl cannot parse
    stamp+=" -X $package.gitVersion=$v -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean -X $package.gitCommit=module"
  done
  case $1 in
    etcd) go -C "$here/k8s" build -trimpath -ldflags '-s -w' -o "$BIN/etcd" go.etcd.io/etcd/server/v3 ;;
    kube*) go -C "$here/k8s" build -trimpath -ldflags "$stamp" -o "$BIN/" "k8s.io/kubernetes/cmd/$1" ;;
    kwok) go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kwok/cmd/kwok@$2" ;;
    helm) go install -trimpath -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$2" "helm.sh/helm/v4/cmd/helm@$2" ;;
    coredns) go install -trimpath -ldflags '-s -w' "github.com/coredns/coredns@$2" ;;
    registry) go install -trimpath -ldflags '-s -w' "github.com/distribution/distribution/v3/cmd/registry@$2" ;;
    actionlint) go install -trimpath -ldflags '-s -w' "github.com/rhysd/actionlint/cmd/actionlint@$2" ;;
    cyclonus) go install -trimpath -ldflags '-s -w' "github.com/mattfenwick/cyclonus/cmd/cyclonus@$2" ;;
  esac
  rm -f "$BIN/.$1@"*
  touch "$BIN/.$1@$2"
}

tools() {
  local entry
  export GOTOOLCHAIN=local CGO_ENABLED=0 GOBIN=$BIN
  mkdir -p "$BIN"
  for entry in "$@"; do tool ${entry}; done
}
build() { tools "${build_tools[@]}"; }
node() { tools "${node_tools[@]}"; }
lint() { tools "${lint_tools[@]}"; }
policy() { tools "${policy_tools[@]}"; }
registry() { tools "${registry_tools[@]}"; }

missing() {
  local entry name version
  local -n list=${1}_tools
  for entry in "${list[@]}"; do
    read -r name version <<<"$entry"
    [[ -x $BIN/$name && -e $BIN/.$name@$version ]] || echo "$name"
  done
}

keys() {
  local ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
  mkdir -p "$RUN/pki"
  cd "$RUN/pki"
  openssl req -x509 $ec -days 30 -subj /CN=test-ca -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  cert() { # name subject SANs
    openssl req $ec -subj "$2" -keyout "$1.key" -out "$1.csr"
    printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=%s\n' "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile "$1.ext" -out "$1.crt"
  }
  cert apiserver /CN=kube-apiserver DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1
  cert admin /O=system:masters/CN=admin DNS:admin
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub
}

apiserver-up() {
  local audit=()
  # Each event is written before its request is answered, into one file: nothing is lost but by a kill, and nothing is rotated away.
  if [[ -n $AUDIT ]]; then audit=(--audit-policy-file="$AUDIT" --audit-log-path="$RUN/log/audit.log" --audit-log-mode=blocking --audit-log-maxsize=1000000); fi
  start apiserver "$BIN/kube-apiserver" --etcd-servers="$ETCD" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$PORT" --endpoint-reconciler-type=none \
    --cert-dir="$RUN/pki" --tls-cert-file="$RUN/pki/apiserver.crt" --tls-private-key-file="$RUN/pki/apiserver.key" --client-ca-file="$RUN/pki/ca.crt" \
    --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$RUN/pki/sa.pub" --service-account-signing-key-file="$RUN/pki/sa.key" \
    ${audit[@]+"${audit[@]}"}
  wait_for 60 apiserver "$BIN/kubectl" --kubeconfig="$KUBECONFIG_ADMIN" get --raw /readyz
}
apiserver-down() { stop apiserver; }

controllers-up() {
  local common="--kubeconfig=$KUBECONFIG_ADMIN --authentication-kubeconfig=$KUBECONFIG_ADMIN --authorization-kubeconfig=$KUBECONFIG_ADMIN --bind-address=127.0.0.1 --leader-elect=false --kube-api-qps=500 --kube-api-burst=1000"
  start kcm "$BIN/kube-controller-manager" $common --secure-port=$((PORT + 3)) --service-account-private-key-file="$RUN/pki/sa.key" --root-ca-file="$RUN/pki/ca.crt"
  start scheduler "$BIN/kube-scheduler" $common --secure-port=$((PORT + 4))
}
kwok-up() {
  start kwok "$BIN/kwok" --kubeconfig="$KUBECONFIG_ADMIN" --config="$here/kwok/stages.yaml,$STAGES" \
    --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake --node-lease-duration-seconds=40 --cidr=10.0.0.1/16
}

# Whoever watched the API server waits up to a minute before it tries again, longer each time. What needs nothing of its own starts anew.
apiserver-again() {
  SIGNAL=KILL stop kwok scheduler kcm
  apiserver-up
  controllers-up
  if [[ -n $STAGES ]]; then
    # A new KWOK would wait for the end of the old one's node lease before it touches a pod.
    "$BIN/kubectl" --kubeconfig="$KUBECONFIG_ADMIN" -n kube-node-lease delete lease kwok --ignore-not-found >/dev/null
    kwok-up
  fi
}

up() {
  local kubeconfig=$KUBECONFIG_ADMIN peer=http://127.0.0.1:$((PORT + 2))
  local k="$BIN/kubectl --kubeconfig=$kubeconfig"
  mkdir -p "$RUN/log" "$RUN/pid"
  (keys 2>"$RUN/log/openssl.log")
  $k config set-cluster c --server="https://127.0.0.1:$PORT" --certificate-authority="$RUN/pki/ca.crt" --embed-certs >/dev/null
  $k config set-credentials a --client-certificate="$RUN/pki/admin.crt" --client-key="$RUN/pki/admin.key" --embed-certs >/dev/null
  $k config set-context x --cluster=c --user=a >/dev/null
  $k config use-context x >/dev/null
  start etcd "$BIN/etcd" --name=n --data-dir="$RUN/etcd" --unsafe-no-fsync --log-level=warn --listen-client-urls="$ETCD" --advertise-client-urls="$ETCD" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="n=$peer"
  apiserver-up
  controllers-up
  wait_for 60 'service account default' $k -n default get sa default
  if [[ -n $STAGES ]]; then
    $k apply -f "$here/kwok/node.yaml" >/dev/null
    kwok-up
    $k wait --for=condition=Ready node/kwok --timeout=60s >/dev/null
  fi
  say "up after ${SECONDS}s: $kubeconfig"
}

down() {
  SIGNAL=KILL stop kwok scheduler kcm apiserver etcd # the state is thrown away: nothing has to end in good order
  rm -rf "$RUN"
}

case ${1-} in
  build | node | lint | policy | registry | up | down | apiserver-down | apiserver-again) "$1" ;;
  missing) missing "$2" ;;
  *) sed -n '2,13s/^# //p' "$0" >&2; exit 2 ;;
esac
