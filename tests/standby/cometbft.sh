#!/usr/bin/env bash
# The role `generic` with a real node: a full node of CometBFT, in a release with a start script, finds its network's only
# validator, which runs beside the machine, and follows it; also after the machine was booted again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
cometbft=$("$parts/install.sh" --path cometbft)/cometbft
read -r validator_p2p validator_rpc p2p rpc <<< "$(free_ports 4)"

say "a network of one validator on loopback"
"$cometbft" testnet --v 1 --n 0 --o "$world/network" > "$world/network.log"
home=$world/network/node0
start_validator() {
  (cd "$world" && start validator "$cometbft" start --home "$home" --proxy_app=kvstore --p2p.pex=false \
    --p2p.laddr="tcp://127.0.0.1:$validator_p2p" --rpc.laddr="tcp://127.0.0.1:$validator_rpc" &&
    await validator curl -sf "http://127.0.0.1:$validator_rpc/status")
}
start_validator
validator_down() {
  local code=$?
  (cd "$world" && stop validator) || true
  world_down "$code"
}
trap validator_down EXIT
chain=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["chain_id"])' "$home/config/genesis.json")
peer=$("$cometbft" show-node-id --home "$home")@127.0.0.1:$validator_p2p

# The release: what a home staker packs and publishes once.
mkdir -p "$world/build/node-1.0"
install -m 755 "$cometbft" "$world/build/node-1.0/cometbft"
install -m 755 "$root/tests/standby/cometbft-start.sh" "$world/build/node-1.0/start"
cp "$home/config/genesis.json" "$world/build/node-1.0/"
tar -C "$world/build" -czf "$world/mirror/node-1.0.tar.gz" node-1.0
(cd "$root" && cargo build --quiet --bin failover)
target=${CARGO_TARGET_DIR:-$root/target}
publish "$target/debug/failover" failover
world_fill "$(description "{\"kind\": \"generic\", \"clients\": [\"generic\"], \"p2p_ports\": [$p2p],
  \"agent\": {\"interval_seconds\": 1},
  \"generic\": {\"binary\": \"node-1.0/start\", \"health\": [],
    \"node\": {\"cometbft\": {\"rpc\": \"http://127.0.0.1:$rpc\", \"network\": \"$chain\"}},
    \"args\": [\"--proxy_app=kvstore\", \"--p2p.pex=false\",
    \"--p2p.laddr=tcp://127.0.0.1:$p2p\", \"--rpc.laddr=tcp://127.0.0.1:$rpc\", \"--p2p.persistent_peers=$peer\"],
    $(release node-1.0.tar.gz | cut -c2-)}")"

# One field of what a node says of itself.
field() { # port, keys
  curl -sf "http://127.0.0.1:$1/status" | python3 -c 'import json, sys
found = json.load(sys.stdin)["result"]
for key in sys.argv[1:]:
    found = found[key]
print(found)' "${@:2}"
}
height() { field "$1" sync_info latest_block_height; }
reaches() { # port, height
  local end=$((SECONDS + 60)) now
  until now=$(height "$1" 2> /dev/null) && ((now >= $2)); do
    ((SECONDS < end)) || { echo "it stands at ${now:-nothing}"; return 1; }
    sleep 0.2
  done
}
follows() { # so many blocks more than it has now
  reaches "$rpc" "$(($(height "$validator_rpc") + $1))"
}

# The agent's last report, when it comes to this; what it says instead is in the log of the check.
reports() { # a Python expression about `report`
  local end=$((SECONDS + 60))
  until python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$world/guest/failover/report" "$1" 2> /dev/null; do
    ((SECONDS < end)) || { cat "$world/guest/failover/report"; return 1; }
    sleep 0.2
  done
}

machine_make
machine_enable_startup
boot=$SECONDS
machine_boot
say "$(machine_await_done 300)"
check "it is done" grep -q '^failover: done' "$world/console.log"
check "the node is up" machine systemctl is-active --quiet failover-generic.service
level=$(machine systemd-analyze security --no-pager failover-generic.service | sed -n 's/.*exposure level.*: \([0-9.]*\) .*/\1/p')
check "failover-generic is hardened, $level of at most 4.0" awk -v level="$level" 'BEGIN { exit !(level != "" && level <= 4.0) }'
check "it has the blocks there were, and follows those that come" follows 3
say "in step with the network $((SECONDS - boot)) s after the boot"
check "on the right chain" test "$(field "$rpc" node_info network)" = "$(field "$validator_rpc" node_info network)"
check "it says that it is in step" test "$(field "$rpc" sync_info catching_up)" = False
check "and its own key has no vote" test "$(field "$rpc" validator_info voting_power)" = 0
check "its agent says the same, and that nothing signs" reports \
  "(report['synced'] and report['chain_id'] == '$chain' and report['peers'] == 1 and report['progress_percent'] == 100
    and not report['signer_seen'] and not report['signer_hidden'])"
check "its data are where the disk is" machine test -e /var/lib/chain/generic/data/blockstore.db
check "it was never started again" test "$(machine systemctl show --property NRestarts --value failover-generic)" = 0

(cd "$world" && stop validator)
check "alone it is no standby, and says why" reports "not report['synced'] and 'no peer' in report['stage']"
machine systemctl stop failover-generic.service
check "one that does not run is no doubt about a signer" \
  reports "'refuses connections' in report['stage'] and not report['signer_hidden']"
machine systemctl start failover-generic.service
start_validator

say "a second run, and a reboot"
check "a second run" machine_startup
check "changes nothing" grep -q 'changed=0 .* failed=0' <(tail -n 1 "$world/console.log")
name=$(field "$rpc" node_info id)
had=$(height "$rpc")
machine_stop
: > "$world/root/var/log/console"
machine_boot
say "$(machine_await_done 300)"
check "it follows again" follows 3
check "with the blocks it had" test "$(field "$rpc" sync_info earliest_block_height)" = 1 -a "$(height "$rpc")" -gt "$had"
check "and the name it had" test "$(field "$rpc" node_info id)" = "$name"

machine_stop
say "all good"
