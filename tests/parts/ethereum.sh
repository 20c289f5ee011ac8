#!/usr/bin/env bash
# A whole Ethereum proof-of-stake network on loopback, of real parts: geth, Prysm's beacon nodes, 64 real validators.
#
#   ethereum.sh up DIR [--watch PID]  a new chain (genesis 30 s later), node 1, clients "ours" (keys 0-7) and "rest" (8-63)
#   ethereum.sh node DIR N            one more node, N = 2, 3 …, that syncs from node 1 and has a slasher
#   ethereum.sh ours DIR NAME N       one more client with keys 0-7, on node N: two of these at once get slashed
#   ethereum.sh stop DIR [NAME]       ends ours, rest, beacon1, geth1 … or all, and returns when they have ended
#
# DIR/nodeN.json has the addresses: {"beacon": URL, "execution": URL}. Every process has DIR/NAME.log and DIR/NAME.pid.
# --watch: when the process PID has ended, everything is stopped; so no network outlives the test that started it.
set -euo pipefail

self=$(realpath "${BASH_SOURCE[0]}")
here=$(dirname "$self")
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$self" >&2; exit 2; }
die() { echo "ethereum.sh: $*" >&2; exit 1; }

# --- Processes

# A number can come to belong to someone else's process, a number and the time it started cannot.
identity() {
  local stat fields
  stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 1
  read -ra fields <<< "${stat##*) }" # the name before it may have spaces
  [[ ${fields[0]} != Z ]] || return 1 # ended, and its parent has not looked yet
  echo "$1 ${fields[19]}"
}

alive() { local pid rest; read -r pid rest < "$1" 2> /dev/null && [[ $(identity "$pid") == "$pid $rest" ]]; }

# In a session of its own, with none of our files: a caller that reads our output must see its end, and the lock on DIR
# must not stay with it.
start() {
  local name=$1; shift
  ! alive "$name.pid" || die "$name is running already"
  setsid "$@" < /dev/null > "$name.log" 2>&1 9>&- &
  identity $! > "$name.pid" || die "$name ended at once; see $PWD/$name.log"
}

# Clients first, execution layers last, so that none complains into its log about one that went before it.
running() { find . -maxdepth 1 -name '*.pid' -printf '%f\n' | sed 's/\.pid$//' | sort | awk '
  { rank = /^watch$/ ? 0 : /^beacon[0-9]/ ? 2 : /^geth[0-9]/ ? 3 : 1; print rank, $0 }' | sort -n | cut -d' ' -f2; }

stop() {
  local name=$1 pid tries=0 signal=TERM
  if read -r pid _ < "$name.pid" 2> /dev/null; then
    while alive "$name.pid"; do
      # Asked every two seconds, and after twenty made to: a beacon node deep in its database may not listen.
      ((tries < 200)) || signal=KILL
      ((tries++ % 20)) || kill -s "$signal" "$pid" 2> /dev/null || true
      sleep 0.1
    done
    rm -f "$name.pid"
  fi
}

# Until the command succeeds, for a minute at most, and not if the process it waits for has ended.
await() {
  local name=$1 end=$((SECONDS + 60)); shift
  until "$@" > /dev/null 2>&1; do
    alive "$name.pid" || die "$name has ended: $(tail -n 1 "$name.log") (all of it: $PWD/$name.log)"
    ((SECONDS < end)) || die "$name is not ready after a minute; see $PWD/$name.log"
    sleep 0.1
  done
}

# Ports that the kernel lets us have, TCP and UDP, from below the range in which it picks them itself: there, any
# connection of another test could take one between here and its use.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys
low = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
held, ports = [], []
while len(ports) < int(sys.argv[1]):
    port = random.randrange(10000, low)
    tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
    try:
        tcp.bind(("127.0.0.1", port)), udp.bind(("127.0.0.1", port))
    except OSError:
        continue
    held += [tcp, udp]  # kept until the end, so that none comes twice
    ports.append(port)
print(*ports)
PY
}

# --- The network

node() { # N, then flags of the beacon node
  local n=$1 http engine api rpc tcp udp quic; shift
  read -r http engine api rpc tcp udp quic <<< "$(free_ports 7)"
  "$geth" --datadir "geth$n" init genesis.json > "geth$n.init.log" 2>&1
  # No peers: its blocks come from its beacon node.
  start "geth$n" "$geth" --datadir "geth$n" --syncmode full --ipcdisable \
    --nodiscover --maxpeers 0 --port 0 --nat none --netrestrict 127.0.0.0/8 \
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
  # Moved into place, because a test may be waiting for it.
  printf '{"beacon": "http://127.0.0.1:%s", "execution": "http://127.0.0.1:%s"}\n' "$api" "$http" > "node$n.json.new"
  mv "node$n.json.new" "node$n.json"
}

client() { # name, node, first key, number of keys
  local rpc rpc_port http_port
  read -r rpc _ 2> /dev/null < "node$2.ports" || die "there is no node $2"
  read -r rpc_port http_port <<< "$(free_ports 2)"
  start "$1" "$prysm/validator" --datadir "client-$1" --accept-terms-of-use --disable-monitoring \
    --chain-config-file ethereum.yml --beacon-rpc-provider "127.0.0.1:$rpc" --graffiti "$1" \
    --interop-start-index "$3" --interop-num-validators "$4" --rpc-port "$rpc_port" --http-port "$http_port"
}

[[ $# -ge 2 ]] || usage
verb=$1 dir=$2
shift 2
[[ $verb != up ]] || mkdir -p "$dir"
cd "$dir"

# The watchdog does not hold the lock while it waits; what it then calls, does.
if [[ $verb == watch ]]; then
  while [[ $(identity "$1") == "$1 $2" ]]; do sleep 0.5; done
  rm -f watch.pid
  exec "$self" stop .
fi

# One verb at a time: a stop that comes while another verb is starting things waits, and then sees all of them.
exec 9> lock
flock 9

if [[ $verb != stop ]]; then
  geth=$("$here/install.sh" --path geth)/geth
  prysm=$("$here/install.sh" --path prysm)
fi

case $verb in
  up)
    [[ ! -e genesis.ssz ]] || die "$PWD has a chain already"
    [[ ${1-} != --watch ]] || { owner=$(identity "${2-}") || die "no process ${2-} to watch"; start watch "$self" watch . $owner; }
    cp "$here/ethereum.yml" .
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > jwt.hex
    # Prysm crashes if it misses the first slot, and two cores need a while to start everything.
    "$prysm/prysmctl" testnet generate-genesis --fork deneb --num-validators 64 --genesis-time-delay 30 \
      --chain-config-file ethereum.yml --geth-genesis-json-out genesis.json --output-ssz genesis.ssz > genesis.log 2>&1 ||
      die "no genesis: $(tail -n 1 genesis.log)"
    node 1 --min-sync-peers 0 --interop-eth1data-votes
    client ours 1 0 8
    client rest 1 8 56 ;;
  node)
    [[ ${1-} =~ ^[2-9]$ ]] || usage
    read -r _ tcp 2> /dev/null < node1.ports || die "there is no node 1"
    # Only its log tells node 1's name in the p2p network: `node/identity` does not answer without discovery.
    peer=$(grep -ao -m1 '16Uiu2HA[A-Za-z0-9]*' beacon1.log | head -n 1)
    node "$1" --min-sync-peers 1 --slasher --peer "/ip4/127.0.0.1/tcp/$tcp/p2p/$peer" ;;
  ours) [[ $# == 2 ]] || usage; client "$1" "$2" 0 8 ;;
  stop)
    if [[ $# -gt 0 ]]; then
      [[ -e $1.pid || -e $1.log ]] || die "there is no $1 in $PWD"
      stop "$1"
    else
      for name in $(running); do stop "$name"; done
      rm -f node*.ports # so that a verb that waited for the lock meanwhile starts nothing any more
    fi ;;
  *) usage ;;
esac
