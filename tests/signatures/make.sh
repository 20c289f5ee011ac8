#!/bin/sh
# Signs grant.json with a key of each kind, as people do it, and keeps what `ssh-keygen` printed. The private keys are
# thrown away, so a second run changes every file here but grant.json.
#
#   tests/signatures/make.sh SK_PROVIDER     a security key in software: sk-dummy.so of Debian's openssh-tests
set -eu
export SSH_SK_PROVIDER=$1
cd "$(dirname "$0")"
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT
rm -f ./*.sig allowed_signers

sign() { # NAME NAMESPACE ARGUMENTS…: a new key and its signature
  name=$1 namespace=$2
  shift 2
  ssh-keygen -q -N '' -C "$name" -f "$keys/$name" "$@"
  ssh-keygen -q -Y sign -f "$keys/$name" -n "$namespace" < grant.json > "$name.sig"
  printf 'op@example.org namespaces="failover-grant" %s\n' "$(cat "$keys/$name.pub")" >> allowed_signers
}

sign ed25519 failover-grant -t ed25519
sign ecdsa-256 failover-grant -t ecdsa -b 256
sign ecdsa-384 failover-grant -t ecdsa -b 384
sign rsa-2048 failover-grant -t rsa -b 2048
sign rsa-4096 failover-grant -t rsa -b 4096
sign ed25519-sk failover-grant -t ed25519-sk
sign ecdsa-sk failover-grant -t ecdsa-sk
sign untouched-sk failover-grant -t ed25519-sk -O no-touch-required
# What has to be refused.
sign other-namespace file -t ed25519
sign ecdsa-521 failover-grant -t ecdsa -b 521
