#!/usr/bin/env bash
# What looks around at home (playbooks/home-fence.yml), on a booted machine with Debian's ansible: it finds what could
# sign by process, unit, container and port, is silent about everything else, and changes and opens nothing. The same
# command lines as the agent's (signers.txt) run there, each as a process of that name.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
machine_make
mkdir "$world/root/opt/playbooks" "$world/root/opt/build"
cp -r "$root/playbooks/home-fence.yml" "$root/playbooks/files" "$world/root/opt/playbooks/"
keystore=/root/validator_keys/keystore-m_12381_3600_0_0_0.json
mkdir "$world/root/root/validator_keys"
echo '{}' > "$world/root$keystore"
machine_boot

# A network of its own, so that no port of another test counts.
fence() { machine unshare --net -- sh -c "ip link set lo up; $1 ansible-playbook -i home, -c local /opt/playbooks/home-fence.yml" > "$world/fence.log" 2>&1; }
found() { machine unshare --net -- sh /opt/playbooks/files/what-could-sign.sh > "$world/found"; }
says() { grep -qF -e "$1" "$world/fence.log"; }

# Every line a process: perl writes it over its own name. It returns when all of them have it.
# shellcheck disable=SC2016 # for perl to expand
people='pipe(my $done, my $say); while (my $line = <STDIN>) { chomp $line; next unless $line =~ s/^(\w+): //; my $kind = $1;
  my $pid = fork(); if (!$pid) { close STDIN; close STDOUT; close STDERR; $0 = $line; syswrite $say, "x"; sleep; exit }
  print "$kind $pid $line\n"; sysread $done, my $x, 1 }'
begin() { # kinds
  { grep -E "^($1): " "$root/tests/standby/signers.txt"; [[ $1 != signs* ]] || printf 'home: gaiad --home /caf\351 start\n'; } |
    machine setsid perl -e "$people" "$(printf 'x%.0s' {1..400})" > "$world/people"
  [[ $(wc -l < "$world/people") -gt 0 ]]
}
end() { awk '{ print $2 }' "$world/people" | xargs nsenter -t "$leader" -p -m kill -KILL; }

say "a quiet house"
machine touch -a -d '2020-01-01' "$keystore"
machine touch /run/before
begin harmless
check "what only looks alike is no signer" found
check "nor is anything else on a fresh machine" test ! -s "$world/found"
check "so the playbook succeeds" fence ""
check "and says what that is worth" says "no proof that there is nothing"
check "no key is opened" test "$(machine stat -c %X "$keystore")" = "$(date -d 2020-01-01 +%s)"
# What ansible needs for itself, and what every machine writes.
changed=$(machine find / -xdev -newer /run/before ! -type d ! -path '/root/.ansible/*' ! -path '/var/log/*' ! -path '/tmp/*')
check "nothing on the machine is changed: '$changed'" test -z "$changed"
end

say "processes"
begin 'signs|home'
check "it looks" found
check "each that signs is found, and nothing else" \
  diff <(awk '{ print $2 }' "$world/people" | sort) <(sed -n 's/^process \([0-9]*\): .*/\1/p' "$world/found" | sort)
check "of a command line two words are said, and no value" bash -c "! grep -E '^process' '$world/found' | grep -q -e '/x'"
check "the playbook fails" eval '! fence ""'
check "and names them" says "lighthouse vc"
end
check "they are gone" found
check "and no longer found" test ! -s "$world/found"

say "units"
machine sh -c 'printf "[Service]\nExecStart=/bin/sleep 3600\n[Install]\nWantedBy=multi-user.target\n" > /etc/systemd/system/eth-validator.service'
machine systemctl daemon-reload
check "a unit that nothing would start is no signer" fence ""
machine systemctl enable --quiet eth-validator.service
check "one that starts at the next boot is found" eval '! fence ""'
check "and named" says "unit eth-validator.service: enabled, starts at the next boot"
machine systemctl disable --quiet eth-validator.service
machine systemctl start eth-validator.service
check "one that runs is found" eval '! fence ""'
check "and named, too" says "unit eth-validator.service: active"
machine systemctl stop eth-validator.service

say "containers and ports"
machine sh -c 'printf "#!/bin/sh\necho \"beacon sigp/lighthouse Up\"\necho \"eth-validator sigp/lighthouse Exited\"\n" > /usr/bin/docker; chmod +x /usr/bin/docker'
check "a container is found, stopped or not" eval '! fence ""'
check "by its name" says "container of docker: eth-validator sigp/lighthouse Exited"
check "and the beacon node is not" eval '! says "docker: beacon"'
machine rm /usr/bin/docker
# shellcheck disable=SC2016 # for the machine to expand
listen='python3 -c "import socket, time; s = socket.create_server((\"::1\", 5062), family=socket.AF_INET6); time.sleep(600)" &
  until grep -q ":13C6 " /proc/net/tcp6; do sleep 0.1; done;'
check "an open port is found" eval "! fence '$listen'"
check "by its number" says "port 5062"

check "a machine that cannot be asked is not silent" eval '! machine ansible-playbook -i 127.0.0.1:9, -e ansible_ssh_common_args= /opt/playbooks/home-fence.yml'
machine_stop
say "all good"
