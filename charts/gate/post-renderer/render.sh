#!/bin/sh
# What helm has rendered, with the gate of the folder that is named: its workload.yaml is replaced, and what kustomize
# makes of it is installed. Without it, the next `helm upgrade` would take the gate away.
#
#   helm upgrade NAME CHART … --post-renderer failover-gate --post-renderer-args FOLDER          (helm 4, the plugin)
#   helm upgrade NAME CHART … --post-renderer charts/gate/post-renderer/render.sh --post-renderer-args FOLDER     (helm 3)
set -eu
if [ ! -f "${1-}/kustomization.yaml" ]; then
  echo "failover-gate: name the folder of the gate's kustomization" >&2
  exit 2
fi
cat > "$1/workload.yaml"
exec kubectl kustomize "$1"
