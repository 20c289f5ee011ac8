#!/bin/sh
# Start-up script of a standby, run as root at every boot. It fetches the roles and what they are to do from the
# metadata server, installs ansible and lets it do the rest. It decides nothing about the chain and holds no secret.
#
# A machine is in one of three states. As long as the metadata have no failover-promoted it is a standby, and
# playbooks/standby.yml is run at every boot. With it, playbooks/promoted.yml is run until it has succeeded once. From then
# on there is the file $state/promoted, and nothing is touched.
#
# Safe when killed anywhere and when run twice at once: every step leaves the old state or the new one, and a second run
# waits for the first. Its last line begins with `failover: done` or `failover: FAILED`.
# shellcheck disable=SC2317 # most functions are called through `retry`, which shellcheck does not see
set -u

metadata=http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1
console=/dev/ttyS0
first_pause=10 # seconds; doubled after each try
play_tries=6
state=/var/lib/failover
logs=/var/log/failover
started=$(date +%s)
work=
unpromoted= # `yes` once it is known that nobody has promoted this machine
umask 022

# To the serial port, where `failover logs` reads it, and to the journal. Never an error: a machine may have no such port.
log() {
  printf 'failover: %s\n' "$*"
  { printf 'failover: %s\n' "$*" >> "$console"; } 2> /dev/null || true
}

# A step is also left in the guest attribute failover/boot, for readers who cannot see the console: printable ASCII, at most
# 200 bytes. It is never an error, and a server that does not take it costs two seconds. On a machine that is or may be
# promoted nothing is written.
step() {
  log "$*"
  [ "$unpromoted" = yes ] && [ ! -e "$state/promoted" ] || return 0
  curl --silent --max-time 2 --request PUT --header 'Metadata-Flavor: Google' --header 'Content-Type: text/plain' \
    --data-raw "$(printf %s "$*" | LC_ALL=C tr -c '[:print:]' '?' | cut -b -200)" --output /dev/null \
    "$metadata/instance/guest-attributes/failover/boot" 2> /dev/null || true
}

# A pipe that has a line for the log on each of its lines, as it comes. Control characters are of no use to a reader.
log_lines() { sed -u 's/[[:cntrl:]]//g; /^ *$/d' | while IFS= read -r line; do log "  $line"; done; }

finish() { # exit code, text
  trap - EXIT
  [ -z "$work" ] || rm -rf "$work"
  step "$2"
  exit "$1"
}

fail() { finish 1 "FAILED: $1; what is tried next: $2"; }

next_boot="the same at the next boot"
trap 'finish 1 "FAILED: ended too early, after $(($(date +%s) - started)) s; what is tried next: $next_boot"' EXIT
trap 'exit 143' TERM INT HUP

# Runs a command until it succeeds, with growing pauses of at most two minutes.
retry() { # tries, what it does, command
  tries=$1 what=$2 try=1 pause=$first_pause
  shift 2
  until "$@"; do
    [ "$try" -lt "$tries" ] || return 1
    step "$what: try $try of $tries did not succeed, again in $pause s"
    sleep "$pause"
    try=$((try + 1)) pause=$((pause * 2))
    [ "$pause" -le 120 ] || pause=120
  done
}

# Asks for one attribute into a file. What is not set (404) is an answer and leaves no file; anything else is none, and so is
# an answer that breaks off or for which the disk has no room.
ask() { # attribute
  rm -f "$work/$1"
  answer=$(curl --silent --show-error --max-time 30 --connect-timeout 5 --header 'Metadata-Flavor: Google' \
    --output "$work/$1.part" --write-out '%{http_code}' "$metadata/instance/attributes/$1" 2> "$work/curl") || return 1
  case $answer in
    200) mv "$work/$1.part" "$work/$1" ;;
    404) rm -f "$work/$1.part" ;;
    *) return 1 ;;
  esac
}

fetch() { # attribute
  retry 8 "metadata $1" ask "$1" ||
    fail "the metadata server does not give $1 (${answer:-no answer} $(head -n 1 "$work/curl"))" "$next_boot"
}

fetch_needed() { # attribute
  fetch "$1"
  [ -s "$work/$1" ] || fail "this machine was made without the attribute $1" "nothing, it needs another machine"
}

# Whether an attribute is what it should be: an object with this one name in it, for another object, since each more would be
# a variable that takes the place of one of the machine's own. A text that ansible would evaluate is not what anybody wrote.
object() { # attribute, name, what is tried next
  python3 - "$work/$1" "$2" 2> "$work/problem" << 'PY' || fail "$1 is not what it should be: $(tail -n 1 "$work/problem")" "$3"
import json, sys

found, name = json.load(open(sys.argv[1])), sys.argv[2]
found[name].items()
others = sorted(set(found) - {name})
if others:
    sys.exit("beside %s it has %s" % (name, ", ".join(map(ascii, others))[:200]))
text = json.dumps(found)
if any(begin in text for begin in ("{{", "{%", "{#")):
    sys.exit("a text in it has {{, {% or {#, which ansible would evaluate")
PY
}

# Replaces a file in one step, and only by something else: its time of change shows when something changed.
put() { # from, to, mode
  if ! cmp -s "$1" "$2"; then
    cp "$1" "$2.new" && chmod "$3" "$2.new" && sync "$2.new" && mv "$2.new" "$2"
  fi
}

# The folder is marked with what it was made of when it is complete.
unpack() {
  if [ -f "$state/bundle/.from" ] && cmp -s "$work/failover-bundle" "$state/bundle/.from"; then
    return 0
  fi
  rm -rf "$state/bundle.new" "$state/bundle.old" && mkdir "$state/bundle.new" &&
    base64 -d "$work/failover-bundle" > "$work/bundle.tar.gz" &&
    tar -xzf "$work/bundle.tar.gz" -C "$state/bundle.new" --no-same-owner &&
    cp "$work/failover-bundle" "$state/bundle.new/.from" &&
    { [ ! -e "$state/bundle" ] || mv "$state/bundle" "$state/bundle.old"; } &&
    mv "$state/bundle.new" "$state/bundle" && rm -rf "$state/bundle.old"
}

# `dpkg --configure -a` first: a run that was killed while packages were set up leaves them half done.
install_ansible() {
  export DEBIAN_FRONTEND=noninteractive
  {
    dpkg --configure -a && apt-get -o DPkg::Lock::Timeout=300 update &&
      apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends ansible-core python3-apt
  } > "$logs/apt.log" 2>&1
}

# The pipe would hide how the playbook ended, so it is written down.
play() {
  step "playbook, try $try"
  rm -f "$work/code"
  {
    # shellcheck disable=SC2086 # two words
    ansible-playbook -e @/etc/failover/vars.json $promotion "$state/bundle/playbooks/$playbook.yml" 2>&1 < /dev/null
    echo $? > "$work/code"
  } | tee "$logs/playbook.log" | log_lines
  [ "$(cat "$work/code" 2> /dev/null)" = 0 ]
}

# What ansible said last that went wrong, as one line.
reason() {
  python3 - "$logs/playbook.log" << 'PY'
import json, re, sys

text = open(sys.argv[1], errors="replace").read()
task, found = "the playbook", "see " + sys.argv[1]
at = 0
for line in text.splitlines(keepends=True):
    at += len(line)
    if line.startswith("TASK ["):
        named = line[6:].split("]")[0]
    if line.startswith("ERROR!") or line.startswith("[ERROR]"):
        task, found = "the playbook", line
    if re.match(r"(fatal|failed): \[", line) and "=> {" in line:
        task = named
        try: # its result may span many lines
            result, _ = json.JSONDecoder().raw_decode(text, at - len(line) + line.index("=> {") + 3)
            found = str(result.get("msg") or result.get("stderr") or result)
        except ValueError:
            found = line.split("=> ", 1)[1]
print("%s: %s" % (task, " ".join(found.split())[:800]))
PY
}

mkdir -p "$state" "$logs" /etc/failover /run || fail "the disk cannot be written to" "$next_boot"

leave_promoted() { [ ! -e "$state/promoted" ] || finish 0 "done: this machine is promoted, nothing was touched"; }
leave_promoted

# The ansible of a run that was killed may still be at work; it holds the lock with it, because it inherits the file.
exec 9> /run/failover-startup.lock
if ! flock --nonblock 9; then
  log "another run is at work, waiting for it"
  flock --timeout 3600 9 || fail "another run has been at work for an hour" "$next_boot"
  leave_promoted
fi

work=$(mktemp -d "$state/.startup.XXXXXX") || fail "the disk cannot be written to" "$next_boot"
find "$state" -maxdepth 1 -name '.startup.*' ! -path "$work" -exec rm -rf {} + # of runs that were killed

# Unless the server says that it is not, this machine may be promoted: without an answer nothing is done.
fetch failover-promoted
playbook=standby promotion=
if [ -e "$work/failover-promoted" ]; then
  object failover-promoted promoted "nothing was touched; a promotion writes an object there"
  playbook=promoted promotion='-e @/etc/failover/promoted.json'
else
  unpromoted=yes
fi
step "start, $(uname -n), boot $(cat /proc/sys/kernel/random/boot_id)"
fetch_needed failover-vars
fetch_needed failover-bundle

object failover-vars standby "nothing, it needs another machine"
put "$work/failover-vars" /etc/failover/vars.json 0644 || fail "the disk cannot be written to" "$next_boot"
if [ "$playbook" = promoted ]; then
  put "$work/failover-promoted" /etc/failover/promoted.json 0644 || fail "the disk cannot be written to" "$next_boot"
fi
if [ -n "${GCE_METADATA_HOST:-}" ]; then # so that the agent finds the same server
  echo "GCE_METADATA_HOST=$GCE_METADATA_HOST" > "$work/environment"
  put "$work/environment" /etc/failover/environment 0644 || fail "the disk cannot be written to" "$next_boot"
fi
unpack || fail "failover-bundle could not be unpacked" "$next_boot"

if ! command -v ansible-playbook > /dev/null; then
  step "installing ansible"
  retry 10 "installing ansible" install_ansible ||
    fail "ansible cannot be installed: $(grep -v '^ ' "$logs/apt.log" | tail -n 1)" "$next_boot"
fi

ANSIBLE_CONFIG=$state/bundle/ansible/ansible.cfg
HOME=/root LC_ALL=C.UTF-8
export ANSIBLE_CONFIG HOME LC_ALL
retry "$play_tries" "playbook" play || fail "$(reason)" "$next_boot"
# Last of all: killed before it, the next boot runs the playbook again, which then changes nothing. What was asked for may have
# been taken back meanwhile; and what a power cut would still take away is on the disk first.
if [ "$playbook" = promoted ]; then
  fetch failover-promoted
  cmp -s "$work/failover-promoted" /etc/failover/promoted.json ||
    fail "failover-promoted was changed or taken back meanwhile" "what it then says, at the next boot"
  sync -f / "$state" || fail "the disk cannot be written to" "$next_boot"
  put "$work/failover-promoted" "$state/promoted" 0644 || fail "the disk cannot be written to" "$next_boot"
fi
finish 0 "done in $(($(date +%s) - started)) s: $(sed -n 's/^localhost *: *//p' "$logs/playbook.log" | tail -n 1)"
