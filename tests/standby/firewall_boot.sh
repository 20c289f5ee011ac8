#!/usr/bin/env bash
# The role firewall on a booted machine that has a network of its own: its rules are loaded, a second run changes nothing,
# and after a reboot they are there before anything else was asked. What they do is shown by firewall.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
machine_make
mkdir "$world/root/opt/checkout"
cp -a "$root/ansible" "$world/root/opt/checkout"
cat > "$world/root/opt/checkout/play.yml" << 'PLAY'
- hosts: localhost
  gather_subset: ["!all", "!min", virtual]
  tasks:
    - ansible.builtin.include_role: {name: firewall}
      vars: {firewall_p2p_ports: [30303, 9000]}
PLAY
role() {
  machine env ANSIBLE_CONFIG=/opt/checkout/ansible/ansible.cfg ansible-playbook /opt/checkout/play.yml > "$world/console.log" 2>&1
}
rules() { machine nft list table inet failover; }

machine_boot --private-network
check "there are no rules before" eval '! rules'
check "the role runs" role
check "the rules are loaded" rules
check "they name the ports" grep -q 'th dport { 9000, 30303 } accept' <(rules)
check "everything else is dropped" grep -q 'hook input priority filter; policy drop' <(rules)
check "a second run" role
check "changes nothing" grep -q 'changed=0 .*failed=0' "$world/console.log"
machine_stop
machine_boot --private-network
machine systemctl start nftables.service
check "after a reboot they are loaded" rules
machine_stop
say "all good"
