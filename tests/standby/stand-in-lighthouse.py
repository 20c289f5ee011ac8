#!/usr/bin/python3
"""Stands in for `lighthouse bn`, which could not be had: takes the flags that the Lighthouse Book documents for it
(chapter "Beacon Node", Lighthouse 8), each once, refuses everything else as lighthouse does, and then runs.

It says nothing about whether the real program starts, syncs, or gets on with the limits of its unit.
"""

import signal
import sys

WITH_VALUE = """
    auto-compact-db beacon-node-backend blobs-dir block-cache-size boot-nodes builder checkpoint-block checkpoint-state
    checkpoint-sync-state-id checkpoint-sync-url checkpoint-sync-url-timeout datadir debug-level discovery-port
    enr-address enr-quic-port enr-tcp-port enr-udp-port execution-endpoint execution-jwt execution-jwt-id
    execution-timeout-multiplier freezer-dir genesis-state-url genesis-state-url-timeout graffiti http-address
    http-allow-origin http-port libp2p-addresses listen-address log-format logfile-debug-level logfile-dir
    logfile-max-number logfile-max-size metrics-address metrics-port network network-dir port port6 prune-blobs
    prune-payloads quic-port quic-port6 state-cache-size suggested-fee-recipient target-peers testnet-dir trusted-peers
    validator-monitor-file validator-monitor-pubkeys wss-checkpoint
""".split()
ALONE = """
    allow-insecure-genesis-sync compact-db disable-backfill-rate-limiting disable-enr-auto-update disable-quic
    disable-light-client-server disable-log-timestamp disable-upnp enable-private-discovery gui http metrics private
    purge-db purge-db-force reconstruct-historic-states reset-payload-statuses slasher subscribe-all-subnets
    validator-monitor-auto
""".split()


def refuse(text):
    print("error: " + text, file=sys.stderr, flush=True)
    sys.exit(2)


def main():
    words = sys.argv[1:]
    if not words or words.pop(0) not in ("bn", "beacon", "beacon_node"):
        refuse("unrecognized subcommand")
    seen = {}
    while words:
        word = words.pop(0)
        flag = word.removeprefix("--")
        if flag in seen:
            refuse("the argument '%s' cannot be used multiple times" % word)
        if word == flag or flag not in WITH_VALUE + ALONE:
            refuse("unexpected argument '%s' found" % word)
        if flag in WITH_VALUE and not words:
            refuse("a value is required for '%s'" % word)
        seen[flag] = words.pop(0) if flag in WITH_VALUE else ""
    if "execution-endpoint" not in seen:
        refuse("the following required arguments were not provided: --execution-endpoint")
    with open(seen["execution-jwt"], encoding="ascii") as file:
        if len(bytes.fromhex(file.read().strip())) != 32:
            refuse("invalid JWT secret")
    with open(seen["datadir"] + "/stand-in", "w", encoding="ascii") as file:
        file.write("its data can be written\n")
    signal.pause()


main()
