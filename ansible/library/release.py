#!/usr/bin/python
"""Puts one published file, or one program out of a published archive, in its place.

It does not decide what to trust: the SHA-256 it is given does. Where the bytes came from does not matter then, so a
mirror is tried first and may be anybody's.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release
short_description: Fetch a release by URL and SHA-256, and install it or one program out of it
description:
  - Tries C(mirror) + the last part of the URL's path, then the URL itself, several times with growing pauses.
  - Nothing is installed whose SHA-256 is not the given one.
  - The SHA-256 is written down beside the installed file, so that a second run fetches nothing.
options:
  url: {description: Where it is published., type: str, required: true}
  sha256: {description: What its bytes must hash to., type: str, required: true}
  dest: {description: The file to install. A folder with O(unpack=tree)., type: path, required: true}
  mirror: {description: Tried first when it is set., type: str}
  unpack:
    description:
      - C(program) takes the file named O(member) out of a C(.tar.gz), or the whole download if it is no archive.
      - C(tree) unpacks all of a C(.tar.gz). C(none) installs the download as it is.
    choices: [none, program, tree]
    default: none
    type: str
  member: {description: Name of the program in the archive., type: str}
  mode: {description: Permissions of the file., type: str, default: "0644"}
  tries: {description: How often everything is tried., type: int, default: 4}
  pause: {description: Seconds before the second try; doubled every time., type: float, default: 5}
  timeout: {description: Seconds without a byte until a server counts as gone., type: int, default: 60}
"""
RETURN = r"""
source: {description: Where the bytes came from., type: str, returned: when something was fetched}
"""

RECORD = ".sha256"
WORK = ".fetching-"
# A web server that answers every path with its start page is what a wrong URL usually looks like.
PAGE = (b"<!doctype html", b"<html")


class Unusable(Exception):
    """What a source gave is not what was asked for."""


class Other(Unusable):
    """A source gave all of something else; it will give the same again."""


def main():
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "sha256": {"type": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "mirror": {"type": "str"},
            "unpack": {"type": "str", "choices": ["none", "program", "tree"], "default": "none"},
            "member": {"type": "str"},
            "mode": {"type": "str", "default": "0644"},
            "tries": {"type": "int", "default": 4},
            "pause": {"type": "float", "default": 5},
            "timeout": {"type": "int", "default": 60},
        },
        required_if=[("unpack", "program", ["member"])],
        supports_check_mode=True,
    )
    wanted = module.params
    wanted["sha256"] = wanted["sha256"].lower()
    if not re.fullmatch("[0-9a-f]{64}", wanted["sha256"]):
        module.fail_json(msg="%s is not a SHA-256" % wanted["sha256"])
    if not wanted["url"].startswith(("https://", "http://")):
        module.fail_json(msg="%s is not a URL" % wanted["url"])
    # In the folder it goes to, because only there is the last step a rename, which a killed run cannot leave half done.
    folder = os.path.dirname(wanted["dest"])
    if not module.check_mode:
        clear(folder)
    if installed(wanted):
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=True)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    work = begin(folder)
    try:
        source = fetch(wanted, os.path.join(work, "download"), module.warn)
        install(wanted, work)
    except (Unusable, OSError, tarfile.TarError) as error:
        module.fail_json(msg=str(error))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    module.exit_json(changed=True, source=source)


def begin(folder):
    """A working folder that is locked until this process ends, however it ends."""
    with locked(folder):
        work = tempfile.mkdtemp(prefix=WORK, dir=folder)
        lock(work)
        return work


def clear(folder):
    """Takes away what killed runs left. Whoever is at work holds a lock on its working folder."""
    if not os.path.isdir(folder):
        return
    with locked(folder):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name.startswith(WORK) and os.path.isdir(path):
                with contextlib.suppress(BlockingIOError):
                    os.close(lock(path, fcntl.LOCK_NB))
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(folder):
    """Nobody begins while another clears: a working folder that is not locked yet would look like one that was left."""
    held = lock(folder)
    try:
        yield
    finally:
        os.close(held)


def lock(folder, how=0):
    """An open file of the folder, with the lock; closing it, or the end of the process, gives the lock back."""
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | how)
    except OSError:
        os.close(held)
        raise
    return held


def installed(wanted):
    """Whether the record says so, and the file has not been touched since the record was written."""
    try:
        with open(record(wanted["dest"]), encoding="ascii") as file:
            return file.read() == mark(wanted)
    except OSError:
        return False


def mark(wanted):
    """What the record says: the hash asked for, what was made of it, and how the result looked when it was new."""
    status = os.stat(wanted["dest"])
    shape = [wanted["unpack"], wanted["member"] or "-", wanted["mode"], str(status.st_mtime_ns), str(status.st_ino)]
    if wanted["unpack"] != "tree":
        shape.append(str(status.st_size))
    return " ".join([wanted["sha256"], *shape]) + "\n"


def record(dest):
    folder, name = os.path.split(dest)
    return os.path.join(folder, "." + name + RECORD)


def sources(wanted):
    if wanted["mirror"]:
        name = wanted["url"].split("?")[0].rstrip("/").rsplit("/", 1)[-1]
        yield wanted["mirror"].rstrip("/") + "/" + name
    yield wanted["url"]


def fetch(wanted, path, warn):
    """Every source, then a pause, then again: a mirror that starts a little later is the usual case, not the odd one."""
    pause, problems = wanted["pause"], {}
    for attempt in range(wanted["tries"]):
        if attempt:
            time.sleep(pause)
            pause = min(2 * pause, 120)
        for source in sources(wanted):
            try:
                download(source, path, wanted)
                for other, problem in problems.items():
                    warn("%s: %s; %s was good" % (other, problem, source))
                return source
            except (OSError, Unusable, ValueError) as error:  # urllib's errors are OSError; a bad address is ValueError
                problems[source] = error
        if all(isinstance(problem, Other) for problem in problems.values()):
            break
    raise Unusable(
        "nothing with SHA-256 %s after %d tries: %s"
        % (wanted["sha256"], attempt + 1, "; ".join("%s: %s" % each for each in problems.items()))
    )


def download(source, path, wanted):
    """Hashed while it comes in, and compared before anybody looks inside."""
    digest, start = hashlib.sha256(), b""
    request = urllib.request.Request(source, headers={"User-Agent": "failover"})
    with urllib.request.urlopen(request, timeout=wanted["timeout"]) as answer, open(path, "wb") as file:
        expected, total = answer.headers.get("Content-Length"), 0
        while True:
            piece = answer.read(1 << 20)
            if not piece:
                break
            start = start or piece[:512]
            total += len(piece)
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() == wanted["sha256"]:
        return
    if expected and int(expected) != total:
        raise Unusable("cut off after %d of %s bytes" % (total, expected))
    found = "a web page" if start.lstrip().lower().startswith(PAGE) else "%d bytes" % total
    raise Other("wrong SHA-256, %s of %s" % (digest.hexdigest(), found))


def install(wanted, work):
    """Beside its place first, then renamed into it, then written down: killed anywhere, the next run begins again."""
    ready, download_path, dest = os.path.join(work, "ready"), os.path.join(work, "download"), wanted["dest"]
    if wanted["unpack"] == "tree":
        unpack_tree(download_path, ready)
    elif wanted["unpack"] == "program" and tarfile.is_tarfile(download_path):
        unpack_program(download_path, ready, wanted["member"])
    else:
        os.rename(download_path, ready)
    if wanted["unpack"] == "tree":
        os.chmod(ready, 0o755)
        if os.path.lexists(dest):
            os.rename(dest, os.path.join(work, "old"))
    else:
        os.chmod(ready, int(wanted["mode"], 8))
    os.chown(ready, 0, 0)
    sync(ready)
    os.rename(ready, dest)
    note = os.path.join(work, "note")
    with open(note, "w", encoding="ascii") as file:
        file.write(mark(wanted))
    os.rename(note, record(dest))


def sync(path):
    if os.path.isfile(path):
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def unpack_program(archive, ready, member):
    with tarfile.open(archive) as tar:
        found = [each for each in tar if each.isfile() and os.path.basename(each.name) == member]
        if len(found) != 1:
            raise Unusable("there are %d files named %s in the archive" % (len(found), member))
        with tar.extractfile(found[0]) as source, open(ready, "wb") as target:
            shutil.copyfileobj(source, target)


def unpack_tree(archive, ready):
    """Regular files, folders and links that stay inside, owned by root: an archive says nothing about this machine."""
    os.mkdir(ready)
    top = os.path.realpath(ready)
    with tarfile.open(archive) as tar:
        for each in tar:
            if each.isdev():
                raise Unusable("%s is a device" % each.name)
            inside(top, os.path.join(top, each.name), each.name)
            if each.issym():
                inside(top, os.path.join(top, os.path.dirname(each.name), each.linkname), each.name)
            elif each.islnk():
                inside(top, os.path.join(top, each.linkname), each.name)
            each.uid = each.gid = 0
            each.uname = each.gname = "root"
            # Services are not root, and have to read all of it; nobody but root changes it.
            each.mode = 0o755 if each.isdir() or each.mode & 0o111 else 0o644
            tar.extract(each, ready)


def inside(top, path, name):
    if os.path.commonpath([top, os.path.realpath(path)]) != top:
        raise Unusable("%s leads out of its folder" % name)


if __name__ == "__main__":
    main()
