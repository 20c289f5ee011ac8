#!/bin/sh
# Lists what on this machine could sign for a validator, one line each: processes, units that are or would be started,
# containers, listening ports. It reads names only, changes nothing, and never opens or looks for a key.
# Silence is no proof: a signer may have another name, and may be on another machine.
# With `--beside-gates`, what runs in a unit failover-gate-*.service and that unit itself are left out, and nothing else.
set -u
beside_gates=${1-}
export LC_ALL=C # a name that is no UTF-8 is a name as well

# Programs that sign, and nodes that sign themselves once they have a key. The agent knows the same ones
# (src/agent/signer/programs.rs); tests/standby/signers.txt is what both are held to. A program is the first word, or
# comes somewhere after one that runs others.
runners='(sh|bash|dash|ash|busybox|node|bun|dotnet|box64|java|python[0-9.]*|ld-(linux|musl)[^ ]*)'
program="^([^ ]*/)?($runners (.* )?([^ ]*[/.])?)?"
option='( --?[^ ]+( [^- ][^ ]*)?)*'
end='( |$)'
signers="${program}lighthouse(-v?[0-9][^ ]*)?$option (v|vc|validator|validator[-_](client|manager)|a|am|account(_manager)?|vm)$end"
signers="$signers|${program}validator([-_]v?[0-9][^ ]*|[-_]linux[^ ]*|[-_]latest)?$end"
signers="$signers|${program}(prysm\\.sh|prysmctl|lodestar(\\.js)?)$option validator$end"
signers="$signers|${program}[Tt]eku$option (validator-client|vc)$end"
signers="$signers|${program}[Tt]eku .*--(validator-keys|validators-external-signer-(url|public-keys))[= ]"
signers="$signers|${program}nimbus_(validator_client|signing_node)$end"
signers="$signers|${program}nimbus_beacon_node .*--(validators-dir|secrets-dir|(verifying-)?web3-signer-url)[= ]"
signers="$signers|${program}grandine .*--(keystore-(dir|password-dir|password-file)|web3signer-api-urls)[= ]"
signers="$signers|${program}(vouch|vero|dirk|web3signer|Web3SignerApp|charon|ssvnode|tmkms|horcrux|clef|kes-agent|commit-boost-signer)$end"
signers="$signers|${program}cardano-node .*--(shelley-(kes-key|kes-agent-socket|vrf-key|operational-certificate)|(byron-)?(signing-key|delegation-certificate)|bulk-credentials-file)[= ]"
signers="$signers|--priv_validator_laddr[= ]|${program}cometbft$option (node|start|run_node)$end|${program}failover-gate$option run$end"
# Nodes of CometBFT are called after their chain: gaiad, beacond. These end in a d as well.
comet="${program}[a-z]+d$option start$end"
harmless='(containerd|dockerd|systemd|etcd|sshd)'
# Of a container or a unit only the name is known.
names='validator|lighthouse-?vc|web3signer|vouch|dirk|charon|vero|ssv-?node|tmkms|horcrux|clef|kes-agent|commit-boost-signer|failover-gate'

# Whether a process is in such a unit's group. A container's or a user's unit of the same name is none.
group() { sed -n 's/^0:://p' "$1/cgroup" 2> /dev/null; }
top=$(group /proc/1) top=${top%/init.scope}
of_gate() { # the process's folder
  [ "$beside_gates" = --beside-gates ] || return 1
  unit=$(group "$1")
  case $unit in "${top%/}/system.slice/"*) unit=${unit#"${top%/}/system.slice/"} ;; *) return 1 ;; esac
  case ${unit%%/*} in failover-gate-*.service) ;; *) return 1 ;; esac
}

for folder in /proc/[0-9]*; do
  [ "${folder#/proc/}" != $$ ] || continue
  # Only the first words, and no option's value: what follows may be anything.
  command=$(tr '\000[:cntrl:]' ' ' 2> /dev/null < "$folder/cmdline")
  if printf '%s' "$command" | grep -Eq -e "$signers" ||
    printf '%s' "$command" | grep -Ev -e "$program$harmless$end" | grep -Eq -e "$comet"; then
    of_gate "$folder" || echo "process ${folder#/proc/}: $(printf '%s' "$command" | cut -d' ' -f1-2 | cut -d= -f1)"
  fi
done

units() {
  systemctl list-units --all --plain --no-legend --type=service,timer,socket 2> /dev/null |
    awk -v names="$names" '$1 ~ names && $3 != "inactive" { print "unit " $1 ": " $3 }'
  systemctl list-unit-files --plain --no-legend --type=service,timer,socket 2> /dev/null |
    awk -v names="$names" '$1 ~ names && $2 ~ /^enabled/ { print "unit " $1 ": " $2 ", starts at the next boot" }'
}
if command -v systemctl > /dev/null; then
  if [ "$beside_gates" = --beside-gates ]; then
    units | grep -Ev '^unit failover-gate-[^/]*\.service: '
  else
    units
  fi
fi

for engine in docker podman nerdctl; do
  if command -v "$engine" > /dev/null; then
    "$engine" ps --all --format '{{.Names}} {{.Image}} {{.Status}}' 2> /dev/null |
      grep -E -e "$names" | sed "s/^/container of $engine: /"
  fi
done
if command -v crictl > /dev/null; then
  crictl ps --output table 2> /dev/null | grep -E -e "$names" | sed 's/^/container of Kubernetes: /'
fi

# The ones that belong to a signer by default, as the agent knows them (src/agent/signer.rs): charon, validator clients of
# the beacon chain, SSV, dirk, remote signers of CometBFT. 5052, 8081 and 9000 are harmless programs' as well.
sockets_of_gates=' '
for folder in /proc/[0-9]*; do
  if of_gate "$folder"; then
    sockets_of_gates="$sockets_of_gates$(find "$folder/fd" -type l -exec readlink {} + 2> /dev/null | tr '\n' ' ') "
  fi
done
for port in 3600 3610 3620 5062 5064 7500 13001 13141 26659; do
  hex=$(printf '%04X' "$port")
  sockets=$(awk -v hex=":$hex" 'FNR > 1 && $2 ~ hex "$" && $4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6 2> /dev/null)
  for socket in $sockets; do
    case $sockets_of_gates in *" socket:[$socket] "*) continue ;; esac
    echo "port $port: something listens where validator clients and signers do"
    break
  done
done
