#!/usr/bin/env bash
# Installs the real programs that `make test-real` tests against, into a cache outside the checkout.
#
#   install.sh [NAME…]      all of them, or the named ones; what is there already costs nothing
#   install.sh --list       name, version and folder of each
#   install.sh --path NAME  the folder of one; exit code 1 if it is not installed
#
# Each part has a folder of its own, NAME-VERSION: a new version here is a new folder, never a changed old one.
# A part that cannot be had is one line, "missing: NAME: reason", after the others were tried, and exit code 1.
set -euo pipefail

self=$(realpath "${BASH_SOURCE[0]}")
here=$(dirname "$self")
cache=${FAILOVER_PARTS:-${XDG_CACHE_HOME:-$HOME/.cache}/failover-parts}
[[ $cache == /* ]] || cache=$PWD/$cache # builds run in a folder of their own

# Quick ones first.
parts=(python compute-schema promtool security-key operator-crds alertmanager fake-gcs-server cometbft lodestar etcd kwok
  helm ansible debian geth prysm prysm-importer kubernetes)

version() {
  case $1 in
    geth) echo 1.16.7 ;;            # 1.17 needs a module that is not served
    prysm) echo 5.3.1 ;;            # the last one whose modules are all served
    prysm-importer) echo "5.3.1-$(sha256sum "$here/importer.go" | cut -c1-8)" ;; # a few lines of ours around it
    alertmanager) echo 0.28.1 ;;    # 0.34's module lacks its built web page and does not compile
    fake-gcs-server) echo 1.56.1 ;;
    cometbft) echo 1.0.1 ;;
    lodestar) echo "1.5.1-$(cat "$here"/lodestar/* | sha256sum | cut -c1-8)" ;; # the newest that is served
    compute-schema) echo 2.202.0 ;; # of google-api-python-client, whose wheel has the schema in it
    security-key) echo 9.2p1 ;;     # OpenSSH's own tests have one in software
    promtool) echo 2.42.0 ;;        # the one of Debian 12
    etcd) echo 3.6.16 ;;            # Debian 12's 3.4 cannot report a watch's progress, and 1.36's clients rely on that
    kubernetes) echo "${FAILOVER_KUBERNETES:-1.36.3}" ;; # another one for who asks: controllers change between versions
    kwok) echo 0.8.0 ;;
    helm) echo 4.3.1 ;;
    operator-crds) echo 0.85.0 ;;   # of prometheus-operator, whose module has its definitions in it
    python | ansible) sha256sum "$here/$1.txt" | cut -c1-8 ;; # other pins, other folder
    debian) echo "12-$(sha256sum "$here/debian.sh" | cut -c1-8)" ;; # and here another list of packages
    *) echo "unknown part: $1 (there are: ${parts[*]})" >&2; return 2 ;;
  esac
}

folder() { local v; v=$(version "$1") && echo "$cache/$1-$v"; }

# A folder is only ever moved here when finished; `-e` follows links, so a venv whose Python has gone counts as absent.
installed() { [[ -d $1 && ( ! ${1##*/} =~ ^(python|ansible)- || -e $1/bin/python ) ]]; }

# --- How each part is made: in an empty working folder, results into out/, the last line said is the reason for failing.

fail() { echo "$*"; exit 1; }

# Debian's package for a tool, or nothing where Debian 12 has none that would do: its Go is too old for all of these.
package_for() { case $1 in gcc) echo gcc libc6-dev ;; ensurepip) echo python3-venv ;; ssh-keygen) echo openssh-client ;;
  node) echo nodejs ;; npm) echo npm ;; debootstrap) echo debootstrap ;; systemd-nspawn) echo systemd-container ;;
  shellcheck) echo shellcheck ;; esac; }

has() { if [[ $1 == ensurepip ]]; then python3 -c 'import ensurepip'; else command -v "$1"; fi > /dev/null 2>&1; }

need() {
  local tool packages
  for tool; do
    has "$tool" && continue
    read -ra packages <<< "$(package_for "$tool")"
    if [[ ${#packages[@]} -gt 0 && $(id -u) == 0 ]] && has apt-get; then
      apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}" || true
    fi
    has "$tool" || fail "needs $tool, which is not installed${packages[0]+ (Debian: ${packages[*]})}"
  done
}

go_install() { # package@version, then linker flags
  GOBIN=$PWD/out go install -trimpath -ldflags "-s -w ${2-}" "$1"
}

module_folder() { # package@version
  go mod download -json "$1" | sed -n 's/^.*"Dir": "\(.*\)",$/\1/p'
}

build_geth() { need go gcc; go_install "github.com/ethereum/go-ethereum/cmd/geth@v$1"; }

build_fake_gcs_server() { need go; go_install "github.com/fsouza/fake-gcs-server@v$1"; }

# Nothing it needs here is in C.
build_cometbft() { need go; CGO_ENABLED=0 go_install "github.com/cometbft/cometbft/cmd/cometbft@v$1"; }

# Only its slashing protection is used, so nothing that a package would build is built.
build_lodestar() {
  need node npm
  mkdir out && cp "$here"/lodestar/* out/ && cd out
  npm install --ignore-scripts --no-audit --no-fund --omit=dev --omit=optional ||
    fail "npm cannot install @lodestar/validator ${1%-*} from its registry"
  find . -name '*.map' -delete
  node -e 'import("./node_modules/@lodestar/validator/lib/slashingProtection/index.js")' || fail "it does not load"
}

build_alertmanager() {
  need go
  local program
  for program in alertmanager amtool; do # without the flag --version has nothing to say
    go_install "github.com/prometheus/alertmanager/cmd/$program@v$1" "-X github.com/prometheus/common/version.Version=$1"
  done
}

# `go install` refuses a module that replaces others, so Prysm is built from a module of ours that replaces the same.
prysm_module() {
  need go gcc
  go mod init failover.invalid/parts
  go mod edit -require="github.com/prysmaticlabs/prysm/v5@v$1" \
    -replace=github.com/json-iterator/go=github.com/prestonvanloon/go@v1.1.7-0.20190722034630-4f2e55fcf87b
  mkdir out
}

build_prysm() {
  prysm_module "$1"
  go build -mod=mod -trimpath -ldflags "-s -w" -o out/ \
    github.com/prysmaticlabs/prysm/v5/cmd/{beacon-chain,validator,prysmctl}
}

build_prysm_importer() {
  prysm_module "${1%-*}"
  cp "$here/importer.go" main.go
  go build -mod=mod -trimpath -ldflags "-s -w" -o out/importer .
}

# `go install` refuses this module too. Its libraries say v0.0.0 of each other, which stands for v0.36.3 of each; without
# the flags for their version, clients see a v0.0.0 server.
build_kubernetes() {
  need go
  local name version=k8s.io/component-base/version libraries=v0${1#1}
  go mod init failover.invalid/parts
  go mod edit -require="k8s.io/kubernetes@v$1"
  for name in $(sed -n 's|^.*\(k8s\.io/[a-z-]*\) v0\.0\.0\( .*\)*$|\1|p' "$(module_folder "k8s.io/kubernetes@v$1")/go.mod"); do
    go mod edit -replace="$name=$name@$libraries"
  done
  mkdir out
  CGO_ENABLED=0 go build -mod=mod -trimpath -o out/ -ldflags "-s -w -X $version.gitVersion=v$1
    -X $version.gitMajor=${1%%.*} -X $version.gitMinor=$(cut -d. -f2 <<< "$1")" \
    k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
}

# `go install` refuses it as well: it takes its libraries from beside itself, and here from where they are published.
build_etcd() {
  need go
  go mod init failover.invalid/parts
  go mod edit -require="go.etcd.io/etcd/server/v3@v$1"
  mkdir out
  CGO_ENABLED=0 go build -mod=mod -trimpath -ldflags "-s -w" -o out/etcd go.etcd.io/etcd/server/v3
}

# Without its stages kwok does nothing: they say how a node and a pod get on in life.
build_kwok() {
  need go
  go_install "sigs.k8s.io/kwok/cmd/kwok@v$1" "-X sigs.k8s.io/kwok/pkg/consts.Version=v$1"
  cp -r "$(module_folder "sigs.k8s.io/kwok@v$1")/kustomize/stage" out/stage
  chmod -R u+w out
}

build_helm() {
  need go
  go_install "helm.sh/helm/v4/cmd/helm@v$1" "-X helm.sh/helm/v4/internal/version.version=v$1"
}

# What a cluster with the Prometheus operator knows and another does not: ServiceMonitor and PrometheusRule.
build_operator_crds() {
  need go
  local from
  from=$(module_folder "github.com/prometheus-operator/prometheus-operator@v$1")/example/prometheus-operator-crd
  install -D -m 644 -t out "$from"/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml
}

build_python() { build_venv python; }

# What checks the roles; the machine itself has Debian's ansible-core.
build_ansible() {
  need shellcheck
  build_venv ansible
  local tool
  for tool in ansible ansible-config ansible-doc ansible-galaxy ansible-playbook; do # ansible-lint calls these by name
    # shellcheck disable=SC2016 # for the other shell
    printf '#!/bin/sh\nexec "$(dirname "$0")/python" -m ansible.cli.%s "$@"\n' \
      "$(case $tool in ansible) echo adhoc ;; *) echo "${tool#ansible-}" ;; esac)" > "out/bin/$tool"
    chmod +x "out/bin/$tool"
  done
}

build_venv() { # name of a list of pins
  need python3 ensurepip
  python3 -m venv out
  out/bin/python -m pip install --no-deps -r "$here/$1.txt"
  out/bin/python -m pip check
  # The folder is about to move and scripts name their interpreter by its path: leave only the interpreter, for `-m`.
  find out/bin ! -type d ! -name 'python*' -delete
}

build_debian() {
  need debootstrap systemd-nspawn
  [[ $(id -u) == 0 ]] || fail "needs root, for debootstrap and systemd-nspawn"
  bash "$here/debian.sh" out
}

build_compute_schema() {
  need python3 ensurepip
  python3 -m venv venv
  venv/bin/python -m pip download --no-deps --dest . "google-api-python-client==$1"
  mkdir out
  python3 -c 'import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]))' \
    ./*.whl googleapiclient/discovery_cache/documents/compute.v1.json > out/compute.v1.json
  python3 -m json.tool out/compute.v1.json > /dev/null
}

# Unpacked and not installed: the package would start a Prometheus on this machine.
build_promtool() {
  has apt-get || fail "comes from Debian's package prometheus, and there is no apt here"
  apt-get download "prometheus=$1*" || { apt-get update && apt-get download "prometheus=$1*"; }
  dpkg-deb -x ./*.deb deb
  install -D deb/usr/bin/promtool out/promtool
}

build_security_key() {
  need ssh-keygen
  has apt-get || fail "comes from Debian's package openssh-tests, and there is no apt here"
  apt-get download "openssh-tests=1:$1*" || { apt-get update && apt-get download "openssh-tests=1:$1*"; }
  dpkg-deb -x ./*.deb deb
  install -D deb/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so out/sk-dummy.so
}

# --- What was asked for.

install_parts() {
  local name final work reason new=0 missing=()
  for name; do version "$name" > /dev/null; done # a misspelt name is an error before the first long build
  for name; do
    final=$(folder "$name")
    installed "$final" && continue
    mkdir -p "$cache"
    if [[ ! -v locked ]]; then # two runs at once would do everything twice; what a killed run left is in nobody's use
      exec 9> "$cache/lock" && flock 9 && locked=yes && rm -rf "$cache"/building.*
      installed "$final" && continue # the other run did it while this one waited
    fi
    printf '[%4ds] %s: installing\n' "$SECONDS" "${final##*/}"
    work=$(mktemp -d "$cache/building.XXXXXX")
    # A process of its own: in a function called under `||`, `set -e` would not hold.
    if (cd "$work" && exec bash "$self" --build "$name") < /dev/null > "$final.log" 2>&1; then
      rm -rf "$final" && mv -T "$work/out" "$final" && rm -f "$final.log" && new=$((new + 1))
      printf '[%4ds] %s: done\n' "$SECONDS" "${final##*/}"
    else
      reason=$(grep -v '^[[:space:]]*$' "$final.log" | tail -1)
      missing+=("missing: $name: ${reason:-it failed without a word} (all of it: $final.log)")
    fi
    chmod -R u+w "$work" 2> /dev/null || true; rm -rf "$work"
  done
  [[ ${#missing[@]} == 0 ]] || printf '%s\n' "${missing[@]}" >&2
  echo "$(($# - ${#missing[@]})) of $# parts in $cache, $new of them new, $SECONDS s"
  [[ ${#missing[@]} == 0 ]]
}

case ${1-} in
  --list)
    for name in "${parts[@]}"; do
      where=$(folder "$name"); installed "$where" || where="$where (not installed)"
      printf '%-16s %-9s %s\n' "$name" "$(version "$name")" "$where"
    done ;;
  --path)
    where=$(folder "${2:?--path needs the name of a part}")
    installed "$where" || { echo "missing: $2: not installed; run ${self/#$PWD\//} $2" >&2; exit 1; }
    echo "$where" ;;
  --build) "build_${2//-/_}" "$(version "$2")" ;; # only for install_parts above
  -*) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$self" >&2; exit 2 ;;
  *) [[ $# -gt 0 ]] || set -- "${parts[@]}"; install_parts "$@" ;;
esac
