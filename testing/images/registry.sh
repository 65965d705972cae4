#!/usr/bin/env bash
# A registry at ADDRESS that keeps nothing: what it holds lies in RUN.
#   registry.sh up     starts it; HTPASSWD: the users that it asks for, if not empty
#   registry.sh down   stops it
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${RUN:?}" "${BIN:?}" "${ADDRESS:?}" "${HTPASSWD=}"
source "$here/../cluster/processes.sh"

up() {
  mkdir -p "$RUN"/{log,pid,data}
  cat >"$RUN/registry.yaml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: $RUN/data}}
http: {addr: "$ADDRESS", secret: test}
YAML
  if [[ -n $HTPASSWD ]]; then
    echo "$HTPASSWD" >"$RUN/htpasswd"
    echo "auth: {htpasswd: {realm: tests, path: $RUN/htpasswd}}" >>"$RUN/registry.yaml"
  fi
  start registry env OTEL_TRACES_EXPORTER=none "$BIN/registry" serve "$RUN/registry.yaml"
  wait_for 30 registry curl -sS "http://$ADDRESS/v2/" || { tail -n 20 "$RUN/log/registry.log"; return 1; }
}

down() { if [[ -d $RUN/pid ]]; then stop registry; fi; }

case ${1-} in
  up | down) "$1" ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
