#!/usr/bin/env bash
# Makes the cloud project in which failover creates standbys: services, network, firewall, roles, identities, bucket, and
# the federation by which the home cluster needs no key file. It may be run again: what is there is left or set right.
# It reads no key and writes none, and no secret is in any of its commands. docs/gcp.md explains each step.
#
#   setup.sh --project ID --operator user:you@example.org [options]
#
#   --project ID             the project; one that holds nothing else
#   --operator MEMBER        who may keep and promote a standby, `user:…` or `group:…`; may be given several times
#   --billing-account ID     make the project if it is not there, and pay for it from this account
#   --regions A,B            the regions of the ladder (us-central1)
#   --bucket NAME            the ledger's bucket (ID-failover)
#   --bucket-region REGION   where the bucket is: never the ladder's first region (its second, or one beside it)
#   --prefix NAME            `ledger.gcs.prefix` of the configuration (home); sites that share a bucket have one each
#   --p2p PORTS              what the firewall lets in to a standby (tcp:30303,udp:30303,tcp:9000,udp:9000)
#   --service-account NS:SA  the service account of failover in the home cluster (failover:failover)
#   --gate NS:SA             the service account of a gate in the home cluster; each --validator after it names whose session
#   --validator NAME         it may write. May be given several times; gates of an earlier run stay trusted
#   --gate failover-gate-X   the same for a gate that is in no cluster: a service account of the project is made
#   --jwks FILE --issuer URL the cluster's public keys and issuer; without them kubectl is asked
#   --witness ZONE           a smallest machine there (us-east1-b), for the witness that acts when home is dark (docs/witness.md)
#   --no-federation          no identity for a cluster: the watcher runs elsewhere
#   --deny                   also the deny policy for machines tagged as promoted; needs an organisation
#   --dry-run                print every command that would be run, and run none
set -euo pipefail

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source-path=SCRIPTDIR source=common.sh
source "$here/common.sh"

# The cluster's issuer need not be reachable: its public keys go to Google. Run again after its signing key has changed.
federate() {
  if [[ -z $jwks ]]; then
    jwks=$work/jwks.json
    echo '+ kubectl get --raw /openid/v1/jwks; kubectl get --raw /.well-known/openid-configuration' >&2
    if ((dry_run)); then
      issuer=ISSUER
    else
      kubectl get --raw /openid/v1/jwks > "$jwks" || fail "kubectl does not say the cluster's keys: give --jwks and --issuer"
      issuer=$(kubectl get --raw /.well-known/openid-configuration | sed -n 's/.*"issuer": *"\([^"]*\)".*/\1/p')
    fi
  fi
  if ((!dry_run)); then
    [[ $issuer == https://* ]] || fail "the issuer is '$issuer', Google takes https:// only: set service-account-issuer of the API server"
    grep -q '"keys"' "$jwks" || fail "$jwks holds no public keys (JWKS)"
    ! grep -qE '"(d|p|q|dp|dq|qi|k)" *:' "$jwks" || fail "$jwks holds a private key: it is not sent anywhere; remove it"
  fi
  local where=(--location global --project "$project") verb=create-oidc known='' subject
  local subjects=("system:serviceaccount:$account") trusted
  case $(field state iam workload-identity-pools describe "$pool" "${where[@]}") in
    absent) run iam workload-identity-pools create "$pool" "${where[@]}" --display-name "failover at home" ;;
    DELETED) run iam workload-identity-pools undelete "$pool" "${where[@]}" ;;
    ACTIVE) ;;
    *) fail "the state of the pool $pool cannot be read" ;;
  esac
  where+=(--workload-identity-pool "$pool")
  case $(field state iam workload-identity-pools providers describe "$provider" "${where[@]}") in
    absent) ;;
    DELETED) run iam workload-identity-pools providers undelete "$provider" "${where[@]}"; verb=update-oidc ;;
    ACTIVE) verb=update-oidc ;;
    *) fail "the state of the provider $provider cannot be read" ;;
  esac
  # The watcher's is the first. A gate that is not named this time must not lose its session by that.
  if [[ $verb == update-oidc ]]; then
    known=$(field attributeCondition iam workload-identity-pools providers describe "$provider" "${where[@]}")
    [[ $known != unknown ]] || fail "whom the provider $provider trusts cannot be read"
    known=$(grep -o "system:serviceaccount:[a-z0-9.:-]*" <<< "$known" | tail -n +2 || true)
  fi
  for subject in "${gates[@]/#/system:serviceaccount:}" $known; do
    subject=${subject%% *}
    [[ $subject == system:serviceaccount:*:* ]] || continue # one that is in no cluster
    [[ " ${subjects[*]} " == *" $subject "* ]] || subjects+=("$subject")
  done
  trusted="assertion.sub == '${subjects[0]}'"
  if ((${#subjects[@]} > 1)); then
    trusted=$(printf "'%s', " "${subjects[@]}")
    trusted="assertion.sub in [${trusted%, }]"
  fi
  # No other service account of the cluster gets anything, whatever roles are given later.
  run iam workload-identity-pools providers "$verb" "$provider" "${where[@]}" --issuer-uri "$issuer" \
    --jwk-json-path "$jwks" --attribute-mapping google.subject=assertion.sub \
    --attribute-condition "$trusted"
  project_number
  again iam service-accounts add-iam-policy-binding "$watcher" --project "$project" \
    --role roles/iam.workloadIdentityUser --condition None --format none \
    --member "$(principal "$account")"
}

# The cluster's service account NS:SA, or the project's own, as Google calls it.
principal() {
  if [[ $1 != *:* ]]; then
    echo "serviceAccount:$1@$project.iam.gserviceaccount.com"
    return
  fi
  echo "principal://iam.googleapis.com/projects/$project_number/locations/global/workloadIdentityPools/$pool/subject/system:serviceaccount:$1"
}

# Gives MEMBER a role on the ledger; with TITLE and EXPRESSION, only on that part of it.
on_ledger() {
  local condition=None
  [[ -z ${3-} ]] || condition="title=$3,expression=$4"
  again storage buckets add-iam-policy-binding "gs://$bucket" --member "$1" --role "roles/storage.$2" \
    --condition "$condition" --format none
}

# Takes from the watcher what an earlier version of this script has given it: bindings with a title of ours and another
# condition than now. Bindings add up, so a wider one that stays makes the narrower one worth nothing. The present one is
# added before, so that the watcher is never without. Bindings with other titles are somebody else's, and stay, and so do
# those of another prefix.
withdraw() { # what it is on, as gcloud's words; role, the condition now, titles that are ours; those that name no prefix
  local words=$1 on=$2 role=$3 now=$4 titles=" $5 " old=" ${6-} " policy its_role member title condition
  ((!dry_run)) || return 0
  read -ra words <<< "$words"
  policy=$(gcloud "${words[@]}" get-iam-policy "$on" --flatten 'bindings[].members' \
    --format 'value(bindings.role,bindings.members,bindings.condition.title,bindings.condition.expression)') ||
    fail "who may do what with $on cannot be seen, so a binding of an earlier version may be left"
  while IFS=$'\t' read -r its_role member title condition; do
    [[ $its_role == "$role" && $member == "serviceAccount:$watcher" ]] || continue
    [[ -n $title && $condition != "$now" ]] || continue
    if [[ $old == *" $title "* && $condition != *"$(object owners/)"* ]]; then
      step "WARNING: '$title' of another prefix lets the watcher write all of this one: run this again with that --prefix"
      continue
    fi
    [[ "$titles$old" == *" $title "* ]] || continue
    # What reads the input of this loop ends it.
    run "${words[@]}" remove-iam-policy-binding "$on" --member "$member" --role "$role" \
      --condition "title=$title,expression=$condition" --format none < /dev/null
  done <<< "$policy"
}

# The name by which a condition knows an object, or the beginning of it.
object() { echo "\"projects/_/buckets/$bucket/objects/${prefix:+$prefix/}$1\""; }

# Where an outage of the ladder's first region does not reach.
beside() {
  case $1 in
    us-east1) echo us-west1 ;;
    us-* | northamerica-* | southamerica-*) echo us-east1 ;;
    europe-west1) echo europe-west4 ;;
    europe-*) echo europe-west1 ;;
    *) usage "--bucket-region is missing: name a region near $1 that is not $1" ;;
  esac
}

project_number() {
  project_number=PROJECT_NUMBER
  ((dry_run)) || project_number=$(field projectNumber projects describe "$project")
  [[ $project_number =~ ^([0-9]+|PROJECT_NUMBER)$ ]] || fail "the number of $project cannot be found out"
}

# A deny rule reads no labels, only tags. Who promotes a machine tags it: docs/gcp.md has the command.
protect() {
  there resource-manager tags keys describe "$project/failover" ||
    run resource-manager tags keys create failover --parent "projects/$project"
  there resource-manager tags values describe "$project/failover/promoted" ||
    run resource-manager tags values create promoted --parent "$project/failover"
  local policy=$work/deny.json
  sed "s/PROJECT/$project/g; s/WATCHER/$watcher/g" "$here/deny.json" > "$policy"
  local where=(--kind denypolicies --attachment-point "cloudresourcemanager.googleapis.com/projects/$project") verb=create
  ! there iam policies get failover-promoted "${where[@]}" || verb=update
  run iam policies "$verb" failover-promoted "${where[@]}" --policy-file "$policy"
}

# One name in every region, so that `compute.subnetwork` fits each rung of the ladder.
subnet() { # region, range
  there compute networks subnets describe "$network" --project "$project" --region "$1" ||
    run compute networks subnets create "$network" --project "$project" --region "$1" --network "$network" --range "$2"
}

# Not called fo-…, nor labelled as a standby is: the watcher whose identity it has can neither change nor delete it. It is
# logged in to through Google's proxy, as a promoted machine is. Without an address it would need a NAT, which costs more.
witness() {
  local region=${witness%-*}
  [[ ,$regions, == *",$region,"* ]] || subnet "$region" 10.64.255.0/24
  there compute instances describe "$witness_name" --project "$project" --zone "$witness" ||
    run compute instances create "$witness_name" --project "$project" --zone "$witness" --machine-type e2-micro \
      --image-family debian-12 --image-project debian-cloud --boot-disk-size 10GB --boot-disk-type pd-standard \
      --network "$network" --subnet "$network" --tags "$ssh_tag" --metadata enable-oslogin=TRUE \
      --service-account "$watcher" --scopes cloud-platform --shielded-secure-boot
}

# What has to be written into the values of the chart, as they are.
configuration() {
  local credentials=application_default
  if ((federation)); then
    credentials='{key_file: /etc/failover/google.json}'
    [[ ${gates[*]} != *:* ]] || cat << END
# For each gate (docs/gate.md): its ledger is gs://$bucket${prefix:+/$prefix}, and \`audience\` in its two files is
# //iam.googleapis.com/projects/$project_number/locations/global/workloadIdentityPools/$pool/providers/$provider
END
    cat << END
workloadIdentity:
  audience: //iam.googleapis.com/projects/$project_number/locations/global/workloadIdentityPools/$pool/providers/$provider
  impersonate: $watcher
END
  fi
  cat << END
config:
  ledger:
    gcs: {bucket: $bucket, prefix: "$prefix", credentials: $credentials}
  compute:
    project: $project
    credentials: $credentials
    subnetwork: $network
    tags: [$tag]
    ladder:
END
  local region zone
  for region in ${regions//,/ }; do
    # Every region has these two.
    for zone in b c; do echo "      - {zone: $region-$zone, machine_type: n2-standard-8}"; done
  done
}

gates=() bucket_region='' witness=''
project='' billing='' regions=us-central1 bucket='' prefix=home jwks='' issuer='' federation=1 deny=0 operators=()
p2p=tcp:30303,udp:30303,tcp:9000,udp:9000 account=failover:failover
while (($#)); do
  case $1 in
    --project) project=$(value "$@"); shift 2 ;;
    --operator) operator=$(value "$@"); operators+=("$operator"); shift 2 ;;
    --billing-account) billing=$(value "$@"); shift 2 ;;
    --regions) regions=$(value "$@"); shift 2 ;;
    --bucket) bucket=$(value "$@"); shift 2 ;;
    --prefix) prefix=$(value "$@"); shift 2 ;;
    --p2p) p2p=$(value "$@"); shift 2 ;;
    --service-account) account=$(value "$@"); shift 2 ;;
    --bucket-region) bucket_region=$(value "$@"); shift 2 ;;
    --gate) gate=$(value "$@"); gates+=("$gate"); shift 2 ;;
    --validator)
      validator=$(value "$@")
      ((${#gates[@]})) || usage "--validator $validator belongs to a --gate before it"
      gates[-1]+=" $validator"
      shift 2
      ;;
    --jwks) jwks=$(value "$@"); shift 2 ;;
    --issuer) issuer=$(value "$@"); shift 2 ;;
    --witness) witness=$(value "$@"); shift 2 ;;
    --no-federation) federation=0; shift ;;
    --deny) deny=1; shift ;;
    --dry-run) dry_run=1; shift ;;
    -h | --help) help "$0"; exit 0 ;;
    *) usage "there is no option $1" ;;
  esac
done

[[ -n $project ]] || usage "--project is missing"
((${#operators[@]})) || usage "--operator is missing: somebody must be able to keep a standby"
bucket=${bucket:-$project-failover} prefix=${prefix%/}
matches "$project" '[a-z][a-z0-9-]{4,28}[a-z0-9]' "--project takes the id of a project, like my-failover"
matches "$bucket" '[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]' "--bucket takes the name of a bucket, without gs://"
matches "$prefix" '[A-Za-z0-9._/-]*' "--prefix takes letters, digits and . _ / -"
matches "$regions" '[a-z]+-[a-z]+[0-9]+(,[a-z]+-[a-z]+[0-9]+)*' "--regions takes regions (us-central1), not zones"
if [[ -z $bucket_region ]]; then
  bucket_region=${regions#*,}
  bucket_region=${bucket_region%%,*}
  [[ $regions == *,* ]] || bucket_region=$(beside "$regions")
fi
matches "$bucket_region" '[a-z]+-[a-z]+[0-9]+' "--bucket-region takes a region (us-east1)"
[[ $bucket_region != "${regions%%,*}" ]] ||
  usage "--bucket-region is where the ladder begins: an outage of $bucket_region would take standby and ledger together"
if [[ -n $witness ]]; then
  matches "$witness" '[a-z]+-[a-z]+[0-9]+-[a-z]' "--witness takes a zone (us-east1-b)"
  [[ ${witness%-*} != "${regions%%,*}" ]] ||
    usage "--witness is where the ladder begins: an outage of ${witness%-*} would take standby and witness together"
fi
matches "$account" '[a-z0-9-]+:[a-z0-9.-]+' "--service-account takes NAMESPACE:NAME"
matches "$p2p" '(tcp|udp):[0-9]+(-[0-9]+)?(,(tcp|udp):[0-9]+(-[0-9]+)?)*' "--p2p takes ports like tcp:30303,udp:30303"
for port in ${p2p//,/ }; do
  first=${port#*:} last=${port##*-}
  ((${first%-*} > 22 || ${last#*:} < 22)) || usage "--p2p would open port 22: no standby is logged in to from outside"
done
for operator in "${operators[@]}"; do
  matches "$operator" '(user|group):[^@ ]+@[^@ ]+' \
    "--operator takes user:… or group:…: a human keeps a standby, never an identity that a program holds"
done
for gate in "${gates[@]}"; do
  matches "$gate" '([a-z0-9-]+:[a-z0-9.-]+|failover-gate[a-z0-9-]{0,16}[a-z0-9])( [a-z]([a-z0-9-]*[a-z0-9])?)+' \
    "--gate takes NAMESPACE:NAME, or failover-gate-NAME (30 letters at most), and after it at least one --validator NAME"
  [[ ${gate%% *} != "$account" ]] || usage "--gate ${gate%% *} is the watcher's own: a gate has an identity of its own"
  [[ $gate != *:* ]] || ((federation)) || usage "--gate ${gate%% *} needs the cluster's identity, which --no-federation leaves out"
done
if ((federation)); then
  [[ -n $jwks && -n $issuer || -z $jwks$issuer ]] || usage "--jwks and --issuer go together"
  [[ -z $jwks || -r $jwks ]] || fail "$jwks cannot be read"
fi
((dry_run)) || command -v gcloud > /dev/null || fail "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
names "$project"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

step "the project, and the services it uses"
if [[ -n $billing ]]; then
  there projects describe "$project" || run projects create "$project"
  run billing projects link "$project" --billing-account "$billing"
elif ((!dry_run)) && ! there projects describe "$project"; then
  fail "there is no project $project, or you may not see it: make it, or give --billing-account (see 'gcloud billing accounts list')"
fi
run services enable "${services[@]}" --project "$project"

step "the network: only peers reach a standby, on the chain's own ports; everything else is closed by default"
there compute networks describe "$network" --project "$project" ||
  run compute networks create "$network" --project "$project" --subnet-mode custom
number=0
for region in ${regions//,/ }; do
  subnet "$region" "10.64.$number.0/24"
  number=$((number + 1))
done
firewall=(--project "$project" --source-ranges 0.0.0.0/0 --target-tags "$tag")
if there compute firewall-rules describe "$network-p2p" --project "$project"; then
  run compute firewall-rules update "$network-p2p" "${firewall[@]}" --rules "$p2p"
else
  run compute firewall-rules create "$network-p2p" "${firewall[@]}" --network "$network" --direction INGRESS \
    --action ALLOW --rules "$p2p"
fi

# A promoted machine is logged in to through Google's proxy, which asks who comes: Google's documented range, and no other.
firewall=(--project "$project" --source-ranges 35.235.240.0/20 --target-tags "$ssh_tag")
if there compute firewall-rules describe "$network-ssh-iap" --project "$project"; then
  run compute firewall-rules update "$network-ssh-iap" "${firewall[@]}" --rules tcp:22
else
  run compute firewall-rules create "$network-ssh-iap" "${firewall[@]}" --network "$network" --direction INGRESS \
    --action ALLOW --rules tcp:22
fi

step "the roles: the watcher creates and deletes keyless machines and reads those that you keep or promote"
for role in watcher reader operator; do
  id=failover${role^}
  case $(field deleted iam roles describe "$id" --project "$project") in
    absent) run iam roles create "$id" --project "$project" --file "$here/roles/$role.yaml" --quiet ;;
    True)
      run iam roles undelete "$id" --project "$project"
      run iam roles update "$id" --project "$project" --file "$here/roles/$role.yaml" --quiet
      ;;
    unknown) fail "it cannot be seen whether the role $id is there" ;;
    *) run iam roles update "$id" --project "$project" --file "$here/roles/$role.yaml" --quiet ;;
  esac
done

step "the watcher's identity; a standby has none at all"
there iam service-accounts describe "$watcher" --project "$project" ||
  run iam service-accounts create "${watcher%%@*}" --project "$project" --display-name "failover watcher"
# Whatever is neither machine nor disk is in the role's permissions alone; of these only our own. A disk that is made
# with a machine has the machine's name, and a number after it.
# shellcheck disable=SC2016
own='(resource.type != "compute.googleapis.com/Instance" || resource.name.extract("/instances/{name}").startsWith("fo-"))'
own+=' && (resource.type != "compute.googleapis.com/Disk" || resource.name.extract("/disks/{name}").startsWith("fo-"))'
again projects add-iam-policy-binding "$project" --member "serviceAccount:$watcher" \
  --role "projects/$project/roles/failoverWatcher" --condition "title=own-machines,expression=$own" --format none
withdraw projects "$project" "projects/$project/roles/failoverWatcher" "$own" own-machines
# A promotion renames its machine. From then on the watcher reads it, and can neither delete nor change it.
# shellcheck disable=SC2016
kept='resource.type == "compute.googleapis.com/Instance" && resource.name.extract("/instances/{name}").startsWith("kept-")'
again projects add-iam-policy-binding "$project" --member "serviceAccount:$watcher" \
  --role "projects/$project/roles/failoverReader" --condition "title=kept-machines,expression=$kept" --format none
withdraw projects "$project" "projects/$project/roles/failoverReader" "$kept" kept-machines
for operator in "${operators[@]}"; do
  run projects add-iam-policy-binding "$project" --member "$operator" \
    --role "projects/$project/roles/failoverOperator" --condition None --format none
  # Ssh to a promoted machine: through the proxy, and there as root.
  run projects add-iam-policy-binding "$project" --member "$operator" --role roles/iap.tunnelResourceAccessor \
    --condition "title=ssh-alone,expression=destination.port == 22" --format none
  run projects add-iam-policy-binding "$project" --member "$operator" --role roles/compute.osAdminLogin \
    --condition None --format none
done

step "the bucket of the ledger: what is overwritten or deleted can be had back for 30 days"
case $(field location storage buckets describe "gs://$bucket" --project "$project" | tr '[:upper:]' '[:lower:]') in
  absent)
    run storage buckets create "gs://$bucket" --project "$project" --location "$bucket_region" \
      --uniform-bucket-level-access --public-access-prevention --soft-delete-duration 30d
    ;;
  unknown) fail "it cannot be seen whether the bucket $bucket is there" ;;
  "${regions%%,*}") step "WARNING: gs://$bucket is in ${regions%%,*}, where the ladder begins; docs/gcp.md says how to move it" ;;
esac
# Neither versions nor a retention period: the lease is overwritten every few seconds, and has to be.
run storage buckets update "gs://$bucket" --project "$project" --uniform-bucket-level-access \
  --public-access-prevention --soft-delete-duration 30d --no-versioning --clear-retention-period
on_ledger "serviceAccount:$watcher" objectViewer
# Where the bucket is; `failover check` looks.
on_ledger "serviceAccount:$watcher" legacyBucketReader
# It reads who owns a validator, who signs and what is promoted, and writes none of it: humans and gates do. Bindings add
# up, so that each says what it is for: one that said only what it is not for would open the folders of another prefix.
written="resource.name.startsWith($(object ''))"
for folder in owners sessions promotions; do
  written+=" && !resource.name.startsWith($(object "$folder/"))"
done
title=what-a-watcher-writes-in-${prefix:-all}
on_ledger "serviceAccount:$watcher" objectUser "$title" "$written"
withdraw "storage buckets" "gs://$bucket" roles/storage.objectUser "$written" "$title" \
  "what-a-watcher-writes all-but-owners"
# All of it: who owns a validator, and each grant before; a session's number; what is being promoted.
for operator in "${operators[@]}"; do
  on_ledger "$operator" objectUser
done

if ((federation)); then
  step "the home cluster's identity: Google trusts its service account's tokens, by the public keys uploaded here"
  federate
fi

for gate in "${gates[@]}"; do
  read -r gate validators <<< "$gate"
  step "the gate $gate: it reads the ledger, and writes the session of $validators and nothing else"
  if [[ $gate != *:* ]]; then
    account_of_gate=$(principal "$gate")
    there iam service-accounts describe "${account_of_gate#*:}" --project "$project" ||
      run iam service-accounts create "$gate" --project "$project" --display-name "failover gate"
  fi
  # All of it with the right to list: without that, an object that is missing is refused like one that is forbidden.
  on_ledger "$(principal "$gate")" objectViewer
  for validator in $validators; do
    on_ledger "$(principal "$gate")" objectUser "session-of-$validator" "resource.name == $(object "sessions/$validator")"
  done
done

if [[ -n $witness ]]; then
  step "the witness's machine, with the watcher's identity and no key"
  witness
fi

if ((deny)); then
  step "what is tagged as promoted is out of the watcher's reach"
  protect
fi

step "done; what the configuration says about this project"
configuration
