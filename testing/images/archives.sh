#!/usr/bin/env bash
# archives.sh build NAME...          makes image archives from files of this machine: no registry, no docker, no root needed
# archives.sh push REGISTRY NAME...  puts them into a registry
# archives.sh path NAME              prints where an archive lies
# An archive is made again only when something it is made of has changed. NAME:
#   pause     what holds a pod's namespaces
#   busybox   a shell with the usual commands; also a foreign worker image that knows nothing of Slipway
#   base      Node.js alone, laid out like gcr.io/distroless/nodejs: the base of our images where no registry can be reached
#   builder   Node.js with npm and a shell, laid out like docker.io/library/node: the builder stage of our images
#   python    Python with its standard library: a worker of somebody else
#   git       git over HTTP and a shell: what clones a repository
#   kaniko-stand-in   the stand-in for Kaniko's executor (../builder), of which $STAND_IN is the bundle
#   postgres  PostgreSQL on Debian's base (debootstrap), begun as docker.io/library/postgres is; needs root
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/../cluster/processes.sh"
: "${IMAGES:=${XDG_CACHE_HOME:-$HOME/.cache}/slipway/images}"
: "${NODE_BIN:=$(readlink -f "$here/../../node_modules/.bin/node")}" # a Node.js 26 binary
: "${NPM_DIR:=$(readlink -f "$(dirname "$(readlink -f "$(command -v npm)")")/..")}"
: "${BUSYBOX:=/bin/busybox}" # Debian: busybox-static
: "${CA_BUNDLE:=/etc/ssl/certs/ca-certificates.crt}"
: "${GIT_CORE:=/usr/lib/git-core}"
sources=("${BASH_SOURCE[0]}" "$here/postgres-entrypoint.sh" "$here/mkimage.py" "$here/pause.c" "$NODE_BIN" "$BUSYBOX" "$CA_BUNDLE")

declare -A tags=([pause]=pause:3.10 [busybox]=busybox:1 [base]=base:26 [builder]=builder:26 [python]=python:3 [postgres]=postgres:debian
  [git]=git:2 [kaniko-stand-in]=kaniko-stand-in:1)
# What an image is made of besides.
declare -A own=([git]=$GIT_CORE/git [kaniko-stand-in]=${STAND_IN-})

path() { echo "$IMAGES/${tags[$1]/:/_}.tar"; }

# image NAME MKIMAGE_ARGUMENTS...
image() { local name=$1; shift; python3 "$here/mkimage.py" "$(path "$name").part" "${tags[$name]}" "$@"; mv "$(path "$name").part" "$(path "$name")"; }

# libraries BINARY [FOLDER]: --add arguments for the shared libraries that BINARY needs, and for the rest of glibc, which native modules may need.
# They stay where they are, or go into FOLDER, from which the loader among them can start BINARY whatever lies elsewhere.
libraries() {
  local needed lib directory
  needed=$(ldd "$1" | awk '/=> \// {print $3} /^\t\/lib/ {print $1}')
  directory=$(dirname "$(grep '/libc\.so' <<<"$needed")")
  for lib in $(printf '%s\n' $needed "$directory"/lib{rt,resolv,util,anl,nss_dns,nss_files}.so.[12] | sort -u); do printf -- '--add %s:%s ' "$(readlink -f "$lib")" "$(if [[ $# = 2 ]]; then echo "$2/${lib##*/}"; else echo "$lib"; fi)"; done
}

# tree WITH_SHELL: a file tree with users, and with busybox's commands.
tree() {
  local applet
  mkdir -p "$work/tree"/{bin,etc,tmp,root,usr/bin,usr/local/bin,home/nonroot}
  printf 'root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/bin/sh\n' >"$work/tree/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/tree/etc/group"
  if [[ $1 = no ]]; then return; fi
  cp "$BUSYBOX" "$work/tree/bin/busybox"
  for applet in $("$BUSYBOX" --list); do [[ $applet = busybox ]] || ln -sf busybox "$work/tree/bin/$applet"; done
  ln -s /bin/busybox "$work/tree/usr/bin/env"
}

make() {
  case $1 in
    pause)
      gcc -static -Os -s -o "$work/pause" "$here/pause.c"
      image pause --add "$work/pause:/pause:755" --entrypoint '["/pause"]' --user 65535:65535
      ;;
    busybox)
      tree yes
      image busybox --add "$work/tree:/" --cmd '["sh"]'
      ;;
    base)
      tree no
      # shellcheck disable=SC2046
      image base --add "$work/tree:/" --add "$NODE_BIN:/nodejs/bin/node:755" $(libraries "$NODE_BIN") --add "$CA_BUNDLE:/etc/ssl/certs/ca-certificates.crt:644" \
        --entrypoint '["/nodejs/bin/node"]' --user 65532 --workdir /home/nonroot
      ;;
    builder)
      tree yes
      ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/tree/usr/local/bin/npm"
      # NODE_EXTRA_CA_CERTS: what this machine trusts, so that npm works behind a proxy with a certificate of its own.
      # shellcheck disable=SC2046
      image builder --add "$work/tree:/" --add "$NODE_BIN:/usr/local/bin/node:755" $(libraries "$NODE_BIN") --add "$NPM_DIR:/usr/local/lib/node_modules/npm" \
        --add "$CA_BUNDLE:/etc/ssl/certs/ca-certificates.crt:644" --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt --env npm_config_update_notifier=false --cmd '["node"]'
      ;;
    python)
      local python stdlib
      python=$(readlink -f "${PYTHON:-/usr/bin/python3}")
      stdlib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
      tree yes
      # shellcheck disable=SC2046
      image python --add "$work/tree:/" --add "$python:/usr/bin/python3:755" $(libraries "$python") --add "$stdlib:$stdlib" --entrypoint '["/usr/bin/python3"]'
      ;;
    git)
      tree yes
      mkdir -p "$work/tree$GIT_CORE"
      # Without what serves, mails or signs; git's own commands are links to it.
      cp -a "$GIT_CORE"/{git,git-[a-c]*,git-fetch*,git-in*,git-ls-*,git-re*,git-sh-*,git-sub*} "$work/tree$GIT_CORE/"
      cp -aL "$(command -v git)" "$work/tree/usr/bin/git"
      # shellcheck disable=SC2046
      image git --add "$work/tree:/" $(libraries "$GIT_CORE/git-remote-http") --add "$CA_BUNDLE:/etc/ssl/certs/ca-certificates.crt:644" \
        --cmd '["sh"]' --user 65532:65532 --workdir /home/nonroot
      ;;
    kaniko-stand-in)
      local loader
      loader=/kaniko/lib/$(basename "$(ldd "$NODE_BIN" | awk '/^\t\/lib/ {print $1}')")
      # All in one folder, as Kaniko's is: the image that is built lies beside it. A registry in a cluster may have a certificate of the machine's own.
      # shellcheck disable=SC2046
      image kaniko-stand-in --add "$NODE_BIN:/kaniko/node:755" --add "$STAND_IN:/kaniko/executor.mjs:644" $(libraries "$NODE_BIN" /kaniko/lib) \
        --add "$CA_BUNDLE:/kaniko/ssl/certs/ca-certificates.crt:644" --env NODE_EXTRA_CA_CERTS=/kaniko/ssl/certs/ca-certificates.crt --env DOCKER_CONFIG=/kaniko/.docker \
        --entrypoint "[\"$loader\", \"--library-path\", \"/kaniko/lib\", \"/kaniko/node\", \"/kaniko/executor.mjs\"]"
      ;;
    postgres)
      local codename
      codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
      debootstrap --variant=minbase --include=postgresql "$codename" "$work/tree" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/log" 2>&1 ||
        { tail -n 20 "$work/log"; return 1; }
      # What a container of one program never reads.
      rm -rf "$work/tree"/{var/cache/apt/archives,var/lib/apt/lists,usr/share/{doc,man,locale,info}}/* "$work/tree"/usr/lib/*/libLLVM* "$work/tree"/dev/* "$work/tree/etc/ssl/private"/*
      install -m 755 "$here/postgres-entrypoint.sh" "$work/tree/usr/local/bin/"
      image postgres --add "$work/tree:/" --entrypoint '["/usr/local/bin/postgres-entrypoint.sh"]' --cmd '["postgres"]' --user 65534:65534 --env PGDATA=/tmp/data
      ;;
  esac
}

# By content: a checkout of its own gives every file a new time.
sum() { sha256sum "${sources[@]}" ${own[$1]-} | awk '{print $1}' | sha256sum | cut -d' ' -f1; }

fresh() { [[ -f $(path "$1") && -f $(path "$1").sum && $(<"$(path "$1").sum") = "$2" ]]; }

build() {
  local name sum
  mkdir -p "$IMAGES"
  for name in "$@"; do
    sum=$(sum "$name")
    if fresh "$name" "$sum"; then continue; fi
    say "making image ${tags[$name]}"
    work=$(mktemp -d)
    make "$name"
    echo "$sum" >"$(path "$name").sum"
    rm -rf "$work"
  done
}

push() {
  local registry=$1 name; shift
  for name in "$@"; do
    skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci-archive:$(path "$name")" "docker://$registry/${tags[$name]}"
  done
}

case ${1-} in
  build | push | path) "$@" ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
