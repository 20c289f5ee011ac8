#!/usr/bin/env bash
# playbooks/home-gate.yml on a booted machine with Debian's ansible: it refuses while something else could sign, installs
# the unit, and what runs in that can make the groups of processes which the gate needs, is restarted when it is killed,
# takes its client with it, and has the time to end that. The gate is a stand-in, so is the client.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 # also where the machine that tests is older
world_up
machine_make
cp -r "$root/ansible" "$root/playbooks" "$root/tests/standby/gate-vars.yml" "$world/root/opt/"
mkdir -p "$world/root/opt/releases" "$world/root/opt/client" "$world/root/srv/client" "$world/root/srv/ledger"
install -m 755 "$root/tests/standby/stand-in-gate.py" "$world/root/opt/releases/failover-gate"
# It writes where it may, tries where it may not, and says how it was ended.
cat > "$world/root/opt/client/client" << 'CLIENT'
#!/bin/sh
trap 'echo TERM >> /srv/client/said; exit 0' TERM
echo "$*" > /srv/client/arguments
echo "$CLIENT_LEVEL" > /srv/client/environment
(echo x > /opt/client/mine) 2> /dev/null && echo "it can write anywhere" >> /srv/client/said
python3 -m http.server --bind 127.0.0.1 5062 &
echo $$ > /srv/client/pid
while :; do sleep 1000 & wait; done
CLIENT
chmod 755 "$world/root/opt/client/client"
machine_boot
machine useradd --system client
machine chown client /srv/client /srv/ledger /opt/client

play() { # more variables, as JSON
  machine env ANSIBLE_CONFIG=/opt/ansible/ansible.cfg ansible-playbook -i home, -c local /opt/playbooks/home-gate.yml \
    --extra-vars @/opt/gate-vars.yml --extra-vars "{\"gate_mirror\": \"file:///opt/releases/\",
    \"gate_sha256\": \"$(sha256sum < "$root/tests/standby/stand-in-gate.py" | cut -d' ' -f1)\"}" --extra-vars "${1-{\}}" 2>&1 | tee "$world/play.log"
}
says() { grep -qF -e "$1" "$world/play.log"; }
unit=failover-gate-eth-0.service
shown() { machine systemctl show --property="$1" --value "$unit"; }
client() { machine cat /srv/client/pid; }
lives() { machine test -e "/proc/$1"; }
gone() { ! lives "$1"; }
back() { [[ $(client) != "$1" && $(shown ActiveState) == active ]]; } # not the one of before
until_true() { local tries=0; until "$@"; do ((tries++ < 300)) || return 1; sleep 0.1; done; }

say "what could sign beside it"
machine sh -c 'printf "[Service]\nExecStart=/bin/sleep 3600\n[Install]\nWantedBy=multi-user.target\n" |
  tee /etc/systemd/system/client.service > /etc/systemd/system/eth-validator.service'
machine systemctl daemon-reload
machine systemctl enable --quiet eth-validator.service
check "another signer at the next boot is refused" eval '! play'
check "and named" says "unit eth-validator.service: enabled, starts at the next boot"
machine systemctl disable --quiet eth-validator.service
machine systemctl start client.service
check "the client's own unit is refused while it runs" eval '! play'
check "with what to do" says "systemctl disable --now client.service"
machine systemctl stop client.service
machine systemctl enable --quiet client.service
check "and while it is enabled" eval '! play'
machine systemctl disable --quiet client.service
check "a misspelt name of it is refused" eval '! play "{\"gate_replaces\": [\"clientt.service\"]}"'
check "as what it is" says "LoadState=not-found"
check "a pattern that fits nothing too" eval '! play "{\"gate_replaces\": [\"clientt*.service\"]}"'
machine sh -c 'printf "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: oldclient\n# Required-Start:\n# Required-Stop:\n# Default-Start: 2 3 4 5\n# Default-Stop:\n### END INIT INFO\n" > /etc/init.d/oldclient
  chmod 755 /etc/init.d/oldclient; ln -s ../init.d/oldclient /etc/rc3.d/S01oldclient
  printf "[Service]\nExecStart=/bin/sleep 3600\n" | tee /etc/systemd/system/lone.service > /etc/systemd/system/timed.service
  printf "[Timer]\nOnBootSec=10h\n[Install]\nWantedBy=timers.target\n" > /etc/systemd/system/timed.timer'
machine systemctl daemon-reload
machine systemctl enable --quiet --now timed.timer
check "a script of /etc/init.d is refused" eval '! play "{\"gate_replaces\": [\"oldclient.service\"]}"'
check "as generated" says "UnitFileState=generated"
check "a unit that a timer starts is refused" eval '! play "{\"gate_replaces\": [\"timed.service\"]}"'
check "with the timer" says "TriggeredBy=timed.timer"
check "a gate without the ledger is refused" eval '! play "{\"gate_settings\": {\"chain\": \"a\"}}"'
check "with the reason" says "lacks the ledger"
check "nothing was installed until then" test ! -e "$world/root/usr/local/bin/failover-gate"

say "the unit"
machine systemctl mask --quiet oldclient.service
check "it is installed, and ready, in place of what is disabled, masked, or started by nothing" \
  play '{"gate_replaces": ["client.service", "oldclient.service", "lone.service"]}'
check "it runs" test "$(shown ActiveState)" = active
check "and is watched" test "$(shown WatchdogUSec)" = 2min
check "and will at the next boot" machine systemctl is-enabled "$unit"
# shellcheck disable=SC2016 # nobody may expand it
check "with the client's arguments as they were" test "$(machine cat /srv/client/arguments)" = '--datadir=/srv/client --graffiti=100 % $HOME "quoted"'
check "and its environment" test "$(machine cat /srv/client/environment)" = '50 % more'
first=$(client)
check "the client runs as its user" test "$(machine stat -c %U "/proc/$first")" = client
check "in a group of its own" grep -q "$unit/command$" <(machine cat "/proc/$first/cgroup")
check "it writes its folder and no other" test ! -e "$world/root/opt/client/mine"
check "the state is the gate's alone" test "$(machine stat -c '%U %a' /var/lib/failover-gate/eth-0)" = 'client 700'
check "the client listens where validator clients do" until_true machine grep -q ':13C6 .* 0A ' /proc/net/tcp
check "a second run" play
check "changes nothing" says "changed=0"
check "and leaves the client alone" test "$(client)" = "$first"

say "what could sign beside a gate that runs"
machine systemctl enable --quiet eth-validator.service
check "another signer at the next boot is refused" eval '! play'
check "and named" says "unit eth-validator.service: enabled, starts at the next boot"
machine systemctl disable --quiet eth-validator.service
machine systemd-run --quiet --unit=other bash -c 'exec -a "lighthouse vc" sleep 3600'
check "a process that signs is refused" eval '! play'
check "and named, and none of the gate's" eval 'says ": lighthouse vc" && ! says failover-gate\ run && ! says "port 5062"'
machine systemctl stop other.service
machine systemd-run --quiet --unit=other python3 -m http.server --bind 127.0.0.1 5064
check "a port of a validator client is refused" until_true eval '! play'
check "and named" says "port 5064"
machine systemctl stop other.service

say "its ends"
machine systemctl kill --kill-whom=main --signal=KILL "$unit"
check "a killed gate takes its client with it" until_true gone "$first"
check "and is started again" until_true back "$first"
second=$(client)
machine rm -f /srv/client/said
machine systemctl stop "$unit"
check "a stopped one ends its client" gone "$second"
check "which had the time to" test "$(machine cat /srv/client/said)" = TERM
machine_stop
say "all good"
