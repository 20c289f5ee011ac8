#!/usr/bin/python3
"""Stands in for `failover-gate run -- COMMAND` while only its unit is tested: it does with systemd and with groups of
processes what the real one has to, and decides nothing."""

import os
import signal
import socket
import sys
import time

assert sys.argv[1:3] == ["run", "--"], sys.argv
state = os.environ["FAILOVER_GATE_STATE"]
for name in ("VALIDATOR", "CHAIN", "LEDGER", "ALLOWED_SIGNERS"):
    assert os.environ["FAILOVER_GATE_" + name], name


def notify(text):
    address = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(text.encode(), address)


# A group that holds processes has no groups below it that may be limited, so both move down.
with open("/proc/self/cgroup", encoding="ascii") as file:
    group = "/sys/fs/cgroup" + file.read().strip().split("::")[1]
for part in ("gate", "command"):
    os.makedirs(f"{group}/{part}", exist_ok=True)


def move(part):
    with open(f"{group}/{part}/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


move("gate")
with open(f"{state}/id", "a", encoding="ascii") as file:
    file.write("started\n")

child = os.fork()
if child == 0:
    move("command")
    os.execv(sys.argv[3], sys.argv[3:])


def stop(*_):
    os.kill(child, signal.SIGTERM)


signal.signal(signal.SIGTERM, stop)
notify("READY=1")
while os.waitpid(child, os.WNOHANG) == (0, 0):
    notify("WATCHDOG=1")
    time.sleep(0.2)
with open(f"{group}/command/cgroup.kill", "w", encoding="ascii") as file:
    file.write("1")
