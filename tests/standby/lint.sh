#!/usr/bin/env bash
# What can be said of the roles, playbooks and scripts without a machine: they read well to ansible-lint (production
# profile) and shellcheck, to the newest ansible and to the one of Debian 12, and refuse bad values.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Ansible refuses to run where its input or output does not block, as under some runners.
exec < /dev/null > >(cat) 2> >(cat >&2)

venv=$(tests/parts/install.sh --path ansible)
debian=$(tests/parts/install.sh --path debian)
export ANSIBLE_CONFIG=$PWD/ansible/ansible.cfg ANSIBLE_NOCOLOR=1 PATH=$venv/bin:$PATH LC_ALL=C.UTF-8
# Any cache of theirs stays out of the checkout.
ANSIBLE_HOME=$(mktemp -d) && export ANSIBLE_HOME && trap 'rm -rf "$ANSIBLE_HOME"' EXIT

echo "--- shellcheck"
shellcheck -s sh ansible/startup.sh playbooks/files/*.sh charts/gate/post-renderer/render.sh
shellcheck -x tests/standby/*.sh tests/parts/debian.sh
dash -n ansible/startup.sh

echo "--- ansible-lint"
python -m ansiblelint --offline --strict --profile production --nocolor ansible/roles playbooks tests/standby/specs.yml tests/standby/gate.yml

# The folders of the image are read and never written, so it need not be booted and several can do this at once.
debian_ansible() {
  systemd-nspawn --quiet --register=no --keep-unit --read-only --directory="$debian" --bind-ro="$PWD:/mnt" \
    --setenv=ANSIBLE_CONFIG=/mnt/ansible/ansible.cfg --setenv=LC_ALL=C.UTF-8 --setenv=ANSIBLE_HOME=/tmp/ansible \
    --tmpfs=/tmp --tmpfs=/root --resolv-conf=off --timezone=off --pipe --chdir=/mnt ansible-playbook "$@"
}

for playbook in playbooks/*.yml; do
  echo "--- ansible-playbook --syntax-check $playbook"
  ansible-playbook --syntax-check "$playbook"
  debian_ansible --syntax-check "$playbook"
done

echo "--- argument specifications"
ansible-playbook tests/standby/specs.yml > "$ANSIBLE_HOME/specs" || { cat "$ANSIBLE_HOME/specs"; exit 1; }
debian_ansible tests/standby/specs.yml > "$ANSIBLE_HOME/specs" || { cat "$ANSIBLE_HOME/specs"; exit 1; }

echo "--- the gate's unit and its settings"
ansible-playbook tests/standby/gate.yml --extra-vars "gate_out=$ANSIBLE_HOME" > "$ANSIBLE_HOME/gate" || { cat "$ANSIBLE_HOME/gate"; exit 1; }
systemd-analyze verify --man=no "$ANSIBLE_HOME/failover-gate-eth-0.service"
# What systemd would pass over with a warning only: an unknown key, or a value it cannot read.
! systemd-analyze verify --man=no "$ANSIBLE_HOME/failover-gate-eth-0.service" 2>&1 | grep "$ANSIBLE_HOME" ||
  { echo "systemd warns of the gate's unit" >&2; exit 1; }
# The gate needs all of these: a group of processes, the time to end its client, a place for its state.
unit=$(< "$ANSIBLE_HOME/failover-gate-eth-0.service")
for line in Type=notify Delegate=yes KillMode=mixed Restart=always TimeoutStopSec=120 StateDirectory=failover-gate/eth-0 \
  'ReadWritePaths="/srv/client"' ProtectControlGroups=no; do
  grep -qxF "$line" <<< "$unit" || { echo "the gate's unit lacks $line" >&2; exit 1; }
done
grep -qxF 'FAILOVER_GATE_BEACON_NODE="http://127.0.0.1:5052,http://127.0.0.1:5053"' "$ANSIBLE_HOME/environment"
# What YAML takes for true and false reaches the gate in its words, and what says nothing is not there.
switches() { # file, lines
  [[ $(grep -E '_(DUTY_CHECK|ALLOW_UNTOUCHED|LEDGER_ENDPOINT|BEACON_NODE)=' "$ANSIBLE_HOME/environment-$1") == "$2" ]] ||
    { echo "the settings '$1' are written wrongly" >&2; cat "$ANSIBLE_HOME/environment-$1" >&2; exit 1; }
}
switches no $'FAILOVER_GATE_ALLOW_UNTOUCHED="false"\nFAILOVER_GATE_DUTY_CHECK="off"'
switches yes $'FAILOVER_GATE_ALLOW_UNTOUCHED="true"\nFAILOVER_GATE_DUTY_CHECK="on"\nFAILOVER_GATE_LEDGER_ENDPOINT="http://127.0.0.1:1"'
switches text 'FAILOVER_GATE_DUTY_CHECK="off"'

echo "--- the module release"
python tests/standby/release.py

# **Invariant:** no standby gets a validator client, and what a promoted machine gets is neither started nor enabled.
echo "--- no validator client"
! grep -nwE 'gate|promoted' playbooks/standby.yml playbooks/vars/standby.yml || { echo "a standby is given what signs" >&2; exit 1; }
[[ $(grep -rlE '^ +name: validator$' playbooks) == playbooks/promoted.yml ]] || { echo "others than a promotion install a validator client" >&2; exit 1; }
if grep -rnE 'lighthouse (vc|validator)|cmd/validator|/validator( |$|")|keystore|--graffiti|fee-recipient' \
  --exclude-dir=validator --exclude=promoted.yml ansible playbooks/standby.yml playbooks/vars; then
  echo "a role has to do with a validator client" >&2
  exit 1
fi
if grep -rnE 'systemd|service|enabled|started' ansible/roles/validator/{tasks,vars,defaults} playbooks/promoted.yml | grep -vE ':[0-9]+: *#'; then
  echo "a promotion starts something" >&2
  exit 1
fi
if grep -rniE 'keystore|init-slashing|clear|force|create|import' ansible/roles/validator/{tasks,vars,defaults} |
  grep -vE ':[0-9]+: *#|create_home: false'; then
  echo "the role validator has to do with keys" >&2
  exit 1
fi
echo "all good"
