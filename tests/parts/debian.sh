#!/usr/bin/env bash
# Makes the root file system of a small Debian 12, as a fresh machine in the cloud has it, for systemd-nspawn to boot.
#
#   debian.sh DIR           DIR must not exist yet; needs root. `install.sh debian` calls this and keeps the result
#
# It has ansible-core of the distribution and the packages that the roles would install, because the tests have no
# network on the machine beyond their own mirror. It is never booted itself: tests boot a copy.
set -euo pipefail

root=${1:?usage: debian.sh DIR}

system=(systemd systemd-sysv dbus udev kmod procps iproute2 ca-certificates)
packages=(
  curl openssl python3 python3-apt # what Google's image has
  chrony unattended-upgrades       # the same
  nftables ansible-core            # what the start-up script and the roles install
  e2fsprogs fdisk                  # a disk of its own for the chain
)

debootstrap --variant=minbase --include="$(IFS=,; echo "${system[*]}")" bookworm "$root"

# By apt and not by debootstrap, which sets up packages in an order that python3-cryptography does not survive.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d" # nothing is started: this is a folder, not a machine
chmod +x "$root/usr/sbin/policy-rc.d"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
chroot "$root" apt-get update
chroot "$root" apt-get install -y --no-install-recommends "${packages[@]}"
rm "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf"

# Nothing logs in, and a name that another machine has too would only mislead.
echo standby > "$root/etc/hostname"
rm -f "$root"/etc/machine-id "$root"/var/lib/dbus/machine-id
: > "$root/etc/machine-id" # made again at the first boot, as on a cloud image
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

# Timers that wake up in the middle of a test: they have nothing to reach and make the measured times unsteady.
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all fstrim; do
  ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"
done
