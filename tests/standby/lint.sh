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
shellcheck -s sh ansible/startup.sh playbooks/files/*.sh
shellcheck -x tests/standby/*.sh tests/parts/debian.sh
dash -n ansible/startup.sh

echo "--- ansible-lint"
python -m ansiblelint --offline --strict --profile production --nocolor ansible/roles playbooks tests/standby/specs.yml

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

echo "--- the module release"
python tests/standby/release.py

# **Invariant:** no role installs, enables or configures a validator client.
echo "--- no validator client"
if grep -rnE 'lighthouse (vc|validator)|cmd/validator|/validator( |$|")|keystore|--graffiti|fee-recipient' ansible playbooks/standby.yml playbooks/vars; then
  echo "a role has to do with a validator client" >&2
  exit 1
fi
echo "all good"
