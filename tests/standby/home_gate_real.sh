#!/usr/bin/env bash
# The real gate as the unit of the role gate, on a booted machine with Debian's systemd, with a ledger in a file, a grant
# that `failover adopt` has signed, and a client that is counted from outside: killed, hung and rebooted it starts the same
# client again, and there is never a second one. Prints what it measures.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 # also where the machine that tests is older
(cd "$root" && cargo build --quiet --bin failover --bin failover-gate)
target=${CARGO_TARGET_DIR:-$root/target}
gate=${GATE_TEST_EXE:-$target/debug/failover-gate} # the image's, for example
world_up
# The gate resumes on a disk only, and the machine's own root may be none.
disk=$(mktemp -d "$target/gate-state.XXXXXX") && chmod 755 "$disk"
watcher=
finish() {
  local code=$?
  [[ -z $watcher ]] || kill "$watcher" 2> /dev/null || true
  (world_down "$code") || true
  rm -rf "$disk"
  exit "$code"
}
trap finish EXIT
machine_make
cp -r "$root/ansible" "$root/playbooks" "$root/tests/standby/gate-vars.yml" "$world/root/opt/"
mkdir -p "$world/root"/{opt/releases,opt/client,srv/client,srv/ledger,var/lib/failover-gate}
install -m 755 "$gate" "$world/root/opt/releases/failover-gate"
# What holds for every unit of a standby holds for none of a gate.
mkdir -p "$world/root/etc/systemd/system/failover-.service.d"
cp "$root/ansible/roles/base/files/10-common.conf" "$world/root/etc/systemd/system/failover-.service.d/"
# It takes a lock that clients share, and what it leaves behind has it too. Its own name is nobody else's.
its_name=client-$port
cp /bin/sleep "$world/root/opt/client/$its_name"
cat > "$world/root/opt/client/client" << CLIENT
#!/bin/sh
exec 8> /srv/client/lock
flock -n 8 || touch /srv/client/two
cut -d ' ' -f 1 /proc/uptime >> /srv/client/started
(setsid sleep 1000 &)
exec /opt/client/$its_name infinity
CLIENT
chmod 755 "$world/root/opt/client/client"

say "a ledger and a grant"
house=$world/house
mkdir "$house"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$house/key"
signer="you@example.org namespaces=\"failover-grant\" $(cat "$house/key.pub")"
echo "$signer" > "$house/allowed_signers"
cat > "$house/failover.yaml" << YAML
site: home
http: {listen: "127.0.0.1:0"}
ledger: {sqlite: {path: "$world/root/srv/ledger/ledger.sqlite"}}
grants: {allowed_signers: "$house/allowed_signers"}
ethereum: {beacon_nodes: [{name: a, url: "http://127.0.0.1:1"}], genesis_root: "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"}
validators: [{name: eth-0, kind: ethereum, public_keys: ["0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a"]}]
YAML
(cd "$world" && start serve "$target/debug/failover" serve --config "$house/failover.yaml" &&
  await serve test -s "$world/root/srv/ledger/ledger.sqlite" && await serve grep -q '"this watcher holds the lease"' serve.log && stop serve)
check "the first grant is signed" "$target/debug/failover" adopt eth-0 --yes --key "$house/key" --by you@example.org \
  --reason 'a test' --config "$house/failover.yaml"

with_disk=(--bind="$disk:/var/lib/failover-gate")
machine_boot "${with_disk[@]}"
machine useradd --system client
machine chown -R client /srv/client /srv/ledger /opt/client
unit=failover-gate-eth-0.service
play() { # more settings of the gate, as JSON
  machine env ANSIBLE_CONFIG=/opt/ansible/ansible.cfg ansible-playbook -i home, -c local /opt/playbooks/home-gate.yml \
    --extra-vars @/opt/gate-vars.yml --extra-vars "$(python3 - "$signer" "$1" "$(sha256sum < "$gate" | cut -d' ' -f1)" << 'PY'
import json, sys

settings = {"chain": "0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95",
            "ledger": "sqlite:/srv/ledger/ledger.sqlite", "on_ledger_loss": "run"} | json.loads(sys.argv[2])
print(json.dumps({"gate_mirror": "file:///opt/releases/", "gate_sha256": sys.argv[3], "gate_replaces": [],
                  "gate_allowed_signers": [sys.argv[1]], "gate_settings": settings, "gate_stop_seconds": 5}))
PY
)" 2>&1 | tee "$world/play.log"
}
shown() { machine systemctl show --property="$1" --value "$unit"; }
clients() { pgrep -c -x "$its_name" || true; } # nothing else has this name
client() { pgrep -x "$its_name"; }
signs() { [[ $(clients) == 1 ]]; }
idle() { [[ $(clients) == 0 ]]; }
starts() { wc -l < "$world/root/srv/client/started"; }
keeper() { pgrep -P "$(host_pid)"; }
host_pid() { pgrep --ns "$leader" --nslist pid -f '^/usr/local/bin/failover-gate run --'; }
until_true() { local end=$((SECONDS + 60)); until "$@"; do ((SECONDS < end)) || return 1; sleep 0.02; done; }
since() { awk -v now="$(date +%s.%N)" -v then="$1" 'BEGIN { printf "%.1f", now - then }'; }
again() { # what is done, to whom
  local before began
  before=$(starts) began=$(date +%s.%N)
  say "$1"
  shift
  "$@"
  check "it is started again, once" until_true eval "(( \$(starts) == before + 1 )) && signs"
  say "its client runs $(since "$began") s later, of which systemd waits 10 after an end"
  check "and runs" machine /usr/local/bin/failover-gate status
}
# Counted all the time; the most there ever were.
(most=0; while sleep 0.1; do now=$(clients); ((now <= most)) || echo $((most = now)) > "$world/most"; done) &
watcher=$!

say "the unit"
check "the role starts it" play '{"duty_check": "off"}'
check "it runs" test "$(shown ActiveState)" = active
check "ready by its own word, and watched" test "$(shown Type) $(shown NotifyAccess) $(shown WatchdogUSec)" = "notify main 2min"
check "groups of processes are its own, whatever holds for a standby's units" test "$(shown ProtectControlGroups)" = no
check "nothing of that reaches it" test "$(shown RemoveIPC) $(shown ProtectHome)" = "no read-only"
check "its client runs" until_true signs
check "in a group of its own" grep -q "$unit/failover-gate-" "/proc/$(client)/cgroup"
check "says the gate" machine /usr/local/bin/failover-gate status
check "and systemd says so too" until_true eval 'shown StatusText | grep -q "runs since"'

stopped() { kill -STOP "$(host_pid)"; }
killed() { kill -KILL "$(host_pid)"; }
orphaned() { kill -KILL "$(keeper)"; }
both() { kill -KILL "$(keeper)" "$(host_pid)"; }
again "the gate is killed" killed
again "its keeper is killed" orphaned
again "both are killed at once, and the client has left a daemon" both
# A test does not wait two minutes.
machine sh -c "mkdir -p /run/systemd/system/$unit.d && printf '[Service]\nWatchdogSec=6\n' > /run/systemd/system/$unit.d/quick.conf"
machine systemctl daemon-reload
again "the unit is restarted" machine systemctl restart "$unit"
again "the gate hangs" stopped
check "and its watchdog has ended it" machine journalctl --no-pager -u "$unit" --grep 'Watchdog timeout'

say "a chain that answers, and a reboot"
mkdir -p "$world/beacon/eth/v1"/{beacon,config,node}
# Slots of ten minutes, the longest that a chain may have: nothing changes while this runs.
genesis=$(($(date +%s) - 100 * 600 - 60))
echo '{"data":{"genesis_time":"'"$genesis"'","genesis_validators_root":"0x4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"}}' > "$world/beacon/eth/v1/beacon/genesis"
echo '{"data":{"SECONDS_PER_SLOT":"600","SLOTS_PER_EPOCH":"32"}}' > "$world/beacon/eth/v1/config/spec"
echo '{"data":{"head_slot":"100","sync_distance":"0","is_syncing":false,"is_optimistic":false,"el_offline":false}}' > "$world/beacon/eth/v1/node/syncing"
read -r beacon <<< "$(free_ports 1)"
(cd "$world" && start beacon python3 -m http.server --bind 127.0.0.1 --directory "$world/beacon" "$beacon" &&
  await beacon curl -sf "http://127.0.0.1:$beacon/eth/v1/node/syncing")
asked() { check "its settings are changed" play "{\"duty_check\": \"on\", \"beacon_node\": [\"http://127.0.0.1:$beacon\"]}"; }
again "the duty check is on" asked
before_boot=$(machine cat /proc/sys/kernel/random/boot_id)
again "the machine is rebooted" machine_reboot "${with_disk[@]}"
check "it was another boot" test "$(machine cat /proc/sys/kernel/random/boot_id)" != "$before_boot"
say "from the unit's start to its client: $(awk -v unit="$(shown ExecMainStartTimestampMonotonic)" '{ started = $1 } END { printf "%.2f", started - unit / 1e6 }' "$world/root/srv/client/started") s, the chain asked"

say "measured"
for pid in $(host_pid) $(keeper); do
  awk -v what="$(tr '\0' ' ' < "/proc/$pid/cmdline" | cut -d ' ' -f 2)" '/^(VmRSS|RssAnon)/ { printf "%s %s %d KiB\n", what, $1, $2 }' "/proc/$pid/status"
done
say "its end"
machine systemctl stop "$unit"
check "no client is left" idle
check "nor anything that it started" eval "! pgrep -u $(machine id -u client) -x sleep"
grants() { "$target/debug/failover" grants eth-0 --config "$house/failover.yaml"; }
check "and the session is free" grep -q "free" <(grants)
kill "$watcher" && watcher=
check "there was never a second client, seen from outside" test "$(cat "$world/most")" = 1
check "nor by the lock that they share" test ! -e "$world/root/srv/client/two"
say "all good"
