#!/usr/bin/env bash
# The role firewall's rules, loaded by Debian's nft between two network namespaces: what peers send comes in on the named
# ports, TCP and UDP, nothing else does, and only root and the agent reach the metadata server.
# Apart from the booted machine, whose network is this machine's own.
set -euo pipefail
exec < /dev/null # ansible refuses one that does not block
# shellcheck source-path=SCRIPTDIR source=../parts/processes.sh
source "$(dirname "$0")/../parts/processes.sh"
cd "$(dirname "$0")/../.."

debian=$(tests/parts/install.sh --path debian)
venv=$(tests/parts/install.sh --path ansible)
here=standby-$$ peer=peer-$$
work=$(mktemp -d)
finish() {
  local code=$? name
  for name in "$here" "$peer"; do
    ip netns pids "$name" 2> /dev/null | xargs -r kill 2> /dev/null || true
    ip netns delete "$name" 2> /dev/null || true
  done
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
check() {
  local what=$1; shift
  if "$@" > "$work/check" 2>&1; then echo "ok: $what"; else cat "$work/check" >&2; die "not true: $what"; fi
}

cat > "$work/rules.yml" << PLAY
- hosts: localhost
  gather_facts: false
  vars: {firewall_p2p_ports: [30303, 9000], firewall_template: "$PWD/ansible/roles/firewall/templates/nftables.conf.j2"}
  tasks:
    - ansible.builtin.template: {src: "{{ firewall_template }}", dest: "$work/rules", mode: "0644"}
      vars: {firewall_ssh_from: [], firewall_metadata_uids: [0, 615]}
    - ansible.builtin.template: {src: "{{ firewall_template }}", dest: "$work/rules-promoted", mode: "0644"}
      vars: {firewall_ssh_from: [35.235.240.0/20], firewall_metadata_uids: [0, 615, 616]}
PLAY
ANSIBLE_CONFIG=$PWD/ansible/ansible.cfg ANSIBLE_HOME=$work/home PATH=$venv/bin:$PATH \
  ansible-playbook -e ansible_python_interpreter="$venv/bin/python" "$work/rules.yml" > "$work/play" || { cat "$work/play"; exit 1; }

ip netns add "$here"
ip netns add "$peer"
ip -n "$here" link add eth0 type veth peer name eth0 netns "$peer"
ip -n "$here" address add 10.90.0.1/24 dev eth0
ip -n "$peer" address add 10.90.0.2/24 dev eth0
ip -n "$peer" address add 169.254.169.254/32 dev eth0 # the metadata server, as far as the machine can tell
for name in "$here" "$peer"; do ip -n "$name" link set lo up; ip -n "$name" link set eth0 up; done
ip -n "$here" route add 169.254.169.254 dev eth0
ip -n "$here" route add 35.235.0.0/16 dev eth0
for address in 35.235.239.255 35.235.240.1 35.235.255.254; do ip -n "$peer" address add "$address/32" dev eth0; done

load() { ip netns exec "$here" chroot "$debian" nft -f - < "$work/${1-rules}"; }
# Answers on a port, by TCP and by UDP, until it is killed; says when it listens.
serve() { # namespace, port
  mkfifo "$work/ready-$1-$2"
  ip netns exec "$1" python3 -c '
import socketserver, sys, threading
class Stream(socketserver.BaseRequestHandler):
    def handle(self): self.request.sendall(b"yes")
class Datagram(socketserver.BaseRequestHandler):
    def handle(self): self.request[1].sendto(b"yes", self.client_address)
port = int(sys.argv[1])
socketserver.ThreadingTCPServer.allow_reuse_address = True
servers = socketserver.ThreadingTCPServer(("", port), Stream), socketserver.ThreadingUDPServer(("", port), Datagram)
for each in servers: threading.Thread(target=each.serve_forever).start()
open(sys.argv[2], "w").write("ready")' "$2" "$work/ready-$1-$2" > /dev/null 2>&1 &
  read -r -d '' _ < "$work/ready-$1-$2" || true
}
# Whether there is an answer; a second without one is none.
ask() { # namespace, tcp or udp, address, port, user, from which address
  ip netns exec "$1" setpriv --reuid "${5:-0}" --clear-groups /usr/bin/python3 -c '
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
with socket.socket(type=kind) as s:
    s.settimeout(1)
    s.bind((sys.argv[4], 0))
    s.connect((sys.argv[2], int(sys.argv[3])))
    if kind == socket.SOCK_DGRAM: s.send(b"?")
    sys.exit(s.recv(9) != b"yes")' "$2" "$3" "$4" "${6-}"
}

shut() { ! ask "$@"; }

for port in 22 5052 8545 9000 9001 30303; do serve "$here" "$port"; done
serve "$peer" 80
serve "$peer" 30303
for protocol in tcp udp; do check "without rules, $protocol 5052 answers" ask "$peer" "$protocol" 10.90.0.1 5052; done

check "the rules load" load
check "and load again" load
check "once" test "$(ip netns exec "$here" chroot "$debian" nft list ruleset | grep -c '^table')" = 1
for protocol in tcp udp; do
  for port in 9000 30303; do check "$protocol $port is open" ask "$peer" "$protocol" 10.90.0.1 "$port"; done
  for port in 22 5052 8545 9001; do check "$protocol $port is shut" shut "$peer" "$protocol" 10.90.0.1 "$port"; done
  check "$protocol to a peer is answered" ask "$here" "$protocol" 10.90.0.2 30303
  check "$protocol on loopback is open" ask "$here" "$protocol" 127.0.0.1 5052
done
for user in 0 615; do check "user $user reaches the metadata server" ask "$here" tcp 169.254.169.254 80 "$user"; done
for user in 611 613 614 616 65534; do
  check "user $user does not" shut "$here" tcp 169.254.169.254 80 "$user"
done

check "a promoted machine's rules load in their place" load rules-promoted
for from in 35.235.240.1 35.235.255.254; do check "SSH from $from is open" ask "$peer" tcp 10.90.0.1 22 0 "$from"; done
for from in 10.90.0.2 35.235.239.255; do check "SSH from $from is shut" shut "$peer" tcp 10.90.0.1 22 0 "$from"; done
check "UDP 22 is shut" shut "$peer" udp 10.90.0.1 22 0 35.235.240.1
for port in 5052 8545 9001; do check "$port is shut to it as to anyone" shut "$peer" tcp 10.90.0.1 "$port" 0 35.235.240.1; done
check "peers find what they found" ask "$peer" tcp 10.90.0.1 30303
for user in 0 615 616; do check "user $user reaches the metadata server" ask "$here" tcp 169.254.169.254 80 "$user"; done
for user in 611 613 614 65534; do check "user $user does not" shut "$here" tcp 169.254.169.254 80 "$user"; done
check "and without a promotion everything is as it was" load
check "SSH is shut to everybody" shut "$peer" tcp 10.90.0.1 22 0 35.235.240.1
echo "all good"
