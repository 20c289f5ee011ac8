#!/bin/sh
# Lists what on this machine could sign for a validator, one line each: processes, units that are or would be started,
# containers, listening ports. It reads names only, changes nothing, and never opens or looks for a key.
# Silence is no proof: a signer may have another name, and may be on another machine.
set -u

# Programs that sign, as they are usually called: validator clients, remote signers, and nodes of chains that sign
# themselves.
signers='lighthouse +(v|vc|validator|validator_client)( |$)|validator[-_]client|(^|/)(prysm-)?validator( |$)'
signers="$signers|lodestar +validator|nimbus_(validator_client|signing_node)|--validator-keys|web3signer"
signers="$signers|(^|/)(vouch|dirk|charon|vero|tmkms|horcrux)( |$)|cardano-node.*--shelley-kes-key"
signers="$signers|(^|/)(cometbft|gaiad|beacond|[a-z]+d) +start|failover +gate"
# Of a container or a unit only the name is known.
names='validator|lighthouse-?vc|web3signer|vouch|dirk|charon|vero|tmkms|horcrux|failover-gate'

for folder in /proc/[0-9]*; do
  [ "${folder#/proc/}" != $$ ] || continue
  # Only the first words: what follows may be anything.
  command=$(tr '\000' ' ' 2> /dev/null < "$folder/cmdline")
  if printf '%s' "$command" | grep -Eq -e "$signers"; then
    echo "process ${folder#/proc/}: $(printf '%s' "$command" | cut -d' ' -f1-2)"
  fi
done

if command -v systemctl > /dev/null; then
  systemctl list-units --all --plain --no-legend --type=service,timer,socket 2> /dev/null |
    awk -v names="$names" '$1 ~ names && $3 != "inactive" { print "unit " $1 ": " $3 }'
  systemctl list-unit-files --plain --no-legend --type=service,timer,socket 2> /dev/null |
    awk -v names="$names" '$1 ~ names && $2 ~ /^enabled/ { print "unit " $1 ": " $2 ", starts at the next boot" }'
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
for port in 3600 3610 3620 5062 5064 7500 13001 13141 26659; do
  hex=$(printf '%04X' "$port")
  if awk -v hex=":$hex" 'FNR > 1 && $2 ~ hex "$" && $4 == "0A" { found = 1 } END { exit !found }' \
    /proc/net/tcp /proc/net/tcp6 2> /dev/null; then
    echo "port $port: something listens where validator clients and signers do"
  fi
done
