#!/usr/bin/env bash
# A machine becomes a standby: real geth and Prysm, installed by the roles from a mirror, follow a real network on
# loopback; a second run changes nothing and is quick; units are hardened; drained, rebooted and promoted it does what it
# should. Prints what it measures. STANDBY_KEEP=DIR keeps the machine's console there.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
geth=$("$parts/install.sh" --path geth)/geth
prysm=$("$parts/install.sh" --path prysm)/beacon-chain

say "a network on loopback"
net=$world/net
"$parts/ethereum.sh" up "$net" --watch $$
read -r _ peer_port < "$net/node1.ports"
peer=$(grep -ao -m 1 '16Uiu2HA[A-Za-z0-9]*' "$net/beacon1.log" | head -n 1)

cp "$root/tests/standby/stand-in-failover.sh" "$world/mirror/failover"
publish "$geth" geth
publish "$prysm" beacon-chain
publish "$net/genesis.json" genesis.json
publish "$net/genesis.ssz" genesis.ssz
publish "$parts/ethereum.yml" ethereum.yml

read -r http engine api rpc tcp udp quic <<< "$(free_ports 7)"
world_fill "$(description "$(python3 - << PY
import json
geth, prysm = json.loads('''$(release geth)'''), json.loads('''$(release beacon-chain)''')
geth |= {"genesis": json.loads('''$(release genesis.json)'''), "extra_args": [
    "--config", "/etc/geth-test.toml", "--syncmode", "full", "--nodiscover", "--maxpeers", "0", "--nat", "none",
    "--http.port", "$http", "--authrpc.port", "$engine"]}
prysm |= {"config": json.loads('''$(release ethereum.yml)'''), "genesis_state": json.loads('''$(release genesis.ssz)'''),
    "extra_args": ["--contract-deployment-block", "0", "--execution-endpoint", "http://127.0.0.1:$engine",
    "--no-discovery", "--bootstrap-node=", "--minimum-peers-per-subnet", "0", "--min-sync-peers", "1",
    "--p2p-host-ip", "127.0.0.1", "--p2p-local-ip", "127.0.0.1", "--p2p-tcp-port", "$tcp", "--p2p-udp-port", "$udp",
    "--p2p-quic-port", "$quic", "--rpc-port", "$rpc", "--http-port", "$api",
    "--peer", "/ip4/127.0.0.1/tcp/$peer_port/p2p/$peer"]}
print(json.dumps({"clients": ["geth", "prysm"], "geth": geth, "prysm": prysm,
    "agent": {"interval_seconds": 30, "beacon": "http://127.0.0.1:$api", "execution": "http://127.0.0.1:$http"}}))
PY
)")"
say "$(cat "$world"/attributes/* | wc -c) bytes of metadata, the bundle $(wc -c < "$world/attributes/failover-bundle")"

machine_make
# The network of the tests has no peers among execution clients, and no flag keeps geth from listening for some.
printf '[Node.P2P]\nListenAddr = ""\n' > "$world/root/etc/geth-test.toml"
machine_enable_startup
boot=$SECONDS
machine_boot
say "its systemd answers $((SECONDS - boot)) s after the boot"
say "$(machine_await_done 300)"
say "configured $((SECONDS - boot)) s after the boot, nobody logged in"
check "it said so" grep -q '^failover: done' "$world/console.log"

for unit in geth prysm agent; do
  check "failover-$unit is up" machine systemctl is-active --quiet "failover-$unit.service"
  check "failover-$unit comes back at the next boot" machine systemctl is-enabled --quiet "failover-$unit.service"
  level=$(machine systemd-analyze security --no-pager "failover-$unit.service" | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
  check "failover-$unit is hardened, $level of at most 4.0" awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 4.0) }'
done
check "nothing failed" test -z "$(machine systemctl list-units --failed --plain --no-legend)"
check "only the group of the clients may read their secret" \
  test "$(machine stat -c '%a %U %G %s' /etc/failover/jwt.hex)" = "640 root failover-clients 65"
secret=$(machine cat /etc/failover/jwt.hex)
check "the secret is in no metadata" bash -c "! grep -rq $secret '$world/attributes'"

synced() { curl -sf "http://127.0.0.1:$api/eth/v1/node/syncing" | python3 -c 'import json, sys; d = json.load(sys.stdin)["data"]
sys.exit(not (int(d["head_slot"]) > 0 and not d["is_syncing"] and not d["el_offline"] and not d["is_optimistic"]))' 2> /dev/null; }
end=$((SECONDS + 120))
until synced; do ((SECONDS < end)) || die "it did not sync: $(curl -s "http://127.0.0.1:$api/eth/v1/node/syncing")"; sleep 0.5; done
say "synced with the network $((SECONDS - boot)) s after the boot"
check "the agent has reported" test -s "$world/guest/failover/report"

TIMEFORMAT='%R s, %U s + %S s of CPU'
again=$({ time machine_startup; } 2>&1) || die "the second run failed: $(tail -n 3 "$world/console.log")"
say "a second run took $again"
check "a second run changes nothing" grep -q 'changed=0 .* failed=0' <(tail -n 1 "$world/console.log")
# Its time is that of the whole machine, which others may be using; what it costs is its own.
check "a second run costs less than 20 s" awk -v took="$again" 'BEGIN { split(took, word, " "); exit !(word[3] + word[6] < 20) }'
check "a second run restarts nothing" \
  test "$(machine systemctl show --property NRestarts --value failover-geth failover-prysm failover-agent | grep -v '^$' | sort -u)" = 0

say "drain"
machine env ANSIBLE_CONFIG=/var/lib/failover/bundle/ansible/ansible.cfg \
  ansible-playbook /var/lib/failover/bundle/playbooks/drain.yml > "$world/drain.log" || die "$(cat "$world/drain.log")"
for unit in geth prysm; do
  check "failover-$unit is stopped" test "$(machine systemctl is-active "failover-$unit.service")" = inactive
done
check "geth had the time to close its database" machine sh -c 'journalctl -u failover-geth | grep -q "Blockchain stopped"'

say "reboot"
machine_stop
: > "$world/root/var/log/console"
machine_boot
say "$(machine_await_done 300)"
check "after a reboot nothing is changed" grep -q 'changed=0 .* failed=0' <(tail -n 1 "$world/console.log")
for unit in geth prysm agent; do
  check "failover-$unit is up again" machine systemctl is-active --quiet "failover-$unit.service"
done
check "the secret stayed" test "$(machine cat /etc/failover/jwt.hex)" = "$secret"
check "geth finds its database closed" bash -c "! nsenter -t $leader -m -p journalctl -b -u failover-geth | grep -qi 'unclean shutdown'"

say "promoted" # how it becomes that is in promoted.sh
machine systemctl stop failover-prysm.service
machine touch /var/lib/failover/promoted
requests=$(wc -l < "$world/requests")
check "a machine that knows it is promoted is left alone" machine sh /run/startup-script
check "and stays as it was" test "$(machine systemctl is-active failover-prysm.service)" = inactive
check "and asks nobody" test -z "$(tail -n "+$((requests + 1))" "$world/requests" | grep -v -e guest-attributes)"

machine_stop
say "all good"
