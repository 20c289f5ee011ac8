#!/usr/bin/env bash
# Takes away what setup.sh has made, in the opposite order. It stops while a machine of failover is still there, and
# leaves the bucket unless told otherwise: it says who owns a validator. It may be run again.
#
#   teardown.sh --project ID [options]
#
#   --project ID             the project
#   --regions A,B            the regions given to setup.sh (us-central1)
#   --bucket NAME            the ledger's bucket (ID-failover)
#   --witness ZONE           the zone given to setup.sh as --witness
#   --deny                   also the deny policy and its tag, if setup.sh was given --deny; needs the same rights
#   --delete-ledger          delete the bucket with everything in it; Google keeps it for 30 days
#   --dry-run                print every command that would be run, and run none
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

project='' regions=us-central1 bucket='' witness='' delete_ledger=0 deny=0
while (($#)); do
  case $1 in
    --project) project=$(value "$@"); shift 2 ;;
    --regions) regions=$(value "$@"); shift 2 ;;
    --bucket) bucket=$(value "$@"); shift 2 ;;
    --witness) witness=$(value "$@"); shift 2 ;;
    --deny) deny=1; shift ;;
    --delete-ledger) delete_ledger=1; shift ;;
    --dry-run) dry_run=1; shift ;;
    -h | --help) help "$0"; exit 0 ;;
    *) usage "there is no option $1" ;;
  esac
done
[[ -n $project ]] || usage "--project is missing"
bucket=${bucket:-$project-failover}
matches "$project" '[a-z][a-z0-9-]{4,28}[a-z0-9]' "--project takes the id of a project, like my-failover"
matches "$bucket" '[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]' "--bucket takes the name of a bucket, without gs://"
matches "$regions" '[a-z]+-[a-z]+[0-9]+(,[a-z]+-[a-z]+[0-9]+)*' "--regions takes regions (us-central1), not zones"
[[ -z $witness ]] || matches "$witness" '[a-z]+-[a-z]+[0-9]+-[a-z]' "--witness takes a zone (us-east1-b)"
((dry_run)) || command -v gcloud > /dev/null || fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
names "$project"

# Takes one thing away if it is there (in a dry run, as if it were): DESCRIBE -- DELETE.
remove() {
  local describe=()
  while [[ $1 != -- ]]; do describe+=("$1"); shift; done
  shift
  ((dry_run)) || there "${describe[@]}" || return 0
  run "$@" --quiet
}

step "no machine and no disk of failover may be left: whatever it is, you decide about it"
for kind in instances disks; do
  left=''
  ((dry_run)) || left=$(gcloud compute "$kind" list --project "$project" --filter labels.app=failover \
    --format 'value(name,zone.basename())') || fail "the $kind of $project cannot be listed, so nothing is taken away"
  if [[ -n $left ]]; then
    fail "still there: ${left//$'\n'/, }. Close its incident (failover close), or delete it yourself, if nothing signs on it"
  fi
done

if [[ -n $witness ]]; then
  step "the witness's machine"
  remove compute instances describe "$witness_name" --project "$project" --zone "$witness" -- \
    compute instances delete "$witness_name" --project "$project" --zone "$witness"
  [[ ,$regions, == *",${witness%-*},"* ]] || regions+=,${witness%-*}
fi

if ((deny)); then
  step "what kept the watcher away from promoted machines; there are none any more"
  where=(--kind denypolicies --attachment-point "cloudresourcemanager.googleapis.com/projects/$project")
  remove iam policies get failover-promoted "${where[@]}" -- iam policies delete failover-promoted "${where[@]}"
  # A tag goes after its values.
  remove resource-manager tags values describe "$project/failover/promoted" -- \
    resource-manager tags values delete "$project/failover/promoted"
  remove resource-manager tags keys describe "$project/failover" -- resource-manager tags keys delete "$project/failover"
fi

step "what watcher and gates may do with the ledger, if that stays"
bindings='' of_gates=()
if ((dry_run)); then
  for role in objectViewer legacyBucketReader objectUser; do bindings+="roles/storage.$role"$'\t'"serviceAccount:$watcher"$'\n'; done
elif there storage buckets describe "gs://$bucket" --project "$project"; then
  bindings=$(gcloud storage buckets get-iam-policy "gs://$bucket" --flatten 'bindings[].members' \
    --format 'value(bindings.role,bindings.members)') || fail "who may do what with gs://$bucket cannot be seen"
fi
while read -r role member; do
  # The watcher, whatever the home cluster's pool stands for, and gates that are in no cluster.
  case $member in
    "serviceAccount:$watcher" | principal*"/workloadIdentityPools/$pool/"*) ;;
    "serviceAccount:failover-gate"*"@$project.iam.gserviceaccount.com")
      [[ " ${of_gates[*]} " == *" ${member#*:} "* ]] || of_gates+=("${member#*:}")
      ;;
    *) continue ;;
  esac
  ((delete_ledger)) || run storage buckets remove-iam-policy-binding "gs://$bucket" --member "$member" --role "$role" --all --format none < /dev/null
done < <(sort -u <<< "$bindings")

step "the cluster's identity"
where=(--location global --project "$project")
remove iam workload-identity-pools describe "$pool" "${where[@]}" -- \
  iam workload-identity-pools delete "$pool" "${where[@]}"

step "the identities of watcher and gates, and the roles"
for account in "${of_gates[@]}"; do
  remove iam service-accounts describe "$account" --project "$project" -- \
    iam service-accounts delete "$account" --project "$project"
done
# Bindings first: a role or an identity that is gone stays in the policy as a line that nobody understands.
if ((dry_run)) || there iam service-accounts describe "$watcher" --project "$project"; then
  for id in failoverWatcher failoverReader; do
    run projects remove-iam-policy-binding "$project" --member "serviceAccount:$watcher" \
      --role "projects/$project/roles/$id" --all --format none || true
  done
  run iam service-accounts delete "$watcher" --project "$project" --quiet
fi
for id in failoverWatcher failoverReader failoverOperator; do
  case $( ((dry_run)) || field deleted iam roles describe "$id" --project "$project") in
    absent | True) ;;
    unknown) fail "it cannot be seen whether the role $id is there" ;;
    *) run iam roles delete "$id" --project "$project" --quiet ;;
  esac
done

step "the firewall and the network"
for rule in p2p ssh-iap; do
  remove compute firewall-rules describe "$network-$rule" --project "$project" -- \
    compute firewall-rules delete "$network-$rule" --project "$project"
done
for region in ${regions//,/ }; do
  remove compute networks subnets describe "$network" --project "$project" --region "$region" -- \
    compute networks subnets delete "$network" --project "$project" --region "$region"
done
remove compute networks describe "$network" --project "$project" -- \
  compute networks delete "$network" --project "$project"

if ((delete_ledger)); then
  step "the ledger; within 30 days Google can bring it back, see docs/gcp.md"
  remove storage buckets describe "gs://$bucket" --project "$project" -- \
    storage rm --recursive "gs://$bucket" --project "$project"
else
  step "gs://$bucket stays: it says who owns a validator. --delete-ledger deletes it"
fi
((deny)) || step "the deny policy failover-promoted and the tag failover stay, if setup.sh --deny has made them: --deny deletes them"
step "done; to end the project with everything in it: gcloud projects delete $project"
