//! Whether what is on a file system can be had by two machines at once, and which disk it is on.
//!
//! What is not known to be local is not.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::files;

/// File systems on disks of this machine, by the number that `statfs` gives (linux/magic.h; ZFS, bcachefs and F2FS by
/// their own sources).
const LOCAL: &[i64] = &[
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0xF2F5_2010, // f2fs
    0x2FC1_2FC1, // zfs
    0xCA45_1A4E, // bcachefs
];

/// Those that forget, and those that two machines may have. The rest has only its number.
const NOT_KEPT: &[(i64, &str)] = &[
    (0x0102_1994, "tmpfs, which forgets at every restart"),
    (0x8584_58F6, "ramfs, which forgets at every restart"),
    (0x794C_7630, "the container's own layer, which goes with the container"),
    (0x6969, "NFS"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB"),
    (0x517B, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x0102_1997, "9p"),
    (0x0116_1970, "GFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x7461_636F, "OCFS2"),
    (0x5346_414F, "AFS"),
    (0x6165_676C, "a file system of another machine"),
];

/// Why two machines may have this file, or a restart loses it. `None` when neither is so.
pub(super) fn not_kept(file: &File) -> Option<String> {
    let kind = match rustix::fs::fstatfs(file) {
        #[allow(clippy::unnecessary_cast, reason = "its type differs between C libraries")]
        Ok(found) => found.f_type as i64 & 0xFFFF_FFFF,
        Err(error) => return Some(format!("its file system cannot be asked: {error}")),
    };
    if let Some((_, name)) = NOT_KEPT.iter().find(|(number, _)| *number == kind) {
        return Some(format!("it is on {name}"));
    }
    if !LOCAL.contains(&kind) {
        return Some(format!("it is on a file system that is not known to be local ({kind:#x})"));
    }
    let device = file.metadata().ok()?.dev();
    disks(device).iter().find_map(|disk| elsewhere(disk))
}

/// Of the disks below it, what their makers wrote on them: a disk that was copied bit by bit onto another has the same
/// files.
/// `None` where the kernel does not say (ZFS and btrfs name no disk, virtual machines often have no number).
pub(super) fn serials(file: &File) -> Option<String> {
    let mut found: Vec<_> = disks(file.metadata().ok()?.dev()).iter().filter_map(|disk| serial(disk)).collect();
    found.sort_unstable();
    (!found.is_empty()).then(|| found.join(" "))
}

/// Whether all disks of before are still there, though others may have come: a volume that has grown. Nobody else can have
/// any of them then. One that is missing may be in another machine, with a gate that was started there; and a gate that
/// runs here meanwhile is not asked again. So a mirror that lost a disk is another gate.
pub(super) fn still_has(before: &str, now: &str) -> bool {
    before.split_whitespace().all(|disk| now.split_whitespace().any(|it| it == disk))
}

fn serial(disk: &Path) -> Option<String> {
    let names = ["wwid", "serial", "device/wwid", "device/cid", "device/serial"];
    let found = names.into_iter().filter_map(|name| files::read_text(&disk.join(name), files::MOST).ok());
    found.map(|text| text.split_whitespace().collect::<Vec<_>>().join("-")).find(|text| !text.is_empty())
}

/// The whole disks that a block device is made of, as folders in sysfs.
fn disks(device: u64) -> Vec<PathBuf> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let mut found = Vec::new();
    let mut open: Vec<_> = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).into_iter().collect();
    while let Some(mut path) = open.pop() {
        if path.join("partition").exists() {
            path.pop();
        }
        let below = fs::read_dir(path.join("slaves")).into_iter().flatten().flatten();
        let below: Vec<_> = below.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
        if below.is_empty() && !found.contains(&path) {
            found.push(path);
        }
        open.extend(below);
    }
    found
}

/// Disks that are reached over a network can be attached to another machine while this one still writes.
fn elsewhere(disk: &Path) -> Option<String> {
    let name = disk.file_name()?.to_str()?;
    let path = disk.to_str()?;
    let transport = files::read_text(&disk.join("device/transport"), 64).unwrap_or_default();
    let transport = transport.trim();
    // A disk of this machine hangs on one of its buses; what is only made by a driver may be anywhere (rbd, nbd, loop, NVMe
    // over a network under multipath).
    let away = path.starts_with("/sys/devices/virtual/")
        || ["rbd", "nbd", "drbd", "loop", "pxd", "ublk"].into_iter().any(|kind| name.starts_with(kind))
        || ["/session", "/rport-", "nvme-fabrics"].into_iter().any(|part| path.contains(part))
        || !["", "pcie"].contains(&transport);
    away.then(|| format!("its disk {name} may be on another machine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_another_machine_may_have_is_not_local() {
        let elsewhere = |path: &str| elsewhere(Path::new(path)).is_some();
        assert!(elsewhere("/sys/devices/platform/host6/session2/target6:0:0/6:0:0:1/block/sdb"));
        assert!(elsewhere("/sys/devices/virtual/nvme-fabrics/ctl/nvme1/nvme1n1"));
        assert!(elsewhere("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1"));
        assert!(elsewhere("/sys/devices/pci0000:00/0000:00:02.0/host1/rport-1:0-3/target1:0:0/1:0:0:0/block/sdc"));
        assert!(elsewhere("/sys/devices/rbd/0/block/rbd0") && elsewhere("/sys/devices/virtual/block/loop0"));
        assert!(!elsewhere("/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"));
        assert!(!elsewhere("/sys/devices/platform/soc/mmc_host/mmc0/mmc0:0001/block/mmcblk0"));
    }

    #[test]
    fn a_volume_that_grew_is_what_it_was_and_one_that_lacks_a_disk_is_not() {
        assert!(still_has("A", "A D") && still_has("A B", "B C A") && still_has("A B", "A B"));
        assert!(!still_has("A B", "A") && !still_has("A B", "B"), "the other half may be in another machine");
        assert!(!still_has("A", "B") && !still_has("A B C", "A B D"));
    }

    #[test]
    fn what_a_restart_forgets_is_not_kept() {
        let shared = tempfile::tempfile_in("/dev/shm").unwrap();
        let why = not_kept(&shared).unwrap();
        assert!(why.contains("tmpfs"), "{why}");
        assert!(not_kept(&File::open("/proc/self/status").unwrap()).unwrap().contains("not known"));
    }
}
