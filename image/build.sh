#!/usr/bin/env bash
# Builds the image from a static binary, as an OCI archive, and starts it once. Needs buildah, and no daemon.
#
#   build.sh BINARY ARCHIVE    for example target/x86_64-unknown-linux-musl/release/failover failover.oci.tar
#
# The binary is called failover or failover-gate; `make image` and `make gate` say how each is built.
# The certificates are those of the machine that builds, or of CA_BUNDLE; the gate has its own.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
die() { echo "${0##*/}: $*" >&2; exit 1; }
[[ $# == 2 ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
binary=$(realpath "$1") archive=$(realpath --canonicalize-missing "$2")
certificates=${CA_BUNDLE:-/etc/ssl/certs/ca-certificates.crt}
name=${binary##*/}
case $name in
  failover)
    file=Containerfile limit=$((30 * 1024 * 1024))
    about="Notices that a home validator is down, is sure, and starts a keyless standby in the cloud" ;;
  failover-gate)
    file=Containerfile.gate limit=$((8 * 1024 * 1024))
    about="Starts a process that signs only while its place may sign" ;;
  *) die "$name is neither failover nor failover-gate" ;;
esac

command -v buildah > /dev/null || die "needs buildah (Debian: buildah)"
[[ $name == failover-gate || -r $certificates ]] || die "there are no certificates in $certificates (Debian: ca-certificates, or set CA_BUNDLE)"
# There is no loader in the image: a dynamic program would end with "no such file".
! readelf --program-headers --wide "$binary" | grep -q INTERP || die "$1 is not static: build it for a musl target"
version=$("$binary" --version | cut -d' ' -f2)
revision=$(git -C "$here" describe --always --dirty --abbrev=40 --match='' 2> /dev/null || echo unknown)

# A storage of its own, which is gone afterwards. Without a daemon and without mounts of its own it works in a container
# too; the settings may be overridden.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
run() { buildah --root "$work/storage" --runroot "$work/run" "$@"; }

mkdir "$work/context"
install -m 755 "$binary" "$work/context/$name"
[[ $name == failover-gate ]] || install -m 644 "$certificates" "$work/context/ca-certificates.crt"
run build --quiet --tag "localhost/$name:$version" --timestamp "$(git -C "$here" log -1 --format=%ct 2> /dev/null || echo 0)" \
  --label org.opencontainers.image.title="$name" \
  --label "org.opencontainers.image.version=$version" --label "org.opencontainers.image.revision=$revision" \
  --label org.opencontainers.image.licenses=Apache-2.0 \
  --label "org.opencontainers.image.description=$about" \
  --file "$here/$file" "$work/context" > /dev/null

container=$(run from "localhost/$name:$version")
[[ $(run run "$container" -- "$name" --version) == *"$version"* ]] || die "the image does not start"
rm -f "$archive"
run push --quiet "localhost/$name:$version" "oci-archive:$archive:$name:$version"
size=$(stat --format=%s "$archive")
((size <= limit)) || die "the image has $size bytes, more than $limit: is the binary stripped?"
echo "$2: $name:$version, $((size / 1024 / 1024)) MiB"
