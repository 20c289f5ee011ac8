#!/usr/bin/env bash
# A Kubernetes control plane on loopback, of real parts: etcd, API server, controller manager, scheduler; kwok plays the
# machines and their kubelets, with real node leases.
#
#   kubernetes.sh up DIR [--watch PID] [--audit]  all of it, without a node; stopped by itself when process PID has ended.
#                                      --audit: DIR/audit.log has every request of a service account, by audit.yaml
#   kubernetes.sh node DIR NAME [PLUG] a node; all nodes hang on the process kwok, those with a PLUG on kwok-PLUG
#   kubernetes.sh stop DIR NAME        ends one of etcd apiserver controllers scheduler kwok kwok-PLUG, and waits for it:
#                                      stopping kwok-PLUG is pulling the plug of the nodes on it
#   kubernetes.sh start DIR NAME       starts it again as it was, on the same port
#   kubernetes.sh compact DIR          makes etcd forget all history. The API server remembers some until it is started
#                                      again; after both, a watch from before ends in "410 Gone"
#   kubernetes.sh down DIR             ends everything; returns when it has ended
#
# DIR/kubeconfig is an administrator's, DIR/cluster.json has the addresses: {"api": URL, "ca": FILE, "etcd": URL}.
# Every process has DIR/NAME.log and DIR/NAME.pid. A node is Unknown 8 s after its plug was pulled, and a pod there is
# evicted when its tolerations end. What a kubelet does to a pod is said by the pod's label `fate`: see kwok.yaml.
set -euo pipefail

self=$(realpath "$0") here=$(dirname "$(realpath "$0")") # now, while a relative name still leads there
# shellcheck source-path=SCRIPTDIR
source "$here/processes.sh"
usage() { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

program() { echo "$("$here/install.sh" --path "$1")/$2"; } # part, program

# The command is kept, so that `start` can give it again.
launch() { # name, command
  printf '%s\0' "${@:2}" > "$1.command"
  start "$@"
}

relaunch() { # name
  local command
  [[ -e $1.command ]] || die "there has never been a $1 in $PWD"
  mapfile -d '' command < "$1.command"
  start "$1" "${command[@]}"
}

ready() { # name
  case $1 in
    etcd) await etcd curl -sf "$(address etcd)/health" ;;
    apiserver) await apiserver kubectl get --raw /readyz ;;
    controllers | scheduler) await "$1" curl -sfk "https://127.0.0.1:$(< "$1.port")/healthz" ;;
    # It has no port of its own; its nodes say when it works.
    kwok*) ;;
  esac
}

address() { sed -n "s|.*\"$1\": \"\([^\"]*\)\".*|\1|p" cluster.json; } # key

kubectl() { "$kubectl" --kubeconfig kubeconfig "$@"; }

# All that the control plane knows of a kubelet.
kwok() { # name, which nodes
  launch "$1" "$(program kwok kwok)" --kubeconfig kubeconfig --manage-nodes-with-label-selector "$2" \
    --node-lease-duration-seconds 4 --config "$stages/node/fast/node-initialize.yaml" \
    --config "$stages/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml" \
    --config "$stages/pod/fast/pod-delete.yaml" --config "$stages/pod/fast/pod-complete.yaml" --config "$here/kwok.yaml"
}

node() { # name, plug
  if [[ -n $2 && ! -e kwok-$2.command ]]; then kwok "kwok-$2" "plug=$2"; fi
  kubectl create -f - > /dev/null << YAML
apiVersion: v1
kind: Node
metadata:
  name: $1
  labels: {kubernetes.io/hostname: $1, kubernetes.io/os: linux, kubernetes.io/arch: amd64${2:+, plug: $2}}
status:
  allocatable: {cpu: "8", memory: 32Gi, pods: "110"}
  capacity: {cpu: "8", memory: 32Gi, pods: "110"}
YAML
  kubectl wait --for=condition=Ready --timeout=60s "node/$1" > /dev/null || die "the node $1 did not come up: $PWD"
}

write_credentials() { # port of the API server
  local token
  token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  printf '%s,admin,admin,"system:masters"\n' "$token" > tokens.csv
  (umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key 2> /dev/null)
  openssl pkey -in sa.key -pubout -out sa.pub
  cat > kubeconfig << YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:$1", certificate-authority: $PWD/certs/apiserver.crt}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
YAML
}

up() { # "audit" or nothing
  local client peer api controllers scheduler bin audit=()
  bin=$(program kubernetes '')
  read -r client peer api controllers scheduler <<< "$(free_ports 5)"
  printf '{"api": "https://127.0.0.1:%s", "ca": "%s", "etcd": "http://127.0.0.1:%s"}\n' \
    "$api" "$PWD/certs/apiserver.crt" "$client" > cluster.json
  write_credentials "$api"
  [[ -z $1 ]] || audit=(--audit-log-path audit.log --audit-policy-file "$here/audit.yaml")
  # Nothing here outlives its folder, so nothing has to reach the disk.
  launch etcd "$(program etcd etcd)" --data-dir etcd --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer"
  ready etcd
  # Without the plugin, a pod does not have to wait for its namespace's account. The token of an account is asked for.
  launch apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$client" \
    --bind-address 127.0.0.1 --advertise-address 127.0.0.1 --secure-port "$api" --cert-dir certs \
    --service-cluster-ip-range 10.0.0.0/24 --token-auth-file tokens.csv --authorization-mode RBAC \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file sa.pub --service-account-signing-key-file sa.key \
    --disable-admission-plugins ServiceAccount "${audit[@]}"
  ready apiserver
  echo "$controllers" > controllers.port
  launch controllers "$bin/kube-controller-manager" --kubeconfig kubeconfig --leader-elect=false \
    --bind-address 127.0.0.1 --secure-port "$controllers" --cert-dir certs-controllers \
    --service-account-private-key-file sa.key --root-ca-file certs/apiserver.crt \
    --node-monitor-period=1s --node-monitor-grace-period=8s
  echo "$scheduler" > scheduler.port
  launch scheduler "$bin/kube-scheduler" --kubeconfig kubeconfig --leader-elect=false \
    --bind-address 127.0.0.1 --secure-port "$scheduler" --cert-dir certs-scheduler
  kwok kwok '!plug'
  ready controllers
  ready scheduler
}

# The API server before its etcd, or it would wait for it; the others first, or their logs fill with complaints.
down() {
  local names name
  names=$(find . -maxdepth 1 -name '*.pid' -printf '%f\n' | sed 's/\.pid$//')
  for name in watch $(grep -Evx 'watch|apiserver|etcd' <<< "$names") apiserver etcd; do
    stop "$name"
  done
}

[[ $# -ge 2 ]] || usage
verb=$1 dir=$2
shift 2
# What `watch` calls; to us, `stop` without a name is `down`.
[[ $verb != stop || $# -gt 0 ]] || verb=down
[[ $verb != up ]] || mkdir -p "$dir"
cd "$dir"
lock
if [[ $verb == up || $verb == node || $verb == start ]]; then
  kubectl=$(program kubernetes kubectl)
  stages=$(program kwok stage)
fi

case $verb in
  up)
    [[ ! -e cluster.json ]] || die "$PWD has a cluster already"
    trap '[[ $? == 0 ]] || down' EXIT # half a cluster is of no use to anyone
    with_audit=
    while [[ $# -gt 0 ]]; do
      case $1 in
        --watch) watch "$self" "${2-}"; shift 2 ;;
        --audit) with_audit=yes; shift ;;
        *) usage ;;
      esac
    done
    up "$with_audit" ;;
  node)
    [[ $# == 1 || $# == 2 ]] || usage
    node "$1" "${2-}" ;;
  start)
    [[ $# == 1 ]] || usage
    relaunch "$1"
    ready "$1" ;;
  stop)
    [[ $# == 1 ]] || usage
    [[ -e $1.log ]] || die "there has never been a $1 in $PWD"
    stop "$1" ;;
  compact)
    etcd=$(address etcd)
    revision=$(curl -sf "$etcd/v3/kv/range" -d '{"key": "AA=="}' | sed -n 's/.*"revision":"\([0-9]*\)".*/\1/p')
    curl -sf "$etcd/v3/kv/compaction" -d "{\"revision\": \"$revision\", \"physical\": true}" > /dev/null ||
      die "etcd did not compact at ${revision:-an unknown revision}" ;;
  down) down ;;
  *) usage ;;
esac
