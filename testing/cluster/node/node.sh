#!/usr/bin/env bash
# node.sh up     removes what an earlier node has left, if anything, and starts one: see up.sh
# node.sh down   see down.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case ${1-} in
  up)
    "$here/down.sh"
    "$here/up.sh"
    ;;
  down) "$here/down.sh" ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
