#!/usr/bin/env bash
# A whole Ethereum proof-of-stake network on loopback, of real parts: geth, Prysm's beacon nodes, 64 real validators.
#
#   ethereum.sh up DIR [--watch PID]  a new chain, node 1 and its clients "ours" (keys 0-7) and "rest" (keys 8-63);
#                                     the first slot is 30 s later. Stopped by itself when process PID has ended
#                    [--ours N] [--all M]  "ours" has N keys, and the chain M
#   ethereum.sh node DIR N            one more node, N = 2, 3 …, which syncs from node 1 and has a slasher
#   ethereum.sh ours DIR NAME N       one more client with keys 0-7, on node N: two of these at once get slashed
#   ethereum.sh stop DIR [NAME]       ends ours, rest, beacon1, geth1 … or everything; returns when it has ended
#
# DIR/nodeN.json has the addresses: {"beacon": URL, "execution": URL}. Every process has DIR/NAME.log and DIR/NAME.pid.
# A client that was stopped comes back with `ours DIR ours 1`, with its slashing protection as it was.
set -euo pipefail

self=$(realpath "$0") here=$(dirname "$(realpath "$0")") # now, while a relative name still leads there
# shellcheck source-path=SCRIPTDIR
source "$here/processes.sh"
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

node() { # N, then flags of the beacon node
  local n=$1 http engine api rpc tcp udp quic; shift
  read -r http engine api rpc tcp udp quic <<< "$(free_ports 7)"
  "$geth" --datadir "geth$n" init genesis.json > "geth$n.init.log" 2>&1 ||
    die "geth has no use for genesis.json: $(tail -n 1 "geth$n.init.log")"
  # Without peers: its blocks come from its beacon node.
  start "geth$n" "$geth" --config geth.toml --datadir "geth$n" --syncmode full --ipcdisable \
    --nodiscover --maxpeers 0 --nat none \
    --http --http.addr 127.0.0.1 --http.port "$http" \
    --authrpc.addr 127.0.0.1 --authrpc.port "$engine" --authrpc.jwtsecret jwt.hex
  await "geth$n" curl -s "http://127.0.0.1:$engine"
  start "beacon$n" "$prysm/beacon-chain" --datadir "beacon$n" --accept-terms-of-use --disable-monitoring \
    --chain-config-file ethereum.yml --genesis-state genesis.ssz --contract-deployment-block 0 \
    --execution-endpoint "http://127.0.0.1:$engine" --jwt-secret jwt.hex \
    --suggested-fee-recipient 0x00000000000000000000000000000000000000fe \
    --no-discovery --bootstrap-node= --minimum-peers-per-subnet 0 --p2p-host-ip 127.0.0.1 --p2p-local-ip 127.0.0.1 \
    --p2p-tcp-port "$tcp" --p2p-udp-port "$udp" --p2p-quic-port "$quic" \
    --rpc-host 127.0.0.1 --rpc-port "$rpc" --http-host 127.0.0.1 --http-port "$api" "$@"
  await "beacon$n" curl -sf "http://127.0.0.1:$api/eth/v1/node/version"
  echo "$rpc $tcp" > "node$n.ports"
  printf '{"beacon": "http://127.0.0.1:%s", "execution": "http://127.0.0.1:%s"}\n' "$api" "$http" > "node$n.json"
}

client() { # name, node, first key, number of keys
  local rpc own_rpc own_http
  read -r rpc _ 2> /dev/null < "node$2.ports" || die "there is no node $2"
  read -r own_rpc own_http <<< "$(free_ports 2)"
  start "$1" "$prysm/validator" --datadir "client-$1" --accept-terms-of-use --disable-monitoring \
    --chain-config-file ethereum.yml --beacon-rpc-provider "127.0.0.1:$rpc" --graffiti "$1" \
    --interop-start-index "$3" --interop-num-validators "$4" --rpc-port "$own_rpc" --http-port "$own_http"
}

genesis() {
  cp "$here/ethereum.yml" .
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > jwt.hex
  printf '[Node.P2P]\nListenAddr = ""\n' > geth.toml # no flag keeps it from listening to the whole world for peers
  # Prysm crashes when it misses the first slot, and two cores need a while to start everything.
  "$prysm/prysmctl" testnet generate-genesis --fork deneb --num-validators "$all" --genesis-time-delay 30 \
    --chain-config-file ethereum.yml --geth-genesis-json-out genesis.json --output-ssz genesis.ssz > genesis.log 2>&1 ||
    die "no genesis: $(tail -n 1 genesis.log)"
}

# Clients first and execution layers last, so that none fills its log with complaints about one that went before it.
stop_all() {
  local names name
  rm -f node*.ports # a verb that waits for the lock meanwhile starts nothing any more
  names=$(find . -maxdepth 1 -name '*.pid' -printf '%f\n' | sed 's/\.pid$//')
  for name in watch $(grep -Ev '^(beacon|geth)[0-9]' <<< "$names") $(grep '^beacon[0-9]' <<< "$names") \
    $(grep '^geth[0-9]' <<< "$names"); do
    stop "$name"
  done
}

[[ $# -ge 2 ]] || usage
verb=$1 dir=$2
shift 2
[[ $verb != up ]] || mkdir -p "$dir"
cd "$dir"
lock
if [[ $verb != stop ]]; then
  geth=$("$here/install.sh" --path geth)/geth
  prysm=$("$here/install.sh" --path prysm)
fi

case $verb in
  up)
    owner='' ours=8 all=64
    while [[ $# -ge 2 ]]; do
      case $1 in --watch) owner=$2 ;; --ours) ours=$2 ;; --all) all=$2 ;; *) usage ;; esac
      shift 2
    done
    [[ $# == 0 ]] || usage
    [[ ! -e genesis.ssz ]] || die "$PWD has a chain already"
    trap '[[ $? == 0 ]] || stop_all' EXIT # half a network is of no use to anyone
    [[ -z $owner ]] || watch "$self" "$owner"
    genesis
    node 1 --min-sync-peers 0 --interop-eth1data-votes
    client ours 1 0 "$ours"
    client rest 1 "$ours" "$((all - ours))" ;;
  node)
    [[ ${1-} =~ ^[2-9]$ ]] || usage
    read -r _ tcp 2> /dev/null < node1.ports || die "there is no node 1"
    # Only its log tells node 1's name among peers: `node/identity` does not answer without discovery.
    peer=$(grep -ao -m 1 '16Uiu2HA[A-Za-z0-9]*' beacon1.log | head -n 1)
    node "$1" --min-sync-peers 1 --slasher --peer "/ip4/127.0.0.1/tcp/$tcp/p2p/$peer" ;;
  ours)
    [[ $# == 2 ]] || usage
    client "$1" "$2" 0 8 ;;
  stop)
    if [[ $# == 0 ]]; then
      stop_all
    else
      [[ -e $1.log ]] || die "there has never been a $1 in $PWD"
      stop "$1"
    fi ;;
  *) usage ;;
esac
