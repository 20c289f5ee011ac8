#!/usr/bin/env bash
# A standby is promoted: playbooks/promoted.yml runs once, also when the machine is reset in the middle, and from then on
# nothing is touched. Nothing that signs is started or enabled; SSH comes in from one range. Then a human starts the gate:
# the real one, before Prysm's real validator client with an empty wallet, and a grant for this boot starts that, no
# other does, and after a reboot it stays down. The agent is the real one. The standby's own clients are stand-ins, so the duty
# check is off. FAILOVER_GATE=PROGRAM and FAILOVER=PROGRAM are builds that are there; without them they are made.
# shellcheck disable=SC2016,SC2034 # `eval` reads what is in single quotes
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

gate=${FAILOVER_GATE-}
if [[ -z $gate ]]; then
  (cd "$root" && cargo build --quiet --locked --bin failover-gate --no-default-features --features gate)
  gate=${CARGO_TARGET_DIR:-$root/target}/debug/failover-gate
fi
failover=${FAILOVER-}
if [[ -z $failover ]]; then
  (cd "$root" && cargo build --quiet --locked --bin failover)
  failover=${CARGO_TARGET_DIR:-$root/target}/debug/failover
fi
prysm=$("$parts/install.sh" --path prysm)
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 # also where the machine that tests is older

# A network of its own: its rules are loaded, and its ports are nobody else's. Beside it is the world that asks for SSH.
netns=promoted-$$
ip netns add "$netns"
ip -n "$netns" link set lo up
ip -n "$netns" address add 10.91.0.1/24 dev lo
world_up
outside=outside-$$
# What is asked from an address of the world comes over a cable and not over loopback.
ip netns add "$outside"
trap 'code=$?; ip netns delete "$outside"; world_down "$code"' EXIT
ip -n "$netns" link add eth0 type veth peer name eth0 netns "$outside"
ip -n "$netns" address add 10.92.0.1/24 dev eth0
ip -n "$outside" address add 10.92.0.2/24 dev eth0
ip -n "$outside" address add 35.235.240.9/32 dev eth0
ip -n "$netns" link set eth0 up
ip -n "$outside" link set eth0 up
ip -n "$netns" route add 35.235.240.0/20 dev eth0

here=$root/tests/standby
strip -o "$world/mirror/failover" "$failover"
publish "$here/stand-in-node.sh" geth
publish "$here/stand-in-node.sh" beacon-chain
publish "$prysm/validator" validator
publish "$gate" failover-gate
echo 7 > "$world/id"
ssh-keygen -q -t ed25519 -N '' -C operator -f "$world/key"
chain=0x$(printf '4b%.0s' {1..32})

world_fill "$(description "{\"clients\": [\"geth\", \"prysm\"], \"network\": \"holesky\", \"p2p_ports\": [30303],
  \"geth\": {\"extra_args\": [], \"genesis\": null, $(release geth | cut -c2-),
  \"prysm\": {\"extra_args\": [], \"config\": null, \"genesis_state\": null, $(release beacon-chain | cut -c2-)}")"
promotion() { # validator
  cat << JSON
{"promoted": {"validator": "$1", "chain": "$chain", "allow_untouched": false,
  "client": {"url": $(release validator | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["url"]))'),
    "sha256": "$(sha256sum < "$prysm/validator" | cut -d' ' -f1)", "doppelganger": true, "extra_args": ["--graffiti=100 % \$HOME"],
    "fee_recipient": "0x00000000219ab540356cbb839cbe05303d7705fa"},
  "gate": $(release failover-gate),
  "allowed_signers": ["operator@example.org namespaces=\"failover-grant\" $(cut -d' ' -f1-2 "$world/key.pub")"],
  "public_keys": ["0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a"]}}
JSON
}

unit="failover-gate-test-0.service"
folder=/var/lib/failover-validator
shown() { machine systemctl show --property="$1" --value "$unit"; }
until_true() { local end=$((SECONDS + 120)); until "$@"; do ((SECONDS < end)) || return 1; sleep 0.1; done; }
# Every file and folder that this program or a human could have changed here, with its time; the one aside, in which the
# script has its work.
touched() {
  machine find /etc /opt /usr/local /var/lib/failover /var/lib/failover-validator /var/lib/failover-gate /root -xdev \
    ! -path /etc/resolv.conf ! -path /var/lib/failover -printf '%p %T@ %C@ %s %m %u\n' 2> /dev/null | sort || true # not all of them are there
}
told() { cat "$world/guest/failover/boot.all"; }
last() { tail -n 1 "$world/console.log"; }
# By the start-up script; the agent asks for other things.
asked() { grep -cE 'attributes/(startup-script|failover-(vars|bundle)) ' "$world/requests" || true; }
reported() { tail -n 1 "$world/guest/failover/report.all" | python3 -c "import json, sys; report = json.load(sys.stdin); sys.exit(not ($1))"; }
signs() { machine pgrep -u validator -x validator; }
idle() { ! signs; }
says() { machine /usr/local/bin/failover-gate status > "$world/status"; }
# SSH is a listener on its port: whether Debian's own answers is not what it is about.
listen() { machine systemd-run --quiet --unit=ssh-here python3 -m http.server --bind 10.92.0.1 22; }
knock() { # from where
  ip netns exec "$outside" curl --silent --output /dev/null --max-time 1 --interface "$1" http://10.92.0.1:22/
}
boot() {
  : > "$world/root/var/log/console"
  machine_boot --capability=CAP_NET_ADMIN
}
reset() { # as a power cut does it
  local pid
  read -r pid _ < "$world/nspawn.pid"
  kill -KILL "$leader" "$pid"
  while machine_alive; do sleep 0.1; done
  rm -f "$world/nspawn.pid"
}
grant() { # number, boot; signed as `failover` prints it
  python3 - "$1" "$2" "$chain" "$world/key" << 'PY'
import json, subprocess, sys

number, boot, chain, key = sys.argv[1:]
grant = {"validator": "test-0", "chain": chain,
         "owner": {"cloud": {"project": "p", "zone": "z", "instance_id": "7", "boot_id": boot}},
         "number": int(number), "previous": None, "issued_at": "1970-01-01T00:00:00Z", "by": "operator@example.org", "reason": "a test",
         "evidence": None}
text = json.dumps(grant, separators=(",", ":"))
signature = subprocess.run(["ssh-keygen", "-Y", "sign", "-q", "-n", "failover-grant", "-f", key], input=text, text=True,
                           check=True, capture_output=True).stdout
print(json.dumps({"grant": grant, "signature": signature}, separators=(",", ":")))
PY
}
boot_id() { machine cat /proc/sys/kernel/random/boot_id; }

say "a standby"
machine_make
machine_enable_startup
boot
say "$(machine_await_done 300)"
check "it is done" grep -q '^failover: done in' <(last)
listen
check "its rules are loaded" machine nft list table inet failover
check "SSH is shut to the range" eval '! knock 35.235.240.9'
check "the agent says that it is no promoted one" until_true reported 'not report["promoted"] and report["gate"] is None'
check "nothing of a promotion is there" machine sh -c '[ -z "$(ls -d /usr/local/bin/failover-gate /opt/failover/prysm/validator /var/lib/failover-validator 2> /dev/null)" ]'

say "not promoted by anything but an object"
touched > "$world/before"
for value in true '"promoted"' '["promoted"]' '{"promoted": true}' '{"other": {}}' '{"promoted": {' '{"promoted": {}, "gate_url": "x"}'; do
  echo "$value" > "$world/attributes/failover-promoted"
  check "$value is refused" eval '! machine_startup'
  check "and said" grep -q 'FAILED: failover-promoted is not what it should be: .*nothing was touched' <(last)
done
check "and nothing was touched" diff "$world/before" <(touched)
promotion other-0 > "$world/attributes/failover-promoted"
check "the promotion of another validator is refused" eval '! machine_startup'
check "by name" grep -q 'failover-promoted is for other-0, and this is a standby of test-0' <(last)
check "and the machine does not count as promoted" machine test ! -e /var/lib/failover/promoted

say "promoted, and reset in the middle"
promotion test-0 > "$world/attributes/failover-promoted"
echo hang > "$world/faults/failover-gate"
steps=$(told)
machine_stop
boot
check "it comes to the gate" until_true machine sh -c 'ls -d /usr/local/bin/.fetching-*/download 2> /dev/null'
reset
check "which does not count as promoted then" test ! -e "$world/root/var/lib/failover/promoted"
rm "$world/faults/failover-gate"
boot
say "$(machine_await_done 300)"
check "the next boot finishes" grep -q '^failover: done in .*failed=0' <(last)
check "the marker is what was asked for" cmp "$world/root/var/lib/failover/promoted" "$world/attributes/failover-promoted"
check "nothing is left of the reset" machine sh -c '[ -z "$(ls -d /usr/local/bin/.fetching-* /var/lib/failover/.startup.* 2> /dev/null)" ]'
check "it has told none of its steps" test "$(told)" = "$steps"

say "what is there"
check "the gate is not enabled" test "$(shown UnitFileState)" = disabled
check "and not started" test "$(shown ActiveState) $(shown NRestarts)" = "inactive 0"
check "it may make groups of processes" test "$(shown ProtectControlGroups) $(shown Delegate)" = "no yes"
check "and has none of what standbys have in common" eval 'shown DropInPaths; ! shown DropInPaths | grep /failover-.service.d/'
check "the others have" grep -q 10-common <(machine systemctl show --property=DropInPaths failover-agent.service)
check "the folder is the client's alone" test "$(machine stat -c '%U %a' $folder)" = 'validator 700'
check "with nothing in it" test -z "$(machine ls -A $folder)"
check "it is not on the chain's disk" machine sh -c "[ ! -e /var/lib/chain/validator ]"
check "the settings are a cloud's" machine grep -qx 'FAILOVER_GATE_PLACE="cloud"' /etc/failover-gate/test-0.env
check "and name no ledger" machine sh -c '! grep -q LEDGER= /etc/failover-gate/test-0.env'
check "nothing reboots by itself" grep -q 'Automatic-Reboot "false"' <(machine apt-config dump)
check "and updates come" grep -q 'Unattended-Upgrade "1"' <(machine apt-config dump)
level=$(machine systemd-analyze security --no-pager $unit | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
check "the gate is hardened, $level of at most 4.0" awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 4.0) }'
for each in geth prysm agent; do check "failover-$each is up" machine systemctl is-active --quiet "failover-$each.service"; done
listen
check "SSH comes in from the range" until_true knock 35.235.240.9
check "and from nowhere else" eval '! knock 10.92.0.2'
check "the standby's own ports are shut to it" eval '! ip netns exec "$outside" curl -s --max-time 1 --interface 35.235.240.9 http://10.92.0.1:8553/'
check "the agent says that it is promoted, and no signer" until_true reported 'report["promoted"] and not report["signer_seen"]'
check "and that the gate does not run" until_true reported 'report["gate"].startswith("the gate says nothing")'
reports=$(wc -l < "$world/guest/failover/report.all")

say "twice at once"
machine sh -c 'rm /var/lib/failover/promoted; : > /var/log/console'
machine sh -c 'sh /run/startup-script > /dev/null 2>&1 & sh /run/startup-script > /dev/null 2>&1 & wait'
machine cat /var/log/console > "$world/console.log"
check "one finds that nothing has changed" grep -q '^failover: done in .*changed=0 .*failed=0' "$world/console.log"
check "and the other that there is nothing to do" test "$(grep -c 'done: this machine is promoted, nothing was touched' "$world/console.log")" = 1
check "neither has started anything" test "$(shown ActiveState) $(shown UnitFileState)" = "inactive disabled"

say "the next boot"
touched > "$world/before"
machine_stop
requests=$(asked)
boot
say "$(machine_await_done 60)"
check "it says so" grep -q 'done: this machine is promoted, nothing was touched' <(last)
check "nothing was touched" diff "$world/before" <(touched)
check "and nobody was asked, but for the script" test "$(asked)" = "$((requests + 1))"
check "the gate is as it was" test "$(shown ActiveState) $(shown UnitFileState)" = "inactive disabled"
check "the agent reports" until_true eval '(($(wc -l < "$world/guest/failover/report.all") > reports))'
check "it has told none of its steps" test "$(told)" = "$steps"

say "a human: a wallet, which is empty here"
start=$(machine sh -c "sed -n '/^ExecStart/,/[^\\\\]\$/p' /etc/systemd/system/$unit")
flags=$(grep -o '"--[a-z-]*' <<< "$start" | cut -c2- | grep -v '^--$')
check "Prysm knows every flag" eval 'for flag in $flags; do grep -qE -- "^ *$flag[ ,]" <("$prysm/validator" --help); done'
as() { machine setpriv --reuid=validator --regid=nogroup --clear-groups "$@"; }
as sh -c "umask 077; echo Wallet-of-a-test-1 > $folder/wallet-password"
check "the wallet is made by its user" as env HOME=$folder /opt/failover/prysm/validator wallet create --accept-terms-of-use \
  --keymanager-kind=imported --wallet-dir=$folder/wallet --wallet-password-file=$folder/wallet-password
# A boot of this machine has an id of its own by a mount of systemd-nspawn, which the one setting hides from the unit. And
# there is no chain here, which the duty check could ask for the epoch.
machine mkdir "/etc/systemd/system/$unit.d"
machine sh -c "echo FAILOVER_GATE_DUTY_CHECK=off > /etc/failover-gate/no-chain
  printf '[Service]\\nProtectKernelTunables=no\\nEnvironmentFile=/etc/failover-gate/no-chain\\n' > /etc/systemd/system/$unit.d/test.conf
  systemctl daemon-reload"
machine systemctl enable --quiet --now "$unit"
check "the gate waits" until_true eval 'says; grep -q "no grant has come for this boot" "$world/status"'
check "and starts nothing" idle
grant 5 00000000-0000-0000-0000-000000000000 > "$world/attributes/failover-grant"
check "by a grant for another boot neither" until_true eval 'says; grep -q "grant 5 is not for this boot" "$world/status"'
check "nothing runs" idle
grant 6 "$(boot_id)" > "$world/attributes/failover-grant"
check "by one for this boot it starts" until_true signs
check "as its user, in a group of its own" grep -q "$unit/failover-gate-" <(machine cat "/proc/$(signs)/cgroup")
check "and the gate says so" eval 'until_true says'
check "the agent sees it, under the gate" until_true reported 'report["signer"] == "process prysm validator of failover-gate-test-0.service" and report["gate"] is None'
check "with its words as they were written" grep -qxF -- '--graffiti=100 % $HOME' <(machine cat "/proc/$(signs)/cmdline" | tr '\0' '\n')
check "it has kept its flags" eval '! machine journalctl -u $unit | grep -q "flag provided but not defined"'

say "after a reboot"
machine_stop
boot
machine_await_done 60 > /dev/null
check "the gate runs, since a human has enabled it" until_true test "$(shown ActiveState)" = active
check "and waits: the grant is another boot's" until_true eval 'says; grep -q "grant 6 is not for this boot" "$world/status"'
check "nothing signs" idle
check "and the agent says what it needs" until_true reported 'report["promoted"] and report["gate"].startswith("needs regrant: test-0 at cloud waits")'
check "and sees no signer" reported 'not report["signer_seen"]'
machine_stop
say "all good"
