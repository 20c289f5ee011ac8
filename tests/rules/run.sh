#!/usr/bin/env bash
# Holds the alerts that we ship to two promises: none lets go in the middle of an outage, and none fires in a healthy house.
#
#   run.sh            the chart's alerts for each of houses/*.yaml, through promtool; the example in docs is the same text
#   run.sh --write    writes docs/examples/prometheus-rules.yaml as the chart makes it
#
# helm and promtool are parts, see tests/parts/install.sh. A house is values for the chart and, in lines that begin with
# `#:`, the labels that its series have.
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
root=$(realpath "$here/../..")
helm=$("$root/tests/parts/install.sh" --path helm)/helm
promtool=$("$root/tests/parts/install.sh" --path promtool)/promtool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HELM_CACHE_HOME=$work HELM_CONFIG_HOME=$work HELM_DATA_HOME=$work KUBECONFIG=/dev/null
example=$root/docs/examples/prometheus-rules.yaml

rules() { # house: what the chart makes of it, as a file of Prometheus
  "$helm" template failover "$root/charts/failover" --namespace failover --values "$root/charts/failover/ci/minimal.yaml" \
    --values "$here/houses/$1.yaml" --show-only templates/prometheusrule.yaml | sed '1,/^spec:$/d; s/^  //'
}

labels() { # house, name
  sed -n "s/^#: $2  *//p" "$here/houses/$1.yaml"
}

shipped() {
  cat <<END
# Prometheus rules for one validator, eth-0, as docs/examples/geth-lighthouse.yaml runs it, and for failover itself.
# Written by tests/rules/run.sh --write from the chart, which makes the same for the labels of your own charts
# (\`prometheusRule.validators\`); tests/rules proves that none lets go in the middle of an outage.
END
  rules example
}

if [[ ${1-} == --write ]]; then
  shipped > "$example"
  exit
fi
[[ $# == 0 ]] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

problems=0
problem() { echo "$*" >&2; problems=$((problems + 1)); }

hold() { # house, then names of tests
  local house=$1 folder=$work/$1 said signed part pods edits name W='job="failover", namespace="failover"'
  shift
  mkdir "$folder"
  rules "$house" > "$folder/rules.yaml"
  said=$("$promtool" check rules "$folder/rules.yaml" 2>&1) || { echo "$house: $said"; return 1; }
  signed=$(labels "$house" SIGNED)
  pods=$(grep -c '^      pod:' "$here/houses/$house.yaml" || true)
  edits=(-e "s|@SIGNED_NAME@|${signed%% *}|; s|@SIGNED_LABELS@|${signed#* }|"
    -e "s|@SELECTORS@|$((5 + pods))|; s|@OUT_OF_FIVE@|$((4 + pods))|"
    -e "s|@IF_POD@|$([[ $pods == 1 ]] && echo "[{labels: '{}', value: 1}]" || echo '[]')|"
    -e "s|@W@|$W, pod=\"failover-7c-a\", instance=\"10.42.0.3:8080\"|g"
    -e "s|@NEXT@|$W, pod=\"failover-8d-b\", instance=\"10.42.0.4:8080\"|g"
    -e "s|@WAITS@|$W, pod=\"failover-8d-c\", instance=\"10.42.0.5:8080\"|g")
  for part in CLIENT BEACON HOST POD CHAIN; do
    edits+=(-e "s|@$part@|$(labels "$house" "$part")|g; s|@${part}_NEXT@|$(labels "$house" "${part}_NEXT")|g")
  done
  for name; do
    sed "${edits[@]}" "$here/$name.yaml" > "$folder/$name.yaml"
    said=$("$promtool" test rules "$folder/$name.yaml" 2>&1) || { echo "$house, $name.yaml: $said"; return 1; }
  done
}

# Promtool uses one core. What does not depend on a house's labels is tried with those of the example.
declare -A running
for values in "$here"/houses/*.yaml; do
  house=$(basename "$values" .yaml)
  # shellcheck disable=SC2046 # names of tests
  hold "$house" validator $([[ $house != example ]] || echo long watcher) > "$work/$house.said" &
  running[$house]=$!
done
for house in "${!running[@]}"; do
  wait "${running[$house]}" || problem "$(< "$work/$house.said")"
done
diff -u "$example" <(shipped) >&2 || problem "docs/examples/prometheus-rules.yaml is not current: tests/rules/run.sh --write"

((problems == 0)) || { echo "$problems problems" >&2; exit 1; }
echo "the alerts hold in $(find "$here/houses" -name '*.yaml' | wc -l) houses"
