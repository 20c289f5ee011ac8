#!/usr/bin/env python3
"""What the module `release` makes of archives and files, without a machine: `python3 tests/standby/release.py`."""

import hashlib
import io
import os
import pathlib
import shutil
import signal
import sys
import tarfile
import tempfile
import types
import unittest
from unittest import mock

sys.dont_write_bytecode = True
# Only for its class AnsibleModule, which is not needed here.
basic = types.ModuleType("ansible.module_utils.basic")
basic.AnsibleModule = object
for name in ("ansible", "ansible.module_utils"):
    sys.modules.setdefault(name, types.ModuleType(name))
sys.modules["ansible.module_utils.basic"] = basic
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "ansible" / "library"))
import release  # noqa: E402


def archive(*entries):
    """A .tar.gz of (name, content as text or a tar type, link target, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, what, link, mode in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.linkname, info.uid = mode, link, 4711
            if isinstance(what, str):
                info.size = len(what)
                tar.addfile(info, io.BytesIO(what.encode()))
            else:
                info.type = what
                tar.addfile(info)
    return out.getvalue()


class Release(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.work = pathlib.Path(folder.name) / "work"
        self.work.mkdir()
        self.dest = pathlib.Path(folder.name) / "dest"
        for name in ("chown", "fsync"):  # a test need not be root
            patch = mock.patch.object(release.os, name)
            patch.start()
            self.addCleanup(patch.stop)
        patch = mock.patch.object(tarfile.TarFile, "chown")
        patch.start()
        self.addCleanup(patch.stop)

    def install(self, content, unpack, member=None):
        shutil.rmtree(self.work)
        self.work.mkdir()
        (self.work / "download").write_bytes(content)
        self.wanted = {"sha256": hashlib.sha256(content).hexdigest(), "dest": str(self.dest), "unpack": unpack,
                       "member": member, "mode": "0755"}
        release.install(self.wanted, str(self.work))

    def refused(self, *entries):
        with self.assertRaises(release.Unusable):
            self.install(archive(*entries), "tree")
        self.assertFalse(self.dest.exists())

    def test_a_program_is_found_in_an_archive_by_its_name(self):
        self.install(archive(("geth-1/COPYING", "", "", 0o644), ("geth-1/geth", "it", "", 0o700)), "program", "geth")
        self.assertEqual(self.dest.read_bytes(), b"it")
        self.assertEqual(self.dest.stat().st_mode & 0o7777, 0o755)

    def test_a_bare_program_is_taken_as_it_is(self):
        self.install(b"\x7fELF", "program", "geth")
        self.assertEqual(self.dest.read_bytes(), b"\x7fELF")

    def test_no_program_or_two_of_that_name_are_refused(self):
        for entries in ([("a/b", "", "", 0o755)], [("a/geth", "1", "", 0o755), ("b/geth", "2", "", 0o755)]):
            with self.assertRaises(release.Unusable):
                self.install(archive(*entries), "program", "geth")
            self.assertFalse(self.dest.exists())

    def test_a_tree_can_be_read_by_services_and_changed_by_nobody(self):
        self.install(archive(("bin", tarfile.DIRTYPE, "", 0o700), ("bin/node", "", "", 0o4777), ("a", "", "", 0o600)), "tree")
        modes = {name: (self.dest / name).stat().st_mode & 0o7777 for name in ("bin", "bin/node", "a")}
        self.assertEqual(modes, {"bin": 0o755, "bin/node": 0o755, "a": 0o644})

    def test_nothing_leads_out_of_a_tree(self):
        self.refused(("../outside", "", "", 0o644))
        self.refused(("/etc/outside", "", "", 0o644))
        self.refused(("link", tarfile.SYMTYPE, "/etc", 0o777))
        self.refused(("a/link", tarfile.SYMTYPE, "../../..", 0o777))
        self.refused(("link", tarfile.LNKTYPE, "../work/download", 0o777))
        self.refused(("disk", tarfile.BLKTYPE, "", 0o666))

    def test_a_link_inside_a_tree_stays(self):
        self.install(archive(("lib/a.1", "x", "", 0o644), ("lib/a", tarfile.SYMTYPE, "a.1", 0o777)), "tree")
        self.assertEqual((self.dest / "lib/a").read_bytes(), b"x")

    def test_what_is_installed_is_known_until_it_is_touched(self):
        self.install(b"one", "none")
        self.assertTrue(release.installed(self.wanted))
        self.assertFalse(release.installed({**self.wanted, "sha256": "0" * 64}))
        self.assertFalse(release.installed({**self.wanted, "mode": "0644"}))
        self.dest.write_bytes(b"two")
        os.utime(self.dest, ns=(1, 1))
        self.assertFalse(release.installed(self.wanted))

    def test_without_its_record_it_is_installed_again(self):
        self.install(b"one", "none")
        os.unlink(release.record(str(self.dest)))
        self.assertFalse(release.installed(self.wanted))

    def test_a_mirror_is_tried_first_by_the_last_part_of_the_path(self):
        wanted = {"mirror": "https://mirror/path", "url": "https://a/v1/geth.tar.gz?download=1"}
        self.assertEqual(list(release.sources(wanted)), ["https://mirror/path/geth.tar.gz", wanted["url"]])
        self.assertEqual(list(release.sources({**wanted, "mirror": None})), [wanted["url"]])

    def test_what_a_killed_run_left_is_taken_away_and_what_is_at_work_is_not(self):
        folder = self.work.parent
        reader, writer = os.pipe()
        killed = os.fork()
        if not killed:
            os.write(writer, pathlib.Path(release.begin(str(folder))).name.encode())
            signal.pause()
        left = folder / os.read(reader, 100).decode()
        os.kill(killed, signal.SIGKILL)
        os.waitpid(killed, 0)
        (left / "download").write_bytes(b"half")
        (folder / "not-ours").mkdir()
        at_work = pathlib.Path(release.begin(str(folder)))
        (at_work / "download").write_bytes(b"half")
        release.clear(str(folder))
        self.assertFalse(left.exists())
        self.assertTrue((at_work / "download").exists())
        self.assertTrue((folder / "not-ours").exists())
        release.clear(str(folder / "not-there"))


if __name__ == "__main__":
    unittest.main()
