#!/usr/bin/env bash
# Starts a real one-node Kubernetes cluster inside one network namespace: etcd, apiserver, controller manager,
# scheduler, containerd, kubelet, kube-proxy, CoreDNS and an OCI registry. Needs root. Stop it with down.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

if [[ -e /run/netns/$NS ]]; then say "namespace $NS exists: run down.sh first" >&2; exit 1; fi
"$HERE/../../images/archives.sh" build pause busybox base
trap 'say "failed: see $LOG, then run down.sh" >&2' ERR
mkdir -p "$RUN" "$PKI" "$LOG" "$PID"

network() {
  # The kubelet changes kernel settings of the whole machine; down.sh puts these values back.
  local key
  for key in vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes; do
    echo "$key=$(sysctl -n "$key")"
  done >"$RUN/sysctl.saved"

  ip netns add "$NS"
  "${IN[@]}" sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  # The link to the machine: a test outside reaches API server, registry and Services' node address at $HOST, pods reach a test's servers at $OUTSIDE.
  ip link add "$NS" type veth peer name uplink netns "$NS"
  ip addr add "$OUTSIDE/30" dev "$NS"
  ip link set "$NS" up
  "${IN[@]}" ip -batch - <<IP
addr add $UPLINK/30 dev uplink
link set uplink up
link set lo up
link add kube0 type bridge
addr add $HOST/24 dev kube0
link set kube0 up
link add cni0 type bridge
addr add $POD_GW/24 dev cni0
link set cni0 up
route add $SVC_CIDR dev kube0
IP
  ip route add "$HOST/32" via "$UPLINK"
  ip route add "$POD_CIDR" via "$UPLINK" # no masquerading: a test's server sees which pod calls
}

certificates() (
  cd "$PKI"
  local ec=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  openssl req -x509 "${ec[@]}" -days 30 -subj /CN=test-ca -keyout ca.key -out ca.crt \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
  # certificate NAME SUBJECT SUBJECT_ALT_NAMES
  certificate() {
    openssl req "${ec[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(
      printf '%s\n' basicConstraints=CA:FALSE keyUsage=digitalSignature extendedKeyUsage=serverAuth,clientAuth "subjectAltName=$3")
  }
  local svc=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
  certificate apiserver /CN=kube-apiserver "$svc,DNS:localhost,IP:127.0.0.1,IP:$SVC_API,IP:$HOST"
  certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client DNS:client
  certificate front-proxy /CN=front-proxy DNS:front-proxy
  certificate admin /O=system:masters/CN=admin DNS:admin
  certificate kcm /CN=system:kube-controller-manager DNS:kcm
  certificate scheduler /CN=system:kube-scheduler DNS:scheduler
  certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:$HOST"
  certificate kube-proxy /CN=system:kube-proxy DNS:kube-proxy
  certificate coredns /CN=system:coredns DNS:coredns
  openssl ecparam -name prime256v1 -genkey -noout -out sa.key
  openssl ec -in sa.key -pubout -out sa.pub
)

kubeconfigs() {
  local user
  for user in admin kcm scheduler kubelet kube-proxy coredns; do
    cat >"$RUN/$user.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://$HOST:$API_PORT", certificate-authority: $PKI/ca.crt}}]
users: [{name: u, user: {client-certificate: $PKI/$user.crt, client-key: $PKI/$user.key}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
YAML
  done
}

registry() {
  cat >"$RUN/registry.yaml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $RUN/registry}, delete: {enabled: true}}
http: {addr: "$REGISTRY", secret: test}
YAML
  start registry env OTEL_TRACES_EXPORTER=none "$BIN/registry" serve "$RUN/registry.yaml"
}

control_plane() {
  local etcd=http://127.0.0.1:12379 peer=http://127.0.0.1:12380
  start etcd "$BIN/etcd" --name=n --data-dir="$RUN/etcd" --unsafe-no-fsync --quota-backend-bytes=4294967296 --log-level=warn \
    --listen-client-urls=$etcd --advertise-client-urls=$etcd \
    --listen-peer-urls=$peer --initial-advertise-peer-urls=$peer --initial-cluster=n=$peer
  start apiserver "$BIN/kube-apiserver" --etcd-servers=$etcd --bind-address=0.0.0.0 --advertise-address="$HOST" --secure-port="$API_PORT" \
    --endpoint-reconciler-type=lease \
    --cert-dir="$PKI" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-cluster-ip-range="$SVC_CIDR" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key"
  wait_for 120 apiserver kc get --raw /readyz
  say "apiserver is ready"
  start kcm "$BIN/kube-controller-manager" --kubeconfig="$RUN/kcm.kubeconfig" \
    --authentication-kubeconfig="$RUN/kcm.kubeconfig" --authorization-kubeconfig="$RUN/kcm.kubeconfig" \
    --bind-address=127.0.0.1 --cert-dir="$RUN/kcm" --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/sa.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
  start scheduler "$BIN/kube-scheduler" --kubeconfig="$RUN/scheduler.kubeconfig" \
    --authentication-kubeconfig="$RUN/scheduler.kubeconfig" --authorization-kubeconfig="$RUN/scheduler.kubeconfig" \
    --bind-address=127.0.0.1 --cert-dir="$RUN/scheduler" --leader-elect=false
}

container_runtime() {
  mkdir -p "$RUN/cni/net.d" "$RUN/certs.d/$REGISTRY"
  cat >"$RUN/certs.d/$REGISTRY/hosts.toml" <<TOML
server = "http://$REGISTRY"
[host."http://$REGISTRY"]
  capabilities = ["pull", "resolve"]
TOML
  cat >"$RUN/cni/net.d/10-$NS.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "$NS", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$RUN/cni/ipam", "ranges": [[{"subnet": "$POD_CIDR"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "iptables"}]}
JSON
  cat >"$RUN/containerd.toml" <<TOML
version = 2
root = "$RUN/containerd"
state = "$RUN/containerd-state"
[grpc]
  address = "$CRI_SOCK"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$PAUSE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$CNI_BIN"
    conf_dir = "$RUN/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$RUN/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "$RUNC"
        Root = "$RUN/runc"
TOML
  start containerd containerd --config "$RUN/containerd.toml"
  wait_for 60 containerd cri version
}

node() {
  echo "nameserver $POD_GW" >"$RUN/resolv.conf"
  cat >"$RUN/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix://$CRI_SOCK
failCgroupV1: false
failSwapOn: false
resolvConf: $RUN/resolv.conf
clusterDNS: [$POD_GW]
clusterDomain: cluster.local
address: $HOST
readOnlyPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
oomScoreAdj: 0
maxOpenFiles: 20000
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
podLogsDir: $RUN/pod-logs
volumePluginDir: $RUN/kubelet/volume-plugins
YAML
  "$HERE/kubelet.sh" start
  cat >"$RUN/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $NODE_NAME
clusterCIDR: $POD_CIDR
oomScoreAdj: 0
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
clientConnection: {kubeconfig: $RUN/kube-proxy.kubeconfig}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
YAML
  start kube-proxy "$BIN/kube-proxy" --config="$RUN/kube-proxy.yaml" --v=2
}

dns() {
  kc apply -f "$HERE/coredns-rbac.yaml" >/dev/null
  cat >"$RUN/Corefile" <<CORE
cluster.local:53 in-addr.arpa:53 {
  bind $POD_GW
  errors
  kubernetes cluster.local in-addr.arpa {
    kubeconfig $RUN/coredns.kubeconfig
  }
}
.:53 {
  bind $POD_GW
  template ANY ANY {
    rcode NXDOMAIN
  }
}
CORE
  start coredns "$BIN/coredns" -conf "$RUN/Corefile"
}

say "network namespace $NS"; network
certificates 2>"$LOG/openssl.log"
kubeconfigs
registry
container_runtime
control_plane
node
dns
wait_for 120 "node $NODE_NAME" kc get node "$NODE_NAME"
kc wait --for=condition=Ready "node/$NODE_NAME" --timeout=120s >/dev/null; say "node is Ready"
wait_for 60 "default service account" kc get serviceaccount default
"${IN[@]}" "$HERE/../../images/archives.sh" push "$REGISTRY" pause busybox base
say "up after ${SECONDS}s: KUBECONFIG=$RUN/admin.kubeconfig $BIN/kubectl get nodes"
