//! The operator's cloud project: the scripts that make it and take it away, run with a `gcloud` that only writes down
//! what it is asked, and the documents beside them.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use failover::{
    adapters::gce::{KEPT_PERMISSIONS, LOOKED_AT, PERMISSIONS, PROMOTION_PERMISSIONS},
    config::{self, Checks},
};

mod costs;
mod federation;
mod identities;
mod network;

const KEY: &str = "0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a";

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/gcp");

/// Writes its arguments down, one line a call, and answers a look with what the file `there` says of it.
const GCLOUD: &str = r#"#!/bin/bash
folder=$(dirname "$0")
{ printf '%s\x1f' "$@"; echo; } >> "$folder/calls"
cat > /dev/null # As one that asks something would.
case " $* " in
  *' list '*) cat "$folder/machines" 2> /dev/null; exit 0 ;;
  *' get-iam-policy '*) cat "$folder/policy" 2> /dev/null; exit 0 ;;
  *' describe '* | *' policies get '*) ;;
  *) exit 0 ;;
esac
case " $* " in *'value(projectNumber)'*) echo 123456789; exit 0 ;; esac
case $(cat "$folder/there") in
  absent) echo 'ERROR: NOT_FOUND: The resource was not found' >&2; exit 1 ;;
  hidden) echo 'ERROR: PERMISSION_DENIED: Required permission missing' >&2; exit 1 ;;
  deleted) state=DELETED deleted=True ;;
  present) state=ACTIVE deleted= ;;
esac
case " $* " in
  *'value(state)'*) echo $state ;;
  *'value(deleted)'*) echo $deleted ;;
  *'value(location)'*) echo US-CENTRAL1 ;;
  *'value(attributeCondition)'*) cat "$folder/trusted" 2> /dev/null || true ;;
  *) echo there ;;
esac
"#;

struct Ran {
    calls: Vec<Vec<String>>,
    status: i32,
    out: String,
    err: String,
}

impl Ran {
    /// The calls that change something, the first words first.
    fn changes(&self) -> Vec<String> {
        let looks = ["describe", "get", "list", "get-iam-policy"];
        let looks = |call: &&Vec<String>| call.iter().any(|word| looks.contains(&word.as_str()));
        self.calls.iter().filter(|call| !looks(call)).map(|call| call.join(" ")).collect()
    }

    fn one(&self, start: &str) -> &Vec<String> {
        let found: Vec<_> = self.calls.iter().filter(|call| call.join(" ").starts_with(start)).collect();
        assert_eq!(found.len(), 1, "{start}: {:?}\n{}", self.calls, self.err);
        found[0]
    }
}

/// Runs a script where `there` says what already exists: absent, present, deleted or hidden.
fn run(script: &str, there: &str, machines: &str, more: &[&str]) -> Ran {
    run_among(script, there, &[("machines", machines)], more)
}

/// With these files, which say what else there is: `machines`, `policy` (of the bucket), `trusted` (by the provider).
fn run_among(script: &str, there: &str, files: &[(&str, &str)], more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    fs::set_permissions(file("gcloud", GCLOUD), fs::Permissions::from_mode(0o755)).unwrap();
    file("there", there);
    for (name, text) in files {
        file(name, text);
    }
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(Path::new(DOCS).join(script));
    command.args(["--project", "my-failover"]).args(more).env("PATH", path).env("FAILOVER_PAUSE", "0");
    let output = command.output().unwrap();
    let calls = fs::read_to_string(folder.path().join("calls")).unwrap_or_default();
    let words = |line: &str| line.trim_end_matches('\u{1f}').split('\u{1f}').map(str::to_owned).collect();
    Ran {
        calls: calls.lines().map(words).collect(),
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

const JWKS: &str = r#"{"keys":[{"use":"sig","kty":"RSA","kid":"k","alg":"RS256","n":"AQAB","e":"AQAB"}]}"#;

/// `setup.sh` as most will run it.
fn setup(there: &str, more: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    fs::write(&jwks, JWKS).unwrap();
    let mut all = vec!["--operator", "user:me@example.org", "--billing-account", "0-0-0", "--issuer", "https://home"];
    all.extend(["--jwks", jwks.to_str().unwrap()]);
    all.extend(more);
    run("setup.sh", there, "", &all)
}

fn role(name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{DOCS}/roles/{name}.yaml")).unwrap();
    let list = text.split_once("includedPermissions:\n").unwrap().1;
    list.lines().map(|line| line.strip_prefix("- ").unwrap().to_owned()).collect()
}

#[test]
fn the_watchers_role_is_what_the_program_uses_and_nothing_else() {
    let listed = role("watcher");
    let used: BTreeSet<&str> = PERMISSIONS.iter().chain(LOOKED_AT).copied().collect();
    assert_eq!(listed.iter().map(String::as_str).collect::<BTreeSet<_>>(), used);
    assert_eq!(listed.len(), used.len(), "none twice");
    for withheld in
        ["setDeletionProtection", "setScheduling", "setServiceAccount", "createSnapshot", "actAs", "setName"]
    {
        assert!(listed.iter().all(|permission| !permission.ends_with(withheld)), "{withheld}");
    }
    let kept_apart = ["setDeletionProtection", "setScheduling", "setServiceAccount"];
    let operators = role("operator");
    assert!(kept_apart.iter().all(|verb| operators.contains(&format!("compute.instances.{verb}"))));
    assert!(!operators.iter().any(|permission| permission.ends_with(".delete")), "keeping needs no deleting");
    let lacks = |permission: &&&str| !operators.iter().any(|listed| listed == **permission);
    assert_eq!(PROMOTION_PERMISSIONS.iter().find(lacks), None, "a promotion uses it");
    assert_eq!(operators.iter().collect::<BTreeSet<_>>().len(), operators.len(), "none twice");
    assert_eq!(role("reader"), KEPT_PERMISSIONS);
}

#[test]
fn a_new_project_gets_everything_once_and_nothing_more() {
    let ran = setup("absent", &["--regions", "us-central1,europe-west4"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let wanted = [
        "projects create my-failover",
        "billing projects link",
        "services enable compute.googleapis.com",
        "compute networks create failover",
        "compute networks subnets create failover --project my-failover --region us-central1 ",
        "compute networks subnets create failover --project my-failover --region europe-west4 ",
        "compute firewall-rules create failover-p2p",
        "compute firewall-rules create failover-ssh-iap",
        "iam roles create failoverWatcher",
        "iam roles create failoverReader",
        "iam roles create failoverOperator",
        "iam service-accounts create failover-watcher",
        "projects add-iam-policy-binding my-failover --member serviceAccount:failover-watcher@",
        "projects add-iam-policy-binding my-failover --member serviceAccount:failover-watcher@",
        "projects add-iam-policy-binding my-failover --member user:me@example.org --role projects/my-failover/roles/",
        "projects add-iam-policy-binding my-failover --member user:me@example.org --role roles/iap.tunnelResourceAccessor",
        "projects add-iam-policy-binding my-failover --member user:me@example.org --role roles/compute.osAdminLogin",
        "storage buckets create gs://my-failover-failover",
        "storage buckets update gs://my-failover-failover",
        "storage buckets add-iam-policy-binding gs://my-failover-failover --member serviceAccount:",
        "storage buckets add-iam-policy-binding gs://my-failover-failover --member serviceAccount:",
        "storage buckets add-iam-policy-binding gs://my-failover-failover --member serviceAccount:",
        "storage buckets add-iam-policy-binding gs://my-failover-failover --member user:",
        "iam workload-identity-pools create failover-home",
        "iam workload-identity-pools providers create-oidc cluster",
        "iam service-accounts add-iam-policy-binding failover-watcher@",
    ];
    let changes = ran.changes();
    assert_eq!(changes.len(), wanted.len(), "{changes:#?}");
    for (index, start) in wanted.iter().enumerate() {
        assert!(changes[index].starts_with(start), "{index}: {} is not {start}", changes[index]);
    }
}

#[test]
fn what_is_there_is_set_right_and_nothing_is_made_again() {
    for there in ["present", "deleted"] {
        let ran = setup(there, &["--deny"]);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let changes = ran.changes();
        assert!(changes.iter().all(|change| !change.contains(" create")), "{changes:#?}");
        assert_eq!(
            changes.iter().filter(|change| change.contains(" undelete ")).count(),
            if there == "present" { 0 } else { 5 }
        );
        ran.one("compute firewall-rules update failover-p2p");
        ran.one("compute firewall-rules update failover-ssh-iap");
        ran.one("iam roles update failoverWatcher");
        ran.one("iam roles update failoverReader");
        ran.one("iam workload-identity-pools providers update-oidc cluster");
        ran.one("iam policies update failover-promoted");
    }
}

#[test]
fn what_cannot_be_seen_is_not_taken_for_absent() {
    let ran = setup("hidden", &[]);
    assert_eq!((ran.status, ran.changes()), (1, Vec::new()));
    assert!(ran.err.contains("PERMISSION_DENIED") && ran.err.contains("cannot be seen"), "{}", ran.err);
}

#[test]
fn only_peers_come_in_and_by_ssh_only_googles_proxy_to_what_is_promoted() {
    let ran = setup("absent", &[]);
    let ssh = ran.one("compute firewall-rules create failover-ssh-iap").join(" ");
    assert!(ssh.contains("--source-ranges 35.235.240.0/20 --target-tags failover-ssh "), "{ssh}");
    assert!(ssh.ends_with("--direction INGRESS --action ALLOW --rules tcp:22"), "{ssh}");
    let rule = ran.one("compute firewall-rules create failover-p2p");
    assert!(rule.contains(&"tcp:30303,udp:30303,tcp:9000,udp:9000".to_owned()), "{rule:?}");
    assert!(rule.join(" ").contains("--target-tags failover-p2p"));
    for ports in ["tcp:22", "tcp:1-65535", "tcp:30303,tcp:20-30", "tcp:30303;id", "all"] {
        let ran = setup("absent", &["--p2p", ports]);
        assert_eq!((ran.status, ran.calls.len()), (2, 0), "{ports}: {}", ran.err);
    }
}

#[test]
fn the_watcher_is_bound_to_its_own_machines_and_disks_and_kept_from_what_humans_and_gates_write() {
    let ran = setup("absent", &[]);
    let bound = "projects add-iam-policy-binding my-failover --member serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com --role projects/my-failover/roles/";
    let kept = ran.one(&format!("{bound}failoverReader")).join(" ");
    let condition = r#"--condition title=kept-machines,expression=resource.type == "compute.googleapis.com/Instance" && resource.name.extract("/instances/{name}").startsWith("kept-") "#;
    assert!(kept.contains(condition), "{kept}");
    let project = ran.one(&format!("{bound}failoverWatcher")).join(" ");
    for kind in ["Instance", "Disk"] {
        let name = format!("/{}s/{{name}}", kind.to_lowercase());
        let own = format!(
            r#"(resource.type != "compute.googleapis.com/{kind}" || resource.name.extract("{name}").startsWith("fo-"))"#
        );
        assert!(project.contains(&own), "{project}");
    }
    let member = "--member serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com";
    let bucket: Vec<_> =
        ran.changes().into_iter().filter(|call| call.starts_with("storage") && call.contains(member)).collect();
    assert!(bucket[0].contains("objectViewer --condition None"), "{bucket:?}");
    assert!(bucket[1].contains("legacyBucketReader --condition None"), "{bucket:?}");
    let all = ["owners", "sessions", "promotions"].map(|folder| {
        format!(r#"!resource.name.startsWith("projects/_/buckets/my-failover-failover/objects/home/{folder}/")"#)
    });
    // What it may, and not only what it may not: bindings add up, and another prefix has its own.
    let within = r#"expression=resource.name.startsWith("projects/_/buckets/my-failover-failover/objects/home/") && "#;
    assert!(
        bucket[2].contains("objectUser") && bucket[2].contains(&(within.to_owned() + &all.join(" && "))),
        "{bucket:?}"
    );
    let made = ran.one("storage buckets update").join(" ");
    for flag in [
        "--uniform-bucket-level-access",
        "--public-access-prevention",
        "--soft-delete-duration 30d",
        "--clear-retention-period",
    ] {
        assert!(made.contains(flag), "{made}");
    }
    // Nobody can make a key file of it, and no machine gets an identity.
    assert!(ran.changes().iter().all(|call| !call.contains("keys create") && !call.contains("serviceAccountUser")));
}

#[test]
fn one_service_account_of_the_cluster_is_trusted_and_no_other() {
    let ran = setup("absent", &["--service-account", "watch:fo"]);
    let provider = ran.one("iam workload-identity-pools providers create-oidc").join(" ");
    assert!(provider.contains("--attribute-condition assertion.sub == 'system:serviceaccount:watch:fo'"), "{provider}");
    assert!(provider.contains("--issuer-uri https://home") && provider.contains("--jwk-json-path"), "{provider}");
    let binding = ran.one("iam service-accounts add-iam-policy-binding").join(" ");
    let pool = "principal://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/failover-home";
    assert!(binding.contains(&format!("{pool}/subject/system:serviceaccount:watch:fo")), "{binding}");
}

#[test]
fn a_private_key_and_an_issuer_without_https_go_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("keys.json");
    let path = jwks.to_str().unwrap();
    let sent = |ran: &Ran| ran.calls.iter().any(|call| call.join(" ").contains("oidc"));
    fs::write(&jwks, JWKS.replace(r#""e":"AQAB""#, r#""e":"AQAB","d":"c2VjcmV0""#)).unwrap();
    let ran = run(
        "setup.sh",
        "absent",
        "",
        &["--operator", "user:a@b.c", "--billing-account", "1", "--jwks", path, "--issuer", "https://h"],
    );
    assert!(ran.status == 1 && ran.err.contains("private key") && !sent(&ran), "{}", ran.err);
    fs::write(&jwks, JWKS).unwrap();
    let ran = run(
        "setup.sh",
        "absent",
        "",
        &["--operator", "user:a@b.c", "--billing-account", "1", "--jwks", path, "--issuer", "http://h"],
    );
    assert!(ran.status == 1 && ran.err.contains("https://") && !sent(&ran), "{}", ran.err);
}

#[test]
fn a_wrong_option_says_which_and_calls_nothing() {
    let wrong: [&[&str]; 7] = [
        &[],
        &["--operator", "serviceAccount:robot@x.iam.gserviceaccount.com"],
        &["--operator", "user:a@b.c", "--regions", "us-central1-a"],
        &["--operator", "user:a@b.c", "--bucket", "gs://b"],
        &["--operator", "user:a@b.c", "--prefix", "a\"b"],
        &["--operator", "user:a@b.c", "--jwks", "x"],
        &["--operator", "--regions", "us-central1"],
    ];
    for options in wrong {
        let ran = run("setup.sh", "absent", "", options);
        assert_eq!((ran.status, ran.calls.len()), (2, 0), "{options:?}: {}", ran.err);
        assert!(ran.err.contains("--help"), "{}", ran.err);
    }
}

#[test]
fn a_dry_run_prints_every_command_and_runs_none() {
    for script in ["setup.sh", "teardown.sh"] {
        let more: &[&str] = if script == "setup.sh" {
            &["--operator", "user:me@example.org", "--deny", "--dry-run"]
        } else {
            &["--dry-run", "--deny", "--delete-ledger"]
        };
        let ran = run(script, "absent", "", more);
        assert_eq!((ran.status, ran.calls.len()), (0, 0), "{}", ran.err);
        assert!(ran.err.lines().filter(|line| line.starts_with("+ gcloud ")).count() >= 9, "{}", ran.err);
    }
}

#[test]
fn taking_away_leaves_the_ledger_and_stops_at_a_machine() {
    let ran = run("teardown.sh", "present", "fo-eth-0-1234 us-central1-a\n", &["--delete-ledger"]);
    assert_eq!((ran.status, ran.changes()), (1, Vec::new()));
    assert!(ran.err.contains("fo-eth-0-1234"), "{}", ran.err);
    let ran = run("teardown.sh", "present", "", &[]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    assert!(ran.changes().iter().all(|call| !call.contains("gs://")), "{:?}", ran.changes());
    assert_eq!(ran.changes().len(), 11, "{:#?}", ran.changes());
    let ran = run("teardown.sh", "present", "", &["--delete-ledger"]);
    ran.one("storage rm --recursive gs://my-failover-failover");
    let again = run("teardown.sh", "absent", "", &["--delete-ledger"]);
    assert_eq!((again.status, again.changes()), (0, Vec::new()), "{}", again.err);
}

#[test]
fn the_deny_policy_is_taken_away_when_that_is_asked_for_and_its_tag_after_its_value() {
    let kept = run("teardown.sh", "present", "", &[]);
    assert!(kept.changes().iter().all(|call| !call.contains("policies") && !call.contains("tags")), "{:?}", kept.calls);
    assert!(kept.err.contains("failover-promoted") && kept.err.contains("--deny"), "{}", kept.err);
    let ran = run("teardown.sh", "present", "", &["--deny"]);
    let changes = ran.changes();
    assert_eq!((ran.status, changes.len()), (0, 14), "{}{changes:#?}", ran.err);
    let wanted = [
        "iam policies delete failover-promoted --kind denypolicies --attachment-point",
        "resource-manager tags values delete my-failover/failover/promoted",
        "resource-manager tags keys delete my-failover/failover",
    ];
    for (index, start) in wanted.iter().enumerate() {
        assert!(changes[index].starts_with(start), "{index}: {} is not {start}", changes[index]);
    }
    let stopped = run("teardown.sh", "present", "fo-eth-0-1234 us-central1-a\n", &["--deny"]);
    assert_eq!((stopped.status, stopped.changes()), (1, Vec::new()), "it protects that machine");
    let again = run("teardown.sh", "absent", "", &["--deny"]);
    assert_eq!((again.status, again.changes()), (0, Vec::new()), "{}", again.err);
}

#[test]
fn what_the_script_prints_is_a_configuration_the_program_takes() {
    let ran = setup("present", &["--regions", "us-central1,europe-west4"]);
    let config = ran.out.split_once("config:\n").unwrap().1;
    let own: String = config.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap())).collect();
    let validators = format!("validators: [{{name: eth-0, kind: ethereum, public_keys: [\"{KEY}\"]}}]");
    let checks = Checks { files: false, ..Checks::default() };
    let taken = config::parse(&format!("site: home\n{validators}\n{own}"), "failover.yaml", &checks);
    let (config, _) = taken.unwrap_or_else(|error| panic!("{error}\n{own}"));
    let compute = config.compute.unwrap();
    assert_eq!((compute.ladder.len(), compute.subnetwork.as_deref()), (4, Some("failover")));
    assert_eq!(compute.tags, ["failover-p2p"]);
    assert!(ran.out.contains("impersonate: failover-watcher@my-failover.iam.gserviceaccount.com"), "{}", ran.out);
}
