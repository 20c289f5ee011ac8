#!/usr/bin/env bash
# What goes wrong on the way to a standby, each from a fresh machine or on top of what the one before left: a mirror that
# is down at first, one that serves a web page or another file, a start-up script that is killed, or run twice at once,
# metadata that are missing or broken, a client that does not stay up. Each ends in `done` or in the right `FAILED`.
# The clients are stand-ins, lighthouse's with the flags it is documented to take; real ones are in converge.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
here=$root/tests/standby
publish "$here/stand-in-failover.sh" failover
mkdir -p "$world/build/node-1.0/bin"
install -m 755 "$here/stand-in-node.sh" "$world/build/node-1.0/bin/node"
tar -C "$world/build" -czf "$world/mirror/node-1.0.tar.gz" node-1.0
cp "$here/stand-in-lighthouse.py" "$world/build/lighthouse"
tar -C "$world/build" -czf "$world/mirror/lighthouse-x86_64.tar.gz" lighthouse
publish "$here/stand-in-node.sh" geth

generic() { # release, more of its keys
  echo "{\"kind\": \"generic\", \"clients\": [\"generic\"], \"generic\": {\"binary\": \"node-1.0/bin/node\", \"health\": [], \"node\": null,
    \"args\": [\"--percent=%h\", \"--dollar=\$HOME\", \"--words=a \\\"b\\\" c\"], ${1#\{}}"
}
boot=$world/guest/failover/boot # what the script leaves of where it is
told() { cat "$boot.all" 2> /dev/null || true; }
printable() { ! LC_ALL=C grep -avqE '^[ -~]{1,200}$' "$boot.all"; }
last() { tail -n 1 <<< "$said"; }
tried() { grep -c "GET /mirror/$1 " "$world/requests" || true; }

machine_make
machine_boot
good=$(description "$(generic "$(release node-1.0.tar.gz)")")

# --- Nothing is done before it is known what.
world_fill "$good"
rm "$world/attributes/failover-vars"
check "without its metadata it fails" eval '! machine_startup'
check "and says which is missing" grep -q 'FAILED: .* failover-vars; .*another machine' <(last)
check "and leaves that where the watcher reads it" grep -qx 'FAILED: .* failover-vars; .*another machine' "$boot"
world_fill "$good"
echo '{"standby"' > "$world/attributes/failover-vars"
check "broken metadata are refused" eval '! machine_startup'
check "and named" grep -q 'FAILED: failover-vars is not what it should be' <(last)
world_fill "$good"
head -c 500 "$world/attributes/failover-bundle" > "$world/cut" && mv "$world/cut" "$world/attributes/failover-bundle"
check "half a bundle is refused" eval '! machine_startup'
check "and named" grep -q 'FAILED: failover-bundle could not be unpacked' <(last)
check "and leaves none" machine test ! -e /var/lib/failover/bundle

# --- A mirror that comes late.
world_fill "$good"
echo "503 2" > "$world/faults/failover"
rm "$boot.all"
check "a mirror that is down for the first two tries delays it only" machine_startup
check "it was tried three times" test "$(tried failover)" = 3
check "it is done" grep -q 'failover: done' <(last)
check "it has told its steps, one after the other" \
  test "$(told | sed 's/[ ,:].*//' | tr '\n' ' ')" = 'start playbook done '
check "the start with the machine's name" grep -q "^start, $(machine uname -n), boot " "$boot.all"
check "the playbook with its try" grep -qx 'playbook, try 1' "$boot.all"
# shellcheck disable=SC2016 # that is what it is about
check "the node runs, with its arguments as they were written" \
  test "$(machine cat /var/lib/chain/generic/arguments)" = '--percent=%h|--dollar=$HOME|--words=a "b" c|'
check "what is null for the agent is null" machine grep -q '"genesis_root": null' /etc/failover/agent.json
for unit in generic agent; do
  level=$(machine systemd-analyze security --no-pager "failover-$unit.service" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
  check "failover-$unit is hardened, $level of at most 4.0" awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 4.0) }'
done

# --- Killed in the middle, at several places: every time, the next run makes it whole.
reset() { # forgets what was installed, not the machine
  machine systemctl disable --now failover-generic.service failover-agent.service > /dev/null 2>&1 || true
  machine sh -c 'rm -rf /opt/failover /var/lib/failover /etc/failover /usr/local/bin/failover /usr/local/bin/.failover.sha256 \
    /etc/systemd/system/failover-* /var/lib/chain; : > /var/log/console; systemctl daemon-reload'
  rm -f "$world/faults"/*
}
# shellcheck disable=SC2016 # for the machine to expand
start_and_kill() { # at which line of its log, and when this succeeds on the machine
  local line=$1; shift
  machine sh -c 'setsid sh /run/startup-script > /dev/null 2>&1 & echo $!' > "$world/number"
  local end=$((SECONDS + 60))
  until machine grep -q "$line" /var/log/console && machine sh -c "${1-true}" > /dev/null 2>&1; do
    ((SECONDS < end)) || die "it never came to $line"
    sleep 0.05
  done
  machine sh -c 'kill -9 -$1' - "$(cat "$world/number")"
}
for place in 'boot ' 'base : Say what' 'generic : Make its user'; do
  reset
  start_and_kill "$place"
  check "killed at '$place', the next run makes it whole" machine_startup
  check "the node is up" machine systemctl is-active --quiet failover-generic.service
  # shellcheck disable=SC2016 # for the machine to expand
  check "and nothing is left of the killed run" \
    machine sh -c '[ -z "$(ls -d /var/lib/failover/.startup.* /var/lib/failover/bundle.* /opt/failover/.fetching-* 2> /dev/null)" ]'
done

reset
echo hang > "$world/faults/node-1.0.tar.gz"
start_and_kill 'generic : Install the release' 'ls /opt/failover/.fetching-*/download'
rm "$world/faults/node-1.0.tar.gz"
check "killed while it fetches, it leaves half a download" machine sh -c 'ls -d /opt/failover/.fetching-*'
check "the next run makes it whole" machine_startup
check "and takes the half away" machine sh -c '! ls -d /opt/failover/.fetching-* 2> /dev/null'

machine mv /usr/bin/ansible-playbook /usr/bin/hidden
start_and_kill 'installing ansible'
machine mv /usr/bin/hidden /usr/bin/ansible-playbook
check "a machine without ansible tells that it installs it" grep -qx 'installing ansible' <(tail -n 1 "$boot.all")

# --- The place for its steps is not there.
for fault in 503 hang; do
  reset
  rm -f "$boot.all"
  echo "$fault" > "$world/faults/guest-boot"
  began=$SECONDS
  check "a server that takes no steps ($fault) changes nothing" machine_startup
  say "that took $((SECONDS - began)) s"
  check "nothing of it was kept" test ! -e "$boot.all"
done

# --- Twice at once.
reset
machine sh -c 'sh /run/startup-script > /dev/null 2>&1 & sh /run/startup-script > /dev/null 2>&1 & wait'
machine cat /var/log/console > "$world/console.log"
check "twice at once, one waits for the other" grep -q 'another run is at work, waiting' "$world/console.log"
check "both are done" test "$(grep -c '^failover: done' "$world/console.log")" = 2
check "and the second had nothing to change" grep -q 'changed=0 .*failed=0' <(grep '^failover: done' "$world/console.log" | tail -n 1)

# --- What is served is not what was asked for.
reset
echo html > "$world/faults/node-1.0.tar.gz"
before=$(tried node-1.0.tar.gz)
world_fill "$(sed "s|http://127.0.0.1:9/releases|http://127.0.0.1:$port/mirror|g; s|\"mirror\": \"[^\"]*\"|\"mirror\": null|" \
  "$world/attributes/failover-vars")"
check "a web page instead of a release is refused" eval '! machine_startup'
check "and fetched once a try only" test "$(tried node-1.0.tar.gz)" -le "$((before + 4))"
check "and called by its name" grep -q 'FAILED: generic : Install the release: .*wrong SHA-256, .* of a web page' <(last)
check "nothing of it was installed" machine test ! -e /opt/failover/generic
check "what does not need it works: the agent reports" machine systemctl is-active --quiet failover-agent.service
rm "$world/faults/node-1.0.tar.gz"
world_fill "$(description "$(generic '{"url": "'"http://127.0.0.1:$port/mirror"'/node-1.0.tar.gz", "sha256": "'"$(printf '%064d' 7)"'"}')")"
check "a wrong hash is refused" eval '! machine_startup'
check "with both hashes" grep -Eq 'FAILED: .*nothing with SHA-256 0*7 .*wrong SHA-256, [0-9a-f]{64} of [0-9]+ bytes' <(last)
check "and nothing was installed" machine test ! -e /opt/failover/generic

# --- A client that ends at once is not called up.
publish /bin/false broken
world_fill "$(description "$(generic "$(release broken)")")"
check "a client that ends at once fails the run" eval '! machine_startup'
check "and is named" grep -q 'FAILED: Say which do not: failover-generic.service is .* restarts' <(last)
machine systemctl disable --now failover-generic.service > /dev/null 2>&1

# --- What stands between a promotion and its marker. There is nothing to install for a validator of another chain.
reset
world_fill "$good"
promoted=$world/attributes/failover-promoted
settings='"validator": "test-0", "chain": null, "allow_untouched": false, "client": null, "gate": null, "allowed_signers": [], "public_keys": []'
refused() { # what is said
  check "it is refused: $1" eval '! machine_startup'
  check "and said" grep -qF "$1" <(last)
  # shellcheck disable=SC2016 # for the machine to expand
  check "nothing was touched" machine sh -c '[ -z "$(ls -A /etc/failover)" ] && [ ! -e /var/lib/failover/promoted ]'
}
echo "{\"promoted\": {$settings}, \"standby\": {}, \"firewall_ssh_from\": [\"0.0.0.0/0\"]}" > "$promoted"
refused "FAILED: failover-promoted is not what it should be: beside promoted it has 'firewall_ssh_from', 'standby'"
echo "{\"promoted\": {$settings, \"more\": \"\u007b{ lookup('pipe', 'touch /run/evaluated') }}\"}}" > "$promoted"
refused 'FAILED: failover-promoted is not what it should be: a text in it has {{, {% or {#, which ansible would evaluate'
check "and nothing was evaluated" machine test ! -e /run/evaluated
echo cut > "$world/faults/attribute-failover-promoted"
echo "{\"promoted\": {$settings}}" > "$promoted"
start_and_kill 'metadata failover-promoted: try 2 of 8 did not succeed'
# shellcheck disable=SC2016 # for the machine to expand
check "an answer that breaks off is asked for again" machine sh -c '[ -z "$(ls -A /etc/failover)" ]'
rm "$world/faults/attribute-failover-promoted"
echo "{\"promoted\": {$settings, \"more\": 1}}" > "$promoted"
check "words of another release are refused" eval '! machine_startup'
check "by name" grep -qF 'failover-promoted has more, which the release that has made this machine does not know' <(last)
check "and it does not count as promoted" machine test ! -e /var/lib/failover/promoted
# On its way to the marker: a disk that takes nothing more, and a promotion that is taken back while the playbook runs.
echo "{\"promoted\": {$settings}}" > "$promoted"
# shellcheck disable=SC2016 # for the machine to expand
machine sh -c 'mv /usr/bin/sync /usr/bin/sync.real; printf "#!/bin/sh\n[ \"\$1\" != -f ] && exec sync.real \"\$@\"; test -e /var/lib/failover/promoted && touch /run/late; exit 1\n" > /usr/bin/sync
  chmod 755 /usr/bin/sync'
check "what cannot be brought to the disk is no promotion" eval '! machine_startup'
check "and said" grep -qF 'FAILED: the disk cannot be written to' <(last)
check "there is no marker, and it was not there before" machine sh -c '[ ! -e /var/lib/failover/promoted ] && [ ! -e /run/late ]'
machine mv /usr/bin/sync.real /usr/bin/sync
machine sh -c ': > /var/log/console'
machine sh -c 'setsid sh /run/startup-script > /dev/null 2>&1 &'
end=$((SECONDS + 60))
until machine grep -q 'playbook, try' /var/log/console; do ((SECONDS < end)) || die "it never came to the playbook"; sleep 0.05; done
rm "$promoted"
machine_await_done 120 > /dev/null
check "one that is taken back while its playbook runs is none" \
  grep -q 'FAILED: failover-promoted was changed or taken back meanwhile' <(tail -n 1 "$world/console.log")
check "and leaves no marker" machine test ! -e /var/lib/failover/promoted
check "the next boot makes a standby of it" machine_startup
echo "{\"promoted\": {$settings}}" > "$promoted"
check "taken again, it is a promotion" machine_startup
check "of what was asked for" cmp "$promoted" "$world/root/var/lib/failover/promoted"
echo "{\"promoted\": {$settings, \"more\": 1}}" > "$promoted"
check "from then on nothing is touched, whatever is asked for" machine_startup
check "and nobody is asked" grep -q 'done: this machine is promoted, nothing was touched' <(last)
rm "$promoted"
machine rm /var/lib/failover/promoted

# --- Lighthouse, by a stand-in that knows its documented flags and refuses any other.
reset
world_fill "$(description "{\"clients\": [\"geth\", \"lighthouse\"], \"checkpoint_sync_url\": \"https://checkpoint.example\",
  \"geth\": {\"extra_args\": [], \"genesis\": null, $(release geth | cut -c2-),
  \"lighthouse\": {\"extra_args\": [\"--validator-monitor-auto\"], $(release lighthouse-x86_64.tar.gz | cut -c2-)}")"
check "lighthouse's stand-in takes every flag" machine_startup
check "it is up" machine systemctl is-active --quiet failover-lighthouse.service
level=$(machine systemd-analyze security --no-pager failover-lighthouse.service | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
check "failover-lighthouse is hardened, $level of at most 4.0" awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 4.0) }'
world_fill "$(sed 's/--validator-monitor-auto/--no-such-fläg/' "$world/attributes/failover-vars")"
check "with a flag it does not know, the run fails" eval '! machine_startup'
check "and says so" grep -q 'failover-lighthouse.service is .*unexpected argument' <(last)
check "and tells it in letters that can be printed" grep -q 'unexpected argument.*--no-such-fl??g' "$boot"
world_fill "$(sed 's|"https://checkpoint.example"|null|' "$world/attributes/failover-vars")"
check "without a place to begin it is refused" eval '! machine_startup'
check "and says so" grep -q 'lighthouse needs checkpoint_sync_url' <(last)

# --- What it has told, all the while, and that a promoted machine tells nothing.
check "it has told of a try that failed" grep -q '^playbook: try 1 of 2 did not succeed' "$boot.all"
check "and of the end, as the console has it" grep -qF "FAILED: " "$boot"
check "each as one printable line of at most 200 bytes" printable
check "the longest were cut" grep -qE '^.{200}$' "$boot.all"
before=$(told)
echo true > "$world/attributes/failover-promoted"
check "a machine that is promoted, and nobody knows how, is left alone" eval '! machine_startup'
check "and says so" grep -q 'FAILED: failover-promoted is not .*nothing was touched' <(last)
rm "$world/attributes/failover-promoted"
machine touch /var/lib/failover/promoted
check "and so is one that knows it" machine_startup
check "and tells nothing" test "$(told)" = "$before"

machine_stop
say "all good"
