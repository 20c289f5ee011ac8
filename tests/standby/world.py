"""What a standby sees of the world: a metadata server and a mirror of releases, on one port of loopback.

    world.py DIR       writes DIR/port when it listens, and DIR/requests, a line for each request

DIR/attributes/KEY     what the machine was given; with DIR/faults/attribute-KEY the answer breaks off after a byte
DIR/id                 the machine's number, without which it has none
DIR/guest/NS/KEY       what the machine wrote last (PUT), and in KEY.all all of it, a line each; a line in DIR/faults/guest-KEY
                       refuses it with this status, and `hang` never answers
DIR/mirror/NAME        what is published; with the same NAME in DIR/faults, a line `503 2` answers the first two with 503,
                       `html` answers all with a web page, and `hang` begins and never ends
Not the project's fake Compute Engine: only as much as a machine needs that is tested alone.
"""

import http.server
import pathlib
import sys

WORLD = pathlib.Path(sys.argv[1])
PREFIX = "/computeMetadata/v1/instance/"
PAGE = b"<!DOCTYPE html>\n<html><title>Welcome</title></html>\n"
failed = {}


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        if self.path.startswith("/mirror/"):
            self.mirror(self.path.removeprefix("/mirror/"))
        elif self.headers.get("Metadata-Flavor") != "Google":
            self.answer(403, b"Missing Metadata-Flavor:Google header.\n")
        elif self.path.startswith(PREFIX + "attributes/"):
            name = self.path.rsplit("/", 1)[1]
            self.file(WORLD / "attributes" / name, cut=(WORLD / "faults" / ("attribute-" + name)).exists())
        elif self.path == PREFIX + "id":
            self.file(WORLD / "id")
        else:
            self.answer(404, b"not found\n")

    def do_PUT(self):
        namespace, key = self.path.removeprefix(PREFIX + "guest-attributes/").split("/")
        value = self.rfile.read(int(self.headers["Content-Length"]))
        fault = WORLD / "faults" / ("guest-" + key)
        if fault.exists():
            word = fault.read_text(encoding="ascii").strip()
            if word == "hang":
                self.rfile.read(1)  # until the machine hangs up
                return None
            return self.answer(int(word), b"not now\n")
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.answer(403, b"Missing Metadata-Flavor:Google header.\n")
        folder = WORLD / "guest" / namespace
        folder.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(value)
        with (folder / (key + ".all")).open("ab") as every:
            every.write(value + b"\n")
        return self.answer(200, b"")

    def end_headers(self):
        self.send_header("Metadata-Flavor", "Google")
        super().end_headers()

    def mirror(self, name):
        fault = WORLD / "faults" / name
        words = fault.read_text().split() if fault.exists() else []
        if words[:1] == ["html"]:
            return self.answer(200, PAGE)
        if words[:1] == ["hang"]:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"1")
            self.rfile.read(1)  # until the machine hangs up
            return None
        if len(words) == 2 and failed.setdefault(name, 0) < int(words[1]):
            failed[name] += 1
            return self.answer(int(words[0]), b"not now\n")
        return self.file(WORLD / "mirror" / name)

    def file(self, path, cut=False):
        try:
            content = path.open("rb")
        except OSError:
            return self.answer(404, b"not found\n")
        with content:
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            if cut:
                self.wfile.write(content.read(1))
                self.close_connection = True
                return
            while piece := content.read(1 << 20):
                self.wfile.write(piece)

    def answer(self, code, content):
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, form, *args):
        with (WORLD / "requests").open("a", encoding="utf-8") as log:
            log.write(form % args + "\n")


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
(WORLD / "port.new").write_text(str(server.server_port), encoding="ascii")
(WORLD / "port.new").rename(WORLD / "port")
server.serve_forever()
