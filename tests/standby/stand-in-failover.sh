#!/bin/sh
# Stands in for `failover agent` while only the roles are tested: says to the metadata server that it is there.
set -eu
[ "$1" = agent ] && [ "$2" = --config ] && [ -r "$3" ]
python3 -c 'import json, sys; json.load(open(sys.argv[1]))["incident"]' "$3"
while :; do
  curl -sf -X PUT -H 'Metadata-Flavor: Google' --data '{"counter": 1}' \
    "http://${GCE_METADATA_HOST:-metadata.google.internal}/computeMetadata/v1/instance/guest-attributes/failover/report"
  sleep 5
done
