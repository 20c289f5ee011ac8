# A machine to try the roles on: a copy of the Debian of tests/parts, booted by systemd-nspawn, with a metadata server and
# a mirror of releases beside it. Sourced, never run; needs root. Everything is in the folder $world, and `world_down`,
# which is called at the end however it comes, stops it all and leaves nothing.
# shellcheck shell=bash

exec < /dev/null # ansible refuses one that does not block
root=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
parts=$root/tests/parts
# shellcheck source-path=SCRIPTDIR source=../parts/processes.sh
source "$parts/processes.sh"

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
check() { # what is true, command
  local what=$1; shift
  if "$@" > "$world/check.log" 2>&1; then say "ok: $what"; else
    cat "$world/check.log" >&2
    die "not true: $what"
  fi
}

# The folder, its servers, and who cleans up. With $netns in that network namespace,
# which ends with it.
world_up() {
  [[ $(id -u) == 0 ]] || die "needs root"
  world=$(mktemp -d "${TMPDIR:-/tmp}/failover-standby.XXXXXX")
  trap world_down EXIT
  trap 'exit 143' TERM INT
  mkdir -p "$world"/{attributes,guest,mirror,faults}
  (cd "$world" && start servers ${netns:+ip netns exec "$netns"} python3 "$root/tests/standby/world.py" "$world" && await servers test -e port)
  port=$(cat "$world/port")
}

world_down() { # exit code, if it is not that of the last command
  local code=${1:-$?}
  trap - EXIT
  if machine_alive; then
    [[ $code == 0 ]] || machine journalctl --no-pager -n 60 -u 'failover-*' >&2 || true
    machine_stop || true
  fi
  [[ ! -d $world/net ]] || "$parts/ethereum.sh" stop "$world/net" > /dev/null 2>&1 || true
  (cd "$world" && stop servers) || true
  if [[ $code != 0 && -s $world/console.log ]]; then
    echo "--- the machine's last words:" >&2
    tail -n 40 "$world/console.log" >&2
  fi
  [[ -z ${STANDBY_KEEP-} ]] || { cp -a "$world/console.log" "$STANDBY_KEEP/" || true; }
  # **Invariant:** nothing is deleted through a mount, which may lead to the devices or the checkout.
  local place
  findmnt -rno TARGET | grep "^$world/" | tac | while read -r place; do umount --lazy "$place"; done
  if findmnt -rno TARGET | grep -q "^$world/"; then
    echo "left behind, because something is mounted in it: $world" >&2
  else
    rm -rf --one-file-system "$world"
  fi
  [[ -z ${netns-} ]] || ip netns delete "$netns" || true
  exit "$code"
}

# What the metadata and the mirror have, from the checkout. The tar is the same for the same files. The start-up script is
# the real one but for two numbers: a test waits less and gives up sooner.
world_fill() { # the standby's description as JSON
  sed 's/^first_pause=10 /first_pause=1 /; s/^play_tries=6$/play_tries=2/' "$root/ansible/startup.sh" \
    > "$world/attributes/startup-script"
  [[ $(diff "$root/ansible/startup.sh" "$world/attributes/startup-script" | grep -c '^>') == 2 ]] ||
    die "startup.sh has other numbers than this test knows"
  tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --exclude=startup.sh -cf - ansible playbooks |
    gzip -9n | base64 -w 76 > "$world/attributes/failover-bundle"
  cat > "$world/attributes/failover-vars" <<< "$1"
  echo incident-1 > "$world/attributes/failover-incident"
}

publish() { # file, name
  cp "$1" "$world/mirror/$2"
}

# {"url", "sha256"} of something published. The URL itself leads nowhere: only the mirror has it.
release() { # name
  printf '{"url": "http://127.0.0.1:9/releases/%s", "sha256": "%s"}' "$1" "$(sha256sum < "$world/mirror/$1" | cut -d' ' -f1)"
}

# A root of its own over the cached one, which is never written to; where overlays cannot be had, a copy.
machine_make() {
  local image
  image=$("$parts/install.sh" --path debian)
  mkdir -p "$world"/{root,upper,overlay-work}
  mount -t overlay overlay -o "lowerdir=$image,upperdir=$world/upper,workdir=$world/overlay-work" "$world/root" 2> /dev/null ||
    cp -a --reflink=auto "$image/." "$world/root"
  mkdir -p "$world/root/etc/systemd/system.conf.d"
  echo "GCE_METADATA_HOST=127.0.0.1:$port" >> "$world/root/etc/environment"
  printf '[Manager]\nDefaultEnvironment=GCE_METADATA_HOST=127.0.0.1:%s\n' "$port" > "$world/root/etc/systemd/system.conf.d/test.conf"
  # As Google's image does it: a script from the metadata, at every boot, by a unit of this name.
  cat > "$world/root/etc/systemd/system/google-startup-scripts.service" << 'UNIT'
[Unit]
After=network-online.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'curl -sf --retry 5 -H "Metadata-Flavor: Google" -o /run/startup-script "http://$GCE_METADATA_HOST/computeMetadata/v1/instance/attributes/startup-script" && exec sh /run/startup-script'
KillMode=process
[Install]
WantedBy=multi-user.target
UNIT
}

machine_enable_startup() {
  ln -sf ../google-startup-scripts.service "$world/root/etc/systemd/system/multi-user.target.wants/google-startup-scripts.service"
}

# Boots and returns as soon as its systemd answers. Its serial port is a file, which it keeps over a reboot.
# shellcheck disable=SC2120,SC2119 # most need no more arguments
machine_boot() { # more arguments of systemd-nspawn
  touch "$world/root/var/log/console"
  (cd "$world" && start nspawn systemd-nspawn -D "$world/root" --register=no --keep-unit -M "standby-$port" \
    --console=pipe --bind="$world/root/var/log/console:/dev/ttyS0" --resolv-conf=off --timezone=off ${netns:+"--network-namespace-path=/run/netns/$netns"} "$@" -b)
  local pid
  read -r pid _ < "$world/nspawn.pid"
  until leader=$(pgrep -P "$pid" | head -n 1) && [[ -n $leader ]] &&
    [[ $(machine systemctl is-system-running 2> /dev/null) =~ ^(starting|running|degraded)$ ]]; do
    machine_alive || die "the machine did not boot: $(tail -n 3 "$world/nspawn.log")"
    ((SECONDS < 600)) || die "the machine does not answer"
    sleep 0.2
  done
}

# By its own command. Who has started its nspawn starts it again, as systemd would.
machine_reboot() { # as machine_boot
  machine systemctl reboot > /dev/null 2>&1 || true
  while machine_alive; do sleep 0.1; done
  machine_boot "$@"
}

machine_alive() { [[ -n ${world-} ]] && (cd "$world" && alive nspawn); }

# Runs a command on the machine, with a clean environment.
machine() {
  nsenter -t "$leader" -m -u -i -p -n -- env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    GCE_METADATA_HOST="127.0.0.1:$port" "$@"
}

machine_stop() {
  local tries=0
  machine systemctl poweroff > /dev/null 2>&1 || true
  while machine_alive; do
    ((tries++ < 1200)) || { (cd "$world" && stop nspawn); break; } # longer than the longest unit may take
    sleep 0.1
  done
  rm -f "$world/nspawn.pid"
}

# The start-up script as the unit runs it; its words are in console.log and in $said.
machine_startup() {
  local code=0 before
  before=$(machine sh -c 'cat /var/log/console 2> /dev/null | wc -l')
  # shellcheck disable=SC2016 # for the machine to expand
  machine sh -c 'curl -sf -H "Metadata-Flavor: Google" -o /run/startup-script "http://$GCE_METADATA_HOST/computeMetadata/v1/instance/attributes/startup-script"'
  machine sh /run/startup-script > /dev/null 2>&1 || code=$?
  machine cat /var/log/console > "$world/console.log"
  # shellcheck disable=SC2034 # for who calls this
  said=$(tail -n "+$((before + 1))" "$world/console.log")
  return "$code"
}

# The last line that the start-up script of this boot has said; waits for it.
machine_await_done() { # seconds at most
  local end=$((SECONDS + $1))
  until machine cat /var/log/console > "$world/console.log" 2> /dev/null &&
    tail -n 1 "$world/console.log" | grep -qE '^failover: (done|FAILED)'; do
    machine_alive || die "the machine has ended"
    ((SECONDS < end)) || die "the start-up script is not done after $1 s"
    sleep 0.2
  done
  tail -n 1 "$world/console.log"
}

# Everything of a description that a test does not care about; the rest is merged over it, deeply.
description() { # JSON of the standby
  python3 - "$1" "http://127.0.0.1:$port/mirror/" "$(release failover)" << 'PY'
import json, sys

given, mirror, failover = json.loads(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
standby = {
    "incident": "incident-1", "validator": "test-0", "kind": "ethereum", "clients": [], "network": "mainnet",
    "genesis_root": None, "checkpoint_sync_url": None, "mirror": mirror,
    "disk": {"device": None, "mount": "/var/lib/chain"}, "p2p_ports": [30303, 9000], "failover": failover,
    "geth": None, "lighthouse": None, "prysm": None, "generic": None, "agent": {"interval_seconds": 30},
}
print(json.dumps({"standby": {**standby, **given}}))
PY
}
