#!/usr/bin/env bash
# The role disk on loop devices, which are as real to it as a cloud's: an empty one is formatted, one that has anything is
# never written to, a file system is mounted by UUID wherever it comes from, and grows with its device.
# On a folder with Debian in it and not on a booted one: a container's systemd does not mount disks.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "$0")/lib.sh"

world_up
machine_make
loops=()
disk_down() {
  local code=$? loop
  [[ $code == 0 ]] || cat "$world/play.log" >&2
  for loop in "${loops[@]}"; do losetup --detach "$loop" || true; done
  world_down "$code"
}
trap disk_down EXIT
mount --bind "$root" "$world/root/mnt"
mount -o remount,bind,ro "$world/root/mnt"
mount --rbind --make-rslave /dev "$world/root/dev"
mount -t proc proc "$world/root/proc"
mount -t sysfs sysfs "$world/root/sys"

loop() { # name, size; sets $device
  truncate -s "$2" "$world/$1.img"
  device=$(losetup --find --show "$world/$1.img")
  loops+=("$device")
}

# `systemctl daemon-reload` has nobody to talk to here, and its handler is left out.
role() { # device, folder, more arguments of ansible-playbook
  local device=$1 mount=$2; shift 2
  cat > "$world/root/play.yml" << PLAY
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: disk}
      vars: {disk_device: "$device", disk_mount: "$mount"}
PLAY
  chroot "$world/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 SYSTEMD_OFFLINE=1 \
    ANSIBLE_CONFIG=/mnt/ansible/ansible.cfg ansible-playbook "$@" /play.yml > "$world/play.log" 2>&1
}
refused() { ! role "$@" && grep -q 'is neither empty nor a file system, and is left alone' "$world/play.log"; }
fails() { ! "$@"; }
unchanged() { grep -q 'changed=0 .*failed=0' "$world/play.log"; }
sum() { sha256sum < "$1"; }

loop empty 64M
empty=$device
check "an empty disk is formatted and mounted" role "$device" /chain-a
check "as ext4" test "$(blkid -p -s TYPE -o value "$device")" = ext4
uuid=$(blkid -p -s UUID -o value "$device")
check "by UUID, at every boot" grep -q "^UUID=$uuid /chain-a ext4 .*nofail" "$world/root/etc/fstab"
check "it is mounted" mountpoint -q "$world/root/chain-a"
echo precious > "$world/root/chain-a/file"
check "a second run" role "$device" /chain-a
check "changes nothing" unchanged

# Growing a mounted file system needs CAP_SYS_RESOURCE, which a container may lack even as root.
if (($((16#$(sed -n 's/^CapEff:\t//p' /proc/self/status))) >> 24 & 1)); then
  truncate -s 128M "$world/empty.img"
  losetup --set-capacity "$device"
  check "the device has grown, the play runs" role "$device" /chain-a
  check "and the file system has grown with it" test "$(df --output=size -B1M "$world/root/chain-a" | tail -n 1)" -gt 100
  check "with what was on it" test "$(cat "$world/root/chain-a/file")" = precious
  check "then" role "$device" /chain-a
  check "nothing is left to change" unchanged
else
  say "NOT SHOWN: that a file system grows; this machine may not do that (no CAP_SYS_RESOURCE)"
fi

umount "$world/root/chain-a"
sed -i /chain-a/d "$world/root/etc/fstab"
check "a disk that was filled on another machine is mounted" role "$device" /chain-b
check "with what was on it, nothing was formatted" test "$(cat "$world/root/chain-b/file")" = precious
check "and has the name it had" test "$(blkid -p -s UUID -o value "$device")" = "$uuid"

loop table 64M
echo 'start=2048, size=65536' | chroot "$world/root" sfdisk --quiet --label gpt "$device"
before=$(sum "$world/table.img")
check "a disk with a partition table is refused" refused "$device" /chain-c
check "and not one byte of it is changed" test "$(sum "$world/table.img")" = "$before"

loop swap 64M
mkswap "$device" > /dev/null
before=$(sum "$world/swap.img")
check "a disk that is swap is refused" refused "$device" /chain-c
check "and not one byte of it is changed" test "$(sum "$world/swap.img")" = "$before"

loop twice 64M
mkfs.ext4 -q "$device"
printf '_BHRfS_M' | dd of="$device" bs=1 seek=65600 conv=notrunc status=none # and a btrfs, as it looks
before=$(sum "$world/twice.img")
check "a disk that two things claim is refused" refused "$device" /chain-c
check "and not one byte of it is changed" test "$(sum "$world/twice.img")" = "$before"

loop failing 64M
truncate -s 1M "$world/failing.img" # what lies beyond cannot be read any more
check "this disk fails when it is read" fails dd if="$device" of=/dev/null bs=1M count=8 iflag=direct
check "though blkid finds it empty" test "$(blkid --probe "$device" > /dev/null 2>&1; echo $?)" = 2
before=$(sum "$world/failing.img")
check "a disk that fails when it is read is not used" fails role "$device" /chain-c
check "because of that" grep -q "Input/output error" "$world/play.log"
check "and nothing is written to it" test "$(sum "$world/failing.img")" = "$before"
check "nor is it mounted at every boot" test "$(grep -c chain-c "$world/root/etc/fstab")" = 0

check "a disk that is not there is said" eval '! role /dev/disk/by-id/google-data /chain-d -e disk_wait=1'
check "by its name" grep -q 'there is no disk /dev/disk/by-id/google-data' "$world/play.log"

check "without a disk, the folder is used" role "" /folder
check "again" role "" /folder
check "with nothing to change" unchanged
check "and the first disk was not touched all the while" test "$(blkid -p -s UUID -o value "$empty")" = "$uuid"
say "all good"
