# shellcheck shell=bash disable=SC2034
# What setup.sh and teardown.sh share: names, and how a command is run or only printed. Not a program by itself.

dry_run=0
network=failover
tag=failover-p2p
# Of a machine that is promoted, and nothing else has it.
ssh_tag=failover-ssh
witness_name=failover-witness
pool=failover-home
provider=cluster
services=(compute iam iamcredentials sts storage cloudresourcemanager iap oslogin)
services=("${services[@]/%/.googleapis.com}")
# How long to wait between tries of what a new identity needs some seconds for.
pause=${FAILOVER_PAUSE:-5}

# The names that follow from the project's.
names() {
  watcher=failover-watcher@$1.iam.gserviceaccount.com
}

help() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$1"; }
fail() { echo "failover: $*" >&2; exit 1; }
usage() { echo "failover: $*; see $(basename "$0") --help" >&2; exit 2; }
step() { echo "== $*" >&2; }

# The value of the option that comes first.
value() {
  [[ -n ${2-} && ${2-} != --* ]] || usage "$1 needs a value"
  printf %s "$2"
}

# A whole text against a pattern.
matches() { [[ $1 =~ ^($2)$ ]] || usage "'$1': $3"; }

# What changes something. It is printed as it could be typed.
run() {
  local argument line='+ gcloud'
  for argument; do
    [[ $argument =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || argument=\'${argument//\'/\'\\\'\'}\'
    line+=" $argument"
  done
  echo "$line" >&2
  ((dry_run)) || gcloud "$@" || fail "'gcloud $1 $2 …' did not work, see above; after repairing it run this again"
}

# What needs an identity or a role made a moment ago: Google may not know it everywhere yet.
again() {
  local try
  for try in 1 2 3 4 5; do
    if ((try == 5)); then run "$@"; elif (run "$@"); then return; fi
    echo "failover: again in $pause seconds" >&2
    sleep "$pause"
  done
}

# One field of what is described, `absent` when it is not there. Anything else that goes wrong ends the script: what
# cannot be seen must not be taken for absent.
field() {
  local name=$1 said errors
  shift
  if ((dry_run)); then echo absent; return; fi
  errors=$(mktemp)
  if said=$(gcloud "$@" --format "value($name)" 2> "$errors"); then
    rm -f "$errors"
    echo "$said"
  elif grep -qiE 'not.?found|does not exist|404|it may not exist' "$errors"; then
    rm -f "$errors"
    echo absent
  else
    cat "$errors" >&2
    rm -f "$errors"
    echo unknown
  fi
}

there() {
  case $(field name "$@") in
    absent) return 1 ;;
    unknown) fail "it cannot be seen whether it is there (gcloud $*)" ;;
    *) return 0 ;;
  esac
}
