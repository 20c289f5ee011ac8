#!/usr/bin/env bash
# Attacks the port of a real `failover serve` on loopback: large bodies, idle connections, unfinished heads, alerts and
# labels by the million. Fails when that takes more memory than LIMIT, or when a good message meanwhile is not answered
# with 200 within a second, or is not in the ledger afterwards. First in the clear, then with TLS. Some two minutes.
#
#   port_limits.sh [LIMIT] [CASE]    LIMIT is 64MiB unless given; CASE is a part of the name of one case
#
# The program is $FAILOVER; `make port-limits` attacks the one of the image.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
limit=${1:-64MiB}
[[ $limit =~ ^([0-9]+)MiB$ ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
program=${FAILOVER:-}
[[ -x $program ]] || { echo "FAILOVER has to name the program to attack: make port-limits" >&2; exit 2; }
echo "$program, at most ${BASH_REMATCH[1]} MiB"
# Both sides of 2,000 connections.
ulimit -n "$(ulimit -H -n)"
exec python3 "$here/port_limits.py" "$(realpath "$program")" "$((BASH_REMATCH[1] * 1024 * 1024))" "${2:-}"
