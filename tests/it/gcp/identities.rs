//! Who may do what with the ledger's bucket, where it is, and that all of it is taken away again.

use super::{run, run_among, setup};

const POOL: &str =
    "principal://iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/failover-home";
const GATES: [&str; 10] = [
    "--gate",
    "eth:gate",
    "--validator",
    "eth-0",
    "--validator",
    "eth-1",
    "--gate",
    "cosmos:gate",
    "--validator",
    "cosmos-0",
];

#[test]
fn a_gate_reads_the_ledger_and_writes_its_own_sessions_and_nothing_else() {
    let ran = setup("absent", &GATES);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let of = |gate: &str| {
        let member = format!("{POOL}/subject/system:serviceaccount:{gate}");
        let on = "storage buckets add-iam-policy-binding gs://my-failover-failover --member ";
        let all = ran.changes().into_iter().filter(|call| call.contains(&member));
        all.map(|call| call.strip_prefix(&format!("{on}{member} ")).expect("only the bucket").to_owned())
            .collect::<Vec<_>>()
    };
    let session = |validator: &str| {
        format!(
            "--role roles/storage.objectUser --condition title=session-of-{validator},expression=resource.name == \
             \"projects/_/buckets/my-failover-failover/objects/home/sessions/{validator}\" --format none"
        )
    };
    // To list it is part of it: without that, a missing session is answered as one that is forbidden.
    let viewer = "--role roles/storage.objectViewer --condition None --format none".to_owned();
    assert_eq!(of("eth:gate"), [viewer.clone(), session("eth-0"), session("eth-1")]);
    assert_eq!(of("cosmos:gate"), [viewer, session("cosmos-0")]);
    let provider = ran.one("iam workload-identity-pools providers create-oidc").join(" ");
    let trusted = "assertion.sub in ['system:serviceaccount:failover:failover', 'system:serviceaccount:eth:gate', \
                   'system:serviceaccount:cosmos:gate']";
    assert!(provider.contains(trusted), "{provider}");
    let acts = ran.one("iam service-accounts add-iam-policy-binding").join(" ");
    assert!(acts.contains("failover:failover") && !acts.contains("gate"), "no gate acts as the watcher: {acts}");
}

#[test]
fn a_gate_of_an_earlier_run_stays_trusted_and_an_earlier_watcher_does_not() {
    let trusted = "assertion.sub in ['system:serviceaccount:old:watcher', 'system:serviceaccount:eth:gate', \
                   'system:serviceaccount:cosmos:gate']\n";
    let folder = tempfile::tempdir().unwrap();
    let jwks = folder.path().join("jwks.json");
    std::fs::write(&jwks, super::JWKS).unwrap();
    let keys = ["--jwks", jwks.to_str().unwrap(), "--issuer", "https://home"];
    let options = [&["--operator", "user:me@example.org", "--gate", "eth:gate", "--validator", "eth-0"], &keys[..]];
    let ran = run_among("setup.sh", "present", &[("trusted", trusted)], &options.concat());
    assert_eq!(ran.status, 0, "{}", ran.err);
    let provider = ran.one("iam workload-identity-pools providers update-oidc").join(" ");
    let now = trusted.trim().replace("old:watcher", "failover:failover");
    assert!(provider.contains(&now), "{provider}");
}

#[test]
fn a_gate_without_a_validator_or_with_the_watchers_own_account_is_refused() {
    let wrong: [&[&str]; 6] = [
        &["--gate", "eth:gate"],
        &["--validator", "eth-0"],
        &["--gate", "eth:gate", "--validator", "eth-0", "--gate", "b:c"],
        &["--gate", "eth:gate", "--validator", "a/b"],
        &["--gate", "failover:failover", "--validator", "eth-0"],
        &["--gate", "eth:gate", "--validator", "eth-0", "--no-federation"],
    ];
    for options in wrong {
        let ran = setup("absent", options);
        assert_eq!((ran.status, ran.calls.len()), (2, 0), "{options:?}: {}", ran.err);
    }
}

#[test]
fn the_bucket_is_never_where_the_ladder_begins() {
    let placed = |options: &[&str]| {
        let ran = setup("absent", options);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let made = ran.one("storage buckets create").clone();
        made[made.iter().position(|word| word == "--location").unwrap() + 1].clone()
    };
    assert_eq!(placed(&[]), "us-east1");
    assert_eq!(placed(&["--regions", "us-central1,europe-west4,us-west1"]), "europe-west4");
    assert_eq!(placed(&["--regions", "europe-west1"]), "europe-west4");
    assert_eq!(placed(&["--regions", "us-east1", "--bucket-region", "us-south1"]), "us-south1");
    for options in [&["--bucket-region", "us-central1"][..], &["--regions", "asia-east1"]] {
        let ran = setup("absent", options);
        assert_eq!((ran.status, ran.calls.len()), (2, 0), "{options:?}: {}", ran.err);
        assert!(ran.err.contains("--bucket-region"), "{}", ran.err);
    }
    // One that is there stays where it is, and people are warned.
    let there = setup("present", &[]);
    assert!(there.err.contains("WARNING") && there.err.contains("us-central1"), "{}", there.err);
    assert!(!setup("present", &["--regions", "europe-west1"]).err.contains("WARNING"));
}

#[test]
fn taking_away_takes_what_watcher_and_gates_may_do_with_a_ledger_that_stays() {
    let watcher = "serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com";
    let gate = format!("{POOL}/subject/system:serviceaccount:eth:gate");
    let policy = format!(
        "roles/storage.objectUser\t{watcher}\nroles/storage.objectViewer\t{watcher}\n\
         roles/storage.objectViewer\t{gate}\nroles/storage.objectUser\t{gate}\nroles/storage.objectUser\t{gate}\n\
         roles/storage.objectUser\tuser:me@example.org\nroles/storage.legacyBucketOwner\tprojectOwner:my-failover\n"
    );
    let ran = run_among("teardown.sh", "present", &[("policy", &policy)], &[]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let removed: Vec<_> = ran.changes().into_iter().filter(|call| call.contains("storage")).collect();
    let removal = |role: &str, member: &str| {
        format!(
            "storage buckets remove-iam-policy-binding gs://my-failover-failover --member {member} --role \
             roles/storage.{role} --all --format none"
        )
    };
    let mut wanted = vec![
        removal("objectUser", &gate),
        removal("objectUser", watcher),
        removal("objectViewer", &gate),
        removal("objectViewer", watcher),
    ];
    wanted.sort();
    let mut sorted = removed.clone();
    sorted.sort();
    assert_eq!(sorted, wanted, "yours stays: {removed:#?}");
    let gone = run("teardown.sh", "absent", "", &[]);
    assert_eq!((gone.status, gone.changes()), (0, Vec::new()), "{}", gone.err);
}
