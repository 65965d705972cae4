/**
 * How a repository is brought into a pod: a script for any image with git and a shell. What it is told comes by variables, never as part of
 * its text; credentials by variables of a Secret, which git asks for by a helper: they stand in no URL, no argument, no file and no log.
 */

/** Variables of the script. */
export const CLONE_ENV = {
  repository: 'CI_REPOSITORY',
  /** The exact commit; '' where a ref is named. */
  commit: 'CI_COMMIT',
  ref: 'CI_REF',
  /** `true` or `false`. */
  submodules: 'CI_SUBMODULES',
  /** Paths in the repository, which have to be there. */
  context: 'CI_CONTEXT',
  dockerfile: 'CI_DOCKERFILE',
  /** Keys of the Secret; the latter is a password or a token. Not set for a repository that everybody may read. */
  user: 'GIT_USERNAME',
  password: 'GIT_PASSWORD',
  /** Where they may be sent: `https://github.com https://git.example.com:8443`. */
  origins: 'CI_GIT_ORIGINS',
} as const;

/** Exit codes of the script; git's own failures, and a commit that is not there, are 1 or 128. */
export const CLONE_EXIT = { wrongCommit: 65, nothingToBuild: 66, lfs: 67 } as const;

/**
 * Run by git as an alias, in a repository that is checked out: its files of Git LFS instead of the pointers to them, or an error. Its text stands
 * between single quotes and so has none.
 *
 * The filter of the image that clones does not count, since no configuration of the system is read. The address is always given: `.lfsconfig`
 * would else bring git-lfs to `ssh:` or to a folder of the pod, which GIT_ALLOW_PROTOCOL does not keep it from; it takes no program from that
 * file. git-lfs ends with 0 although a file could not be written, hence the look at what is there afterwards.
 */
const FETCH_LFS = `fail() { echo "error: $*" >&2; exit 1; }
git grep --quiet --cached --text -E "^version https://(git-lfs|hawser)[.]github[.]com/spec/" -- ":(attr:filter=lfs)"
case $? in 0) ;; 1) exit 0 ;; *) fail "it cannot be told whether the repository has files of Git LFS" ;; esac
of() { git config --blob HEAD:.lfsconfig "$1" 2>/dev/null; }
url=$(of lfs.url || of remote.origin.lfsurl) || url=
if [ -z "$url" ]; then url=$(git config remote.origin.url) && url=\${url%/} && url=\${url%.git}.git/info/lfs; fi
case $url in http://* | https://*) ;; *) fail ".lfsconfig names $url for Git LFS, and only http and https are spoken" ;; esac
git lfs version >/dev/null 2>&1 || fail "the repository has files of Git LFS, and the image that clones has no git-lfs: name one by ci.gitImage that has"
echo "fetching files of Git LFS from $url"
pull() { git -c "lfs.url=$url" -c lfs.skipdownloaderrors=false -c filter.lfs.clean="git-lfs clean -- %f" -c filter.lfs.smudge="git-lfs smudge -- %f" \\
  -c filter.lfs.process="git-lfs filter-process" -c filter.lfs.required=true lfs pull; }
{ said=$(pull 2>&1 >&4) && code=0 || code=$?; } 4>&1
[ -z "$said" ] || printf "%s\\n" "$said" >&2
[ $code = 0 ] || fail "files of Git LFS cannot be fetched from $url: $(printf "%s\\n" "$said" | sed -n "/^batch response: /{p;q;};/^\\[/{p;q;}")"
include=$(of lfs.fetchinclude) || include=
exclude=$(of lfs.fetchexclude) || exclude=
left=$(git lfs ls-files --include "$include" --exclude "$exclude" | sed -n "s/^[0-9a-f]* - //p" | head -n 1)
[ -z "$left" ] || fail "git lfs pull left a pointer in the place of $left"`;

/**
 * Run in the workspace, an empty folder. The commit that was checked out is what it writes last into the termination message.
 *
 * A server with protocol version 0 gives by its hash only what a branch or tag points to, unless it is set up otherwise: then all that they
 * have is fetched.
 *
 * Only http and https are spoken, by submodules too: a repository could otherwise name a command or a file of the pod. No hook of the
 * repository runs, and no template. Credentials go to the origins that the configuration names and to no other: whoever writes a message, or a
 * submodule's address, would else have them sent to a server of theirs. An origin that has refused them gets them no more: git-lfs would offer
 * them again without end.
 */
export const CLONE_SCRIPT = `set -eu
export HOME=/tmp LC_ALL=C GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1 GIT_ALLOW_PROTOCOL=http:https GIT_ASKPASS=/bin/false
export CI_REFUSED="$PWD/.git/refused-origins"
helper='!f() {
  [ -n "\${GIT_PASSWORD-}" ] || return 0
  while IFS="=" read -r name value; do case $name in protocol) scheme=$value ;; host) origin=$scheme://$value ;; esac; done
  case $1 in
    erase) printf "%s\\n" "$origin" >>"$CI_REFUSED" ;;
    get)
      ! grep -qxF -e "$origin" "$CI_REFUSED" 2>/dev/null || return 0
      case " \${CI_GIT_ORIGINS-} " in *" $origin "*) printf "username=%s\\npassword=%s\\n" "\${GIT_USERNAME:-git}" "$GIT_PASSWORD" ;; esac ;;
  esac
}; f'
g() { git -c safe.directory='*' -c core.hooksPath=/dev/null -c credential.helper= -c "credential.helper=$helper" -c advice.detachedHead=false \\
  -c http.lowSpeedLimit=1 -c http.lowSpeedTime=120 "$@"; }
echo "cloning $CI_REPOSITORY at \${CI_COMMIT:-$CI_REF}"
format=
[ \${#CI_COMMIT} != 64 ] || format=--object-format=sha256
g init --quiet --template= $format .
g remote add origin "$CI_REPOSITORY"
fetched=FETCH_HEAD
said=$(g fetch --quiet --depth 1 --no-tags origin "\${CI_COMMIT:-$CI_REF}" 2>&1) && code=0 || code=$?
[ -z "$said" ] || printf '%s\\n' "$said" >&2
if [ $code != 0 ]; then
  [ -n "$CI_COMMIT" ] || exit $code
  case $said in
    # So says a server that gives commits by their hash.
    *'not our ref'*) echo "error: the repository has no commit $CI_COMMIT" >&2; exit 1 ;;
    *unadvertised*) ;;
    *) exit $code ;;
  esac
  echo 'the commit could not be fetched by its hash: fetching all branches and tags'
  g fetch --quiet --no-tags origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
  fetched=$CI_COMMIT
  g cat-file -e "$fetched^{commit}" 2>/dev/null || { echo "error: no branch and no tag of the repository has commit $CI_COMMIT" >&2; exit 1; }
fi
g checkout --quiet --detach "$fetched"
commit=$(g rev-parse HEAD)
if [ -n "$CI_COMMIT" ] && [ "$commit" != "$CI_COMMIT" ]; then
  echo "error: the repository gave commit $commit, not $CI_COMMIT" >&2
  exit ${CLONE_EXIT.wrongCommit}
fi
if [ "$CI_SUBMODULES" = true ]; then g submodule --quiet update --init --recursive --depth 1; fi
lfs='${FETCH_LFS}'
g -c "alias.fetch-lfs=!$lfs" fetch-lfs || exit ${CLONE_EXIT.lfs}
if [ "$CI_SUBMODULES" = true ]; then
  # What git says of a command that failed would stand behind its reason.
  g -c "alias.fetch-lfs=!$lfs" submodule --quiet foreach --recursive 'git fetch-lfs 2>&3' 3>&2 2>/dev/null || exit ${CLONE_EXIT.lfs}
fi
missing() { echo "the repository has no $1 $2 at commit $commit" >&2; exit ${CLONE_EXIT.nothingToBuild}; }
[ -d "$CI_CONTEXT" ] || missing folder "$CI_CONTEXT"
[ -f "$CI_DOCKERFILE" ] || missing file "$CI_DOCKERFILE"
printf %s "$commit" > "\${CI_TERMINATION_LOG:-/dev/termination-log}"
echo "at commit $commit"
`;
