#!/bin/sh
# Exits 0 when each of the named units has been running for five seconds, and otherwise says what each of the others is
# doing. A program that refuses its flags has ended by then; systemd alone calls it started.
set -u
code=0
for unit; do
  running=$(systemctl show --property ActiveState --value "$unit")
  # In microseconds since the boot, as /proc/uptime has it in seconds.
  since=$(systemctl show --property ActiveEnterTimestampMonotonic --value "$unit")
  now=$(cut -d. -f1 /proc/uptime)
  if [ "$running" != active ] || [ $((now - since / 1000000)) -lt 5 ]; then
    restarts=$(systemctl show --property NRestarts --value "$unit")
    journalctl --unit "$unit" --lines 200 --output cat 2> /dev/null |
      grep -av "^$unit: " > /run/failover-words # what systemd says of it is known already
    words=$(grep -aiE 'fatal|panic|error|invalid|denied|not found|not defined' /run/failover-words | tail -n 1)
    echo "$unit is $running after $restarts restarts: $(echo "${words:-$(tail -n 1 /run/failover-words)}" | cut -c1-300)"
    rm -f /run/failover-words
    code=1
  fi
done
exit $code
