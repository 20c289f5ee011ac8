"""Attacks a watcher's port and says how much memory that took and how long good messages waited. See port_limits.sh."""

import json
import os
import pathlib
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
TOKEN = "s3cret"
SLOWEST = 1.0  # seconds until a good message is answered with 200


class Callers:
    """How everybody connects: in the clear, or with TLS, whose certificate is of no interest here."""

    tls = None

    @classmethod
    def use_tls(cls):
        cls.tls = ssl.create_default_context()
        cls.tls.check_hostname, cls.tls.verify_mode = False, ssl.CERT_NONE

    @classmethod
    def connect(cls, port, timeout):
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        return cls.tls.wrap_socket(connection) if cls.tls else connection


def good(number):
    alert = {
        "status": "firing",
        "labels": {"alertname": "Down", "validator": "eth-0"},
        "annotations": {"summary": "it is down"},
        "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{number:016x}",
    }
    return json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()


def head(length, token=TOKEN, more=""):
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return (
        f"POST /webhook/alertmanager HTTP/1.1\r\nHost: watcher\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{size}\r\n{more}\r\n"
    ).encode()


def message(alerts):
    return b'{"version":"4","alerts":[' + alerts + b"]}"


def many(text, count):
    return message(b",".join([text] * count))


def labels(count):
    return b"{" + b",".join(b'"%x":""' % number for number in range(count)) + b"}"


# --- The one that is kept waiting.


class Poster(threading.Thread):
    """Sends a good message every so often, each over a new connection, and repeats it as Alertmanager does."""

    def __init__(self, port, first):
        super().__init__(daemon=True)
        self.port, self.number, self.first = port, first, first
        self.slowest, self.repeated, self.stop = 0.0, 0, threading.Event()

    def run(self):
        while not self.stop.is_set():
            since = time.monotonic()
            while not self.posted() and time.monotonic() - since < 30:
                self.repeated += 1
            self.slowest = max(self.slowest, time.monotonic() - since)
            self.number += 1
            self.stop.wait(0.02)

    def posted(self):
        body = good(self.number)
        try:
            with Callers.connect(self.port, timeout=30) as connection:
                connection.sendall(head(len(body), more="Connection: close\r\n") + body)
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False


def post_until_told(port, first):
    """In a process of its own, so that the attack does not slow it down: says what it has seen at each line read."""
    poster = None
    for line in sys.stdin:
        if line.strip() == "begin":
            poster = Poster(port, first)
            poster.start()
        else:
            poster.stop.set()
            poster.join()
            first = poster.number
            print(json.dumps([poster.slowest, poster.repeated, poster.number - poster.first]), flush=True)


# --- The attacks. Each holds what it has opened until all of them are done.


def together(count, do):
    threads = [threading.Thread(target=do, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Attack:
    def __init__(self, port):
        self.port, self.held = port, []

    def connect(self):
        connection = Callers.connect(self.port, timeout=20)
        self.held.append(connection)
        return connection

    def send(self, start, body, answered=True):
        try:
            connection = self.connect()
            connection.sendall(start)
            connection.sendall(body)
            if answered:
                connection.recv(64)
        except OSError:
            pass  # refused or cut off, as it should be

    def bodies(self, *bodies, count=64, token=TOKEN):
        together(count, lambda n: self.send(head(len(bodies[n % len(bodies)]), token), bodies[n % len(bodies)]))

    def nothing(self):
        time.sleep(1)

    def large(self):
        self.bodies(message(b"") + b" " * (16 * MIB - 40))

    def large_without_length(self):
        body = b" " * (16 * MIB - 40)
        together(64, lambda _: self.send(head(None), b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)))

    def large_and_stalled(self):
        together(64, lambda _: self.send(head(16 * MIB), b" " * (15 * MIB), answered=False))
        time.sleep(2)

    def small_and_stalled(self):
        together(300, lambda _: self.send(head(256 << 10), b" " * (8 << 10), answered=False))
        time.sleep(2)

    def idle(self):
        for _ in range(2000):
            self.send(b"", b"", answered=False)
        time.sleep(2)

    def idle_below_tls(self):
        """Connections on which no handshake begins, as far as there is one."""
        for _ in range(2000):
            try:
                self.held.append(socket.create_connection(("127.0.0.1", self.port), timeout=20))
            except OSError:
                pass
        time.sleep(2)

    def unfinished_heads(self):
        for _ in range(600):
            self.send(head(7)[:-2] + b"X-Filler: " + b"x" * 15_000, b"", answered=False)
        time.sleep(2)

    def by_the_million(self):
        alert = b'{"status":"firing","labels":{"alertname":"Down","validator":"eth-0"}}'
        self.bodies(
            many(b"{}", 4_000_000),
            many(b'{"status":"firing"}', 800_000),
            many(b'{"status":"firing"}', 10_000),
            message(b'{"status":"firing","labels":' + labels(1_200_000) + b"}"),
            many(b'{"status":"firing","labels":' + labels(200) + b"}", 9_000),
            many(b'{"status":"firing","labels":' + labels(200) + b"}", 300),
            many(alert, 9_900),
            b'{"version":[' + b"0," * (8 * MIB - 20) + b"0]}",
            b"[" * (16 * MIB),
            b'{"version":"4","alerts":"' + b"\x7f" * (16 * MIB - 40) + b'"}',
            b'{"version":"4","alerts":"' + b"\x7f" * (MIB - 40) + b'"}',
            b'{"version":"4","' + b"\\n" * (8 * MIB - 40) + b'":1}',
            b'{"version":"' + b"\\u0001" * (100_000) + b'"}',
        )

    def small_by_the_hundred(self):
        small = many(b'{"status":"firing","labels":' + labels(200) + b"}", 140)[: 255 << 10]
        alert = b'{"status":"firing","labels":{"alertname":"Down","validator":"eth-0"}}'
        self.bodies(small, small + b'"}}]}', many(b'{"status":"firing"}', 9_000), many(alert, 3_500), count=100)

    def wrong_tokens(self):
        self.bodies(good(0), count=400, token="wrong")
        self.bodies(b" " * (16 * MIB), count=32, token="wrong")

    def everything(self):
        others = [self.idle, self.unfinished_heads, self.large, self.by_the_million, self.small_and_stalled]
        together(len(others), lambda n: others[n]())


CASES = [
    ("nothing", Attack.nothing),
    ("64 bodies of 16 MiB", Attack.large),
    ("64 bodies of 16 MiB without a length", Attack.large_without_length),
    ("64 bodies that stop at 15 of 16 MiB", Attack.large_and_stalled),
    ("300 bodies that stop at 8 of 256 KiB", Attack.small_and_stalled),
    ("2,000 idle connections", Attack.idle),
    ("2,000 connections that say nothing at all", Attack.idle_below_tls),
    ("600 unfinished heads of 15 KiB", Attack.unfinished_heads),
    ("alerts, labels and texts by the million", Attack.by_the_million),
    ("100 bodies of 256 KiB, full of labels", Attack.small_by_the_hundred),
    ("432 messages with a wrong token", Attack.wrong_tokens),
    ("all of it at once", Attack.everything),
]


# --- The watcher.


def watcher(program, folder):
    port = socket.create_server(("127.0.0.1", 0)).getsockname()[1]
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    tls = ""
    if Callers.tls:
        new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=w -keyout key -out cert"
        subprocess.run(["openssl", *new.split()], cwd=folder, check=True, stderr=subprocess.DEVNULL)
        (folder / "key").chmod(0o600)
        tls = f", tls: {{certificate_file: {folder}/cert, key_file: {folder}/key}}"
    (folder / "failover.yaml").write_text(
        f"site: home\nledger: {{sqlite: {{path: {folder}/ledger.sqlite}}}}\n"
        f"http: {{listen: '127.0.0.1:{port}'{tls}}}\n"
        f"alertmanager: {{auth: {{bearer_file: {folder}/token}}}}\npolicy: {{lease: 3s}}\nvalidators:\n"
        f"  - {{name: eth-0, kind: ethereum, public_keys: ['0x{7:096x}'],\n"
        "     alerts: [{matchers: '{validator=\"eth-0\"}', evidence: process}]}\n"
    )
    process = subprocess.Popen(
        [program, "serve", "--config", folder / "failover.yaml"],
        stderr=(folder / "log").open("w"),
        env={key: value for key, value in os.environ.items() if key != "RUST_LOG"},
    )
    for _ in range(300):
        try:
            with Callers.connect(port, timeout=5) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return process, port
        except OSError:
            pass
        time.sleep(0.05)
    process.kill()
    sys.exit("the watcher does not become ready:\n" + (folder / "log").read_text())


def peak(pid, begin=False):
    """The most memory it had since the case began, in bytes."""
    if begin:
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
        return None
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def run(program, limit, only):
    problems, stored = [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        process, port = watcher(program, folder)
        poster = subprocess.Popen(
            [sys.executable, __file__, "--post", str(port), "tls" if Callers.tls else "plain"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

        def tell(what):
            poster.stdin.write(what + "\n")
            poster.stdin.flush()

        print("with TLS" if Callers.tls else "in the clear")
        print(f"{'case':42} | peak RSS | slowest good answer | repeated")
        try:
            for name, attack in CASES:
                if only and only not in name:
                    continue
                attacker = Attack(port)
                peak(process.pid, begin=True)
                tell("begin")
                attack(attacker)
                tell("end")
                slowest, repeated, sent = json.loads(poster.stdout.readline())
                stored += sent
                for connection in attacker.held:
                    connection.close()
                if process.poll() is not None:
                    problems.append(f"{name}: the watcher has ended with {process.returncode}")
                    break
                most = peak(process.pid)
                print(f"{name:42} | {most / MIB:4.1f} MiB | {slowest * 1000:16.0f} ms | {repeated}", flush=True)
                if most > limit:
                    problems.append(f"{name}: {most / MIB:.1f} MiB are more than {limit / MIB:.0f}")
                if slowest > SLOWEST:
                    problems.append(f"{name}: a good message waited for {slowest:.1f} s")
            log = (folder / "log").read_text().splitlines()
            ours = [line for line in log if '"times"' in line]
            print(f"{stored} good messages, {len(log)} lines in the log, {len(ours)} of them about callers")
            if len(ours) > 100:
                problems.append(f"{len(ours)} lines about callers in the log")
        finally:
            poster.kill()
            poster.wait()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        ledger = sqlite3.connect(folder / "ledger.sqlite")
        kept = ledger.execute("SELECT count(*) FROM records WHERE key LIKE 'alerts/eth-0/00000000%'").fetchone()[0]
        if kept < stored:
            problems.append(f"{kept} of {stored} good messages are in the ledger")
    for problem in problems:
        print(f"PROBLEM {problem}")
    return 1 if problems else 0


def main():
    if sys.argv[1] == "--post":
        if sys.argv[3] == "tls":
            Callers.use_tls()
        return post_until_told(int(sys.argv[2]), 1)
    program, limit, only = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    plain = run(program, limit, only)
    Callers.use_tls()
    return run(program, limit, only) or plain


sys.exit(main())
