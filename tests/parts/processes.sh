# For scripts that run a few long-lived processes out of one folder, the current one: NAME.pid says which it is,
# NAME.log what it said. Not a supervisor: nothing is ever started again. Sourced, never run.
# shellcheck shell=bash

die() { echo "${0##*/}: $*" >&2; exit 1; }

# A process number can come to belong to someone else's process; a number with the time it started cannot.
identity() { # number
  local stat fields
  stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 1
  read -ra fields <<< "${stat##*) }" # the name before it may have spaces
  [[ ${fields[0]} != Z ]] || return 1 # it has ended, only its parent has not looked yet
  echo "$1 ${fields[19]}"
}

alive() { # name
  local pid started
  read -r pid started 2> /dev/null < "$1.pid" && [[ $(identity "$pid") == "$pid $started" ]]
}

# In a session of its own and with none of our files open: who reads our output must see its end, and the lock on the
# folder (9, see lock) must not stay with the process.
start() { # name, command
  local name=$1; shift
  ! alive "$name" || die "$name is running already"
  setsid "$@" < /dev/null > "$name.log" 2>&1 9>&- &
  identity $! > "$name.pid" || die "$name ended at once: $(tail -n 1 "$name.log")"
}

# Until the command succeeds; a minute at most, and not when the process it is about has ended.
await() { # name, command
  local name=$1 end=$((SECONDS + 60)); shift
  until "$@" > /dev/null 2>&1; do
    alive "$name" || die "$name has ended: $(tail -n 1 "$name.log") (all of it: $PWD/$name.log)"
    ((SECONDS < end)) || die "$name is not ready after a minute: $PWD/$name.log"
    sleep 0.1
  done
}

# Returns when it has ended, so that a test may continue from "it is off".
stop() { # name
  local name=$1 pid tries=0 signal=TERM
  if read -r pid _ 2> /dev/null < "$name.pid"; then
    while alive "$name"; do
      ((tries < 200)) || signal=KILL # twenty seconds are enough to close any of these databases
      ((tries++ % 20)) || kill -s "$signal" "$pid" 2> /dev/null || true
      sleep 0.1
    done
    rm -f "$name.pid"
  fi
}

# Starts what calls `SCRIPT stop .` when that process has ended, however it ended.
watch() { # script, number
  local owner
  owner=$(identity "$2") || die "there is no process ${2:-without a number} to watch"
  # shellcheck disable=SC2016,SC2086 # the text is for the other shell; the owner is two words
  start watch bash -c "$(declare -f identity)"'
    while [[ $(identity "$2") == "$2 $3" ]]; do sleep 0.5; done
    rm -f watch.pid # or it would stop itself first
    exec "$1" stop .' watch "$1" $owner
}

# One verb at a time: a stop that comes while another verb is still starting things waits, and then finds all of them.
lock() { exec 9> lock && flock 9; }

# Ports the kernel lets us have, TCP and UDP, from below the range out of which it picks itself: from there any
# connection of another test could take one before it is used.
free_ports() { # how many
  python3 - "$1" << 'PY'
import random, socket, sys

below = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
held = {}
while len(held) < int(sys.argv[1]):
    port = random.randrange(10000, max(below, 20000))
    sockets = socket.socket(type=socket.SOCK_STREAM), socket.socket(type=socket.SOCK_DGRAM)
    try:
        for each in sockets:
            each.bind(("127.0.0.1", port))
        held[port] = sockets  # until all are found, or one might come twice
    except OSError:
        pass
print(*held)
PY
}
