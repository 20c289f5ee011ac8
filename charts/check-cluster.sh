#!/usr/bin/env bash
# Installs the chart with every values file of ci/ on a real API server, whose namespace takes restricted pods only: the
# pods are admitted and run (kwok plays the machine, so no program runs in them), and the account may do what rights.txt
# says and nothing else. The example of a validator in docs/examples is taken as well.
#
# Needs the parts kubernetes, etcd, kwok, helm and operator-crds; takes half a minute.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
parts=$here/../tests/parts
part() { "$parts/install.sh" --path "$1"; }
helm=$(part helm)/helm kubectl=$(part kubernetes)/kubectl crds=$(part operator-crds)
work=$(mktemp -d)
# What ends this ends the cluster too, even a kill; the folder is only removed when nothing writes into it any more.
trap '"$parts/kubernetes.sh" down "$work/cluster" && rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work HELM_CONFIG_HOME=$work HELM_DATA_HOME=$work KUBECONFIG=$work/cluster/kubeconfig

# Where the values of ci/ have their validators, beside `eth`, which the example makes.
watched=(eth-two hub cardano)
problems=0
problem() { echo "$*" >&2; problems=$((problems + 1)); }

volume() { # storage class; the cluster has nobody who makes volumes
  "$kubectl" apply -f - << YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: ledger-${1:-default}}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: "$1"
  hostPath: {path: /nowhere}
YAML
}

# What rights.txt says for these values: in each watched namespace the kind of workload that is named there, and no other.
expected() { # values file
  local namespace right kind
  grep -v '^watched:' "$here/rights.txt"
  for namespace in eth "${watched[@]}"; do
    grep -q "kubernetes: {namespace: $namespace," "$1" || continue
    while read -r right; do
      case $right in *' statefulsets.'*) kind=statefulset ;; *' deployments.'*) kind=deployment ;; *) kind= ;; esac
      [[ -n $kind ]] && ! grep -q "kubernetes: {namespace: $namespace, $kind:" "$1" || echo "${right/watched/$namespace}"
    done < <(grep '^watched:' "$here/rights.txt")
  done
}

# One line for each right, and whether it is one in a watched namespace, in that of the leases, or everywhere.
rights() { # the account
  local namespace where
  for namespace in eth "${watched[@]}" kube-node-lease default failover kube-system; do
    case $namespace in default | failover | kube-system) where=anywhere ;; *) where=$namespace ;; esac
    "$kubectl" auth can-i --list --no-headers --namespace "$namespace" --as "system:serviceaccount:failover:$1" |
      grep '^[a-z*]' | grep -v '^selfsubject' | # what everybody may: ask about oneself
      sed -E "s/^([^ ]+) +\[\] +\[\] +/$where: \1 /; s/^[^:]*: nodes /anywhere: nodes /"
  done | sort -u
}

install() { # name of the values
  local said account name
  "$kubectl" create namespace failover
  "$kubectl" label namespace failover pod-security.kubernetes.io/enforce=restricted
  volume ''
  volume local-path
  said=$("$helm" install failover "$here/failover" --namespace failover --values "$here/failover/ci/$1.yaml" 2>&1) ||
    problem "ci/$1.yaml cannot be installed: $said"
  name=$("$kubectl" get deployments --namespace failover --output name)
  "$kubectl" rollout status --namespace failover --timeout 30s "$name" ||
    problem "ci/$1.yaml: no pod: $("$kubectl" get events --namespace failover --output custom-columns=:.message)"
  account=$("$kubectl" get "$name" --namespace failover --output jsonpath='{.spec.template.spec.serviceAccountName}')
  rights "$account" > "$work/$1.rights"
  diff <(expected "$here/failover/ci/$1.yaml" | sort -u) "$work/$1.rights" >&2 || problem "ci/$1.yaml: other rights than rights.txt says"
  said=$("$helm" get hooks failover --namespace failover | "$kubectl" create --dry-run=server --namespace failover -f - 2>&1) ||
    problem "ci/$1.yaml: the pod of helm test: $said"
  # The same again changes nothing, and what Kubernetes does not let one change, an upgrade does not try to.
  said=$("$helm" upgrade failover "$here/failover" --namespace failover --values "$here/failover/ci/$1.yaml" 2>&1) ||
    problem "ci/$1.yaml cannot be upgraded: $said"
  said=$("$helm" uninstall failover --namespace failover 2>&1) || problem "ci/$1.yaml cannot be removed: $said"
  rights "$account" | grep . && problem "ci/$1.yaml: rights are left behind"
  "$kubectl" delete --timeout 60s namespace failover
  "$kubectl" delete --timeout 60s persistentvolumes --all
}

"$parts/kubernetes.sh" up "$work/cluster" --watch $$
"$parts/kubernetes.sh" node "$work/cluster" home-1
for each in "$crds"/*; do "$kubectl" create -f "$each" > /dev/null; done
for each in "${watched[@]}"; do "$kubectl" create namespace "$each" > /dev/null; done
# The example of a validator is taken as it is, into a namespace that it makes, and nothing in it is misspelt.
said=$("$kubectl" apply --validate=strict -f "$here/../docs/examples/geth-lighthouse.yaml" 2>&1) || problem "the example: $said"
"$kubectl" wait --namespace eth --for=create --timeout=30s pod/geth-lighthouse-0 > /dev/null ||
  problem "the example has no pod: $("$kubectl" get events --namespace eth --output custom-columns=:.message)"
# Or its claims would take the volumes that are meant for the chart's, and never give them back.
"$kubectl" delete --namespace eth --timeout 60s statefulsets,pods,persistentvolumeclaims --all > /dev/null
for each in "$here"/failover/ci/*.yaml; do install "$(basename "$each" .yaml)" > /dev/null; done

((problems == 0)) || { echo "$problems problems" >&2; exit 1; }
echo "the chart installs: every values file of ci/, restricted, with the rights of rights.txt"
