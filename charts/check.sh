#!/usr/bin/env bash
# Checks the chart without a cluster: helm's lint, every values file of ci/ rendered and its configuration given to the
# program, every values file of refused/ refused for its reason, promtool on the alerts, derived files current.
#
#   check.sh PROGRAM      PROGRAM is the `failover` to ask; helm and promtool are parts, see tests/parts/install.sh
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
chart=$here/failover
[[ $# == 1 && -x $1 ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
program=$(realpath "$1")
helm=$("$here/../tests/parts/install.sh" --path helm)/helm
promtool=$("$here/../tests/parts/install.sh" --path promtool)/promtool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work HELM_CONFIG_HOME=$work HELM_DATA_HOME=$work KUBECONFIG=/dev/null

problems=0
problem() { echo "$*" >&2; problems=$((problems + 1)); }

render() { "$helm" template failover "$chart" --namespace failover "$@"; }

# What is under a key of a rendered manifest, without its indentation.
under() { awk -v key="$1" '
  inside && match($0, /[^ ]/) && RSTART <= depth { exit }
  inside { print substr($0, depth + 2) }
  $1 == key { match($0, /[^ ]/); depth = RSTART; inside = 1 }'; }

# The program looks into the files of secrets, which in a pod are under /etc/failover.
configuration() { # name of the values
  local folder=$work/$1 file
  mkdir "$folder"
  render --values "$chart/ci/$1.yaml" --show-only templates/configmap.yaml | under failover.yaml: |
    sed "s|/etc/failover/|$folder/|" > "$folder/failover.yaml"
  for file in $(sed -n 's/^.*_file: *//p' "$folder/failover.yaml"); do
    file=$folder/${file#"$folder/"}
    mkdir -p "$(dirname "$file")"
    (umask 077 && echo https://ping.example.org/s3cret > "$file") # the only one whose content is looked at
  done
  "$program" config check --config "$folder/failover.yaml" > "$folder/said" 2>&1 ||
    problem "ci/$1.yaml: the program refuses its configuration: $(< "$folder/said")"
}

"$program" config schema | "$here/generate.py" --check || problem "see above"

for file in "$chart"/ci/*.yaml; do
  name=$(basename "$file" .yaml)
  if ! said=$("$helm" lint --strict --quiet "$chart" --values "$file" 2>&1); then
    problem "ci/$name.yaml: $said"
  elif ! said=$(render --values "$file" 2>&1 > "$work/$name.rendered"); then
    problem "ci/$name.yaml: $said"
  else
    configuration "$name"
  fi
done

# Where no storage class makes volumes: a volume of the claim's own, on the node that is named, and no class in either.
has() { grep -qF -- "$2" "$work/$1.rendered" || problem "ci/$1.yaml renders no '$2'"; }
for name in rke2 one-machine; do
  has "$name" 'kind: PersistentVolume'
  has "$name" 'claimRef: {apiVersion: v1, kind: PersistentVolumeClaim, namespace: failover, name: failover}'
  has "$name" 'volumeName: failover-failover'
  [[ $(grep -c 'storageClassName: ""' "$work/$name.rendered") == 2 ]] || problem "ci/$name.yaml: a class makes its volume"
done
has rke2 '  local:'
has rke2 'matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: ["home-1"]}]'
has one-machine '  hostPath:'
for name in minimal full off-site; do
  ! grep -q 'kind: PersistentVolume$' "$work/$name.rendered" || problem "ci/$name.yaml makes a volume of its own"
done

for file in "$here"/refused/*.yaml; do
  reason=$(sed -n '1s/^# says: //p' "$file")
  if said=$(render --values "$chart/ci/minimal.yaml" --values "$file" 2>&1); then
    problem "refused/$(basename "$file") is taken"
  elif [[ -z $reason || $said != *"$reason"* ]]; then
    problem "refused/$(basename "$file") is refused for something else than '$reason': $said"
  fi
done

render --values "$chart/ci/full.yaml" --show-only templates/prometheusrule.yaml | under spec: > "$work/rules.yaml"
"$promtool" check rules "$work/rules.yaml" > "$work/said" 2>&1 || problem "the alerts: $(< "$work/said")"

((problems == 0)) || { echo "$problems problems" >&2; exit 1; }
echo "the chart is well: $(find "$chart/ci" -name '*.yaml' | wc -l) values taken, $(find "$here/refused" -name '*.yaml' | wc -l) refused"
