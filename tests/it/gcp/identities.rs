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
    let wrong: [&[&str]; 8] = [
        &["--gate", "failover-watcher", "--validator", "eth-0"],
        &["--gate", "failover-gate-with-a-name-too-long", "--validator", "eth-0"],
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
fn a_witness_gets_the_watchers_identity_and_is_nobodys_standby() {
    let witness = "compute instances create failover-witness";
    let subnet = "compute networks subnets create failover --project my-failover --region us-east1 ";
    let ran = setup("absent", &["--witness", "us-east1-b"]);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let made = ran.one(witness).join(" ");
    for words in [
        "--zone us-east1-b --machine-type e2-micro",
        "--service-account failover-watcher@my-failover.iam.gserviceaccount.com --scopes cloud-platform",
        "--tags failover-ssh",
    ] {
        assert!(made.contains(words), "{words}: {made}");
    }
    // What the watcher lists and deletes has this label, and what it may delete begins so.
    assert!(!made.contains("app=failover") && !made.contains("create fo-"), "{made}");
    ran.one(subnet);
    let known = setup("absent", &["--regions", "us-central1,us-east1", "--witness", "us-east1-b"]);
    assert!(known.one(subnet).join(" ").contains("10.64.1.0/24"), "the ladder's own subnetwork");
    assert!(setup("present", &["--witness", "us-east1-b"]).changes().iter().all(|call| !call.starts_with(witness)));
    assert!(setup("absent", &[]).changes().iter().all(|call| !call.contains("failover-witness")));

    for zone in ["us-central1-b", "us-east1", "attic"] {
        let ran = setup("absent", &["--witness", zone]);
        assert_eq!((ran.status, ran.calls.len()), (2, 0), "{zone}: {}", ran.err);
    }
    let gone = run_among("teardown.sh", "present", &[], &["--witness", "us-east1-b"]);
    assert_eq!(gone.status, 0, "{}", gone.err);
    gone.one("compute instances delete failover-witness --project my-failover --zone us-east1-b");
    gone.one("compute networks subnets delete failover --project my-failover --region us-east1 ");
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

#[test]
fn a_gate_in_no_cluster_has_an_account_of_its_own_and_the_same_rights() {
    let gate = ["--gate", "failover-gate-eth-0", "--validator", "eth-0"];
    let ran = setup("absent", &gate);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let account = "failover-gate-eth-0@my-failover.iam.gserviceaccount.com";
    let on =
        format!("storage buckets add-iam-policy-binding gs://my-failover-failover --member serviceAccount:{account}");
    let session = "resource.name == \"projects/_/buckets/my-failover-failover/objects/home/sessions/eth-0\"";
    let its: Vec<_> = ran.changes().into_iter().filter(|call| call.contains("failover-gate-eth-0")).collect();
    assert_eq!(
        its,
        [
            "iam service-accounts create failover-gate-eth-0 --project my-failover --display-name failover gate"
                .to_owned(),
            format!("{on} --role roles/storage.objectViewer --condition None --format none"),
            format!(
                "{on} --role roles/storage.objectUser --condition title=session-of-eth-0,expression={session} --format none"
            ),
        ]
    );
    // The cluster's tokens are not trusted for it, and it needs no cluster.
    let provider = ran.one("iam workload-identity-pools providers create-oidc").join(" ");
    assert!(provider.contains("assertion.sub == 'system:serviceaccount:failover:failover'"), "{provider}");
    assert!(!ran.out.contains("For each gate"), "{}", ran.out);
    assert_eq!(setup("absent", &[&gate[..], &["--no-federation"]].concat()).status, 0);
    let there = setup("present", &gate);
    assert!(there.changes().iter().all(|call| !call.contains("service-accounts create")), "{:?}", there.changes());

    let policy = format!(
        "roles/storage.objectViewer\tserviceAccount:{account}\nroles/storage.objectUser\tserviceAccount:{account}\n"
    );
    for (options, bindings) in [(&[][..], 2), (&["--delete-ledger"], 0)] {
        let ran = run_among("teardown.sh", "present", &[("policy", &policy)], options);
        assert_eq!(ran.status, 0, "{}", ran.err);
        let its: Vec<_> = ran.changes().into_iter().filter(|call| call.contains(account)).collect();
        assert_eq!(its.len(), bindings + 1, "{its:#?}");
        assert_eq!(its[bindings], format!("iam service-accounts delete {account} --project my-failover --quiet"));
    }
}

/// Who may write what is the union of all bindings: one that an earlier version left makes the narrower one worth nothing.
#[test]
fn what_an_earlier_version_allowed_the_watcher_is_taken_away_once_the_new_is_there() {
    let watcher = "serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com";
    let role = "projects/my-failover/roles/failoverWatcher";
    let object =
        |name: &str| format!(r#"!resource.name.startsWith("projects/_/buckets/my-failover-failover/objects/{name}")"#);
    let earlier = object("home/owners/");
    let machines = r#"resource.type != "compute.googleapis.com/Instance" || resource.name.extract("/instances/{name}").startsWith("fo-")"#;
    // What the present version binds, as it says itself.
    let fresh = setup("absent", &[]);
    let now = |start: &str| {
        let call = fresh.one(start);
        let condition = &call[call.iter().position(|word| word == "--condition").unwrap() + 1];
        condition.split_once(",expression=").unwrap().1.to_owned()
    };
    let own = now(&format!("projects add-iam-policy-binding my-failover --member {watcher} --role {role} "));
    let on_bucket = fresh.changes().into_iter().find(|call| call.contains("what-a-watcher-writes")).unwrap();
    let written = on_bucket.split_once(",expression=").unwrap().1.split(" --format").next().unwrap().to_owned();
    let within_another = written.replace("/objects/home/", "/objects/office/");
    let of_another = |title: &str| title.replace("-in-home", "-in-office");
    let title = "what-a-watcher-writes-in-home";
    let all_but = ["owners", "sessions"].map(|folder| object(&format!("home/{folder}/"))).join(" && ");
    let all_but_anothers = all_but.replace("/objects/home/", "/objects/home/two/");
    let user = "roles/storage.objectUser";
    let policy = [
        format!("{role}\t{watcher}\town-machines\t{machines}"),
        format!("{role}\t{watcher}\town-machines\t{own}"),
        format!("{user}\t{watcher}\tall-but-owners\t{earlier}"),
        format!("{user}\t{watcher}\twhat-a-watcher-writes\t{all_but}"),
        format!("{user}\t{watcher}\t{title}\t{earlier}"),
        format!("{user}\t{watcher}\t{title}\t{written}"),
        // Another site's, which shares the bucket.
        format!("{user}\t{watcher}\t{}\t{within_another}", of_another(title)),
        format!("{user}\t{watcher}\twhat-a-watcher-writes\t{all_but_anothers}"),
        // Not ours, or not the watcher's.
        format!("{user}\t{watcher}\tby-hand\t{earlier}"),
        format!("{user}\tuser:me@example.org"),
        format!("{user}\t{POOL}/subject/system:serviceaccount:eth:gate\tall-but-owners\t{earlier}"),
        format!("roles/storage.objectViewer\t{watcher}"),
    ];
    let options = ["--operator", "user:me@example.org", "--no-federation"];
    let ran = run_among("setup.sh", "present", &[("policy", &format!("{}\n", policy.join("\n")))], &options);
    assert_eq!(ran.status, 0, "{}", ran.err);
    let changes = ran.changes();
    let removed: Vec<_> = changes.iter().filter(|call| call.contains(" remove-iam-policy-binding ")).collect();
    let removal = |on: &str, role: &str, title: &str, expression: &str| {
        format!("{on} --member {watcher} --role {role} --condition title={title},expression={expression} --format none")
    };
    let bucket = "storage buckets remove-iam-policy-binding gs://my-failover-failover";
    assert_eq!(
        removed,
        [
            &removal("projects remove-iam-policy-binding my-failover", role, "own-machines", machines),
            &removal(bucket, user, "all-but-owners", &earlier),
            &removal(bucket, user, "what-a-watcher-writes", &all_but),
            &removal(bucket, user, title, &earlier),
        ]
    );
    let at = |part: &str| changes.iter().position(|call| call.contains(part)).unwrap();
    assert!(at("add-iam-policy-binding my-failover") < at("remove-iam-policy-binding my-failover"));
    assert!(at("title=what-a-watcher-writes-in-home") < at("title=all-but-owners"), "the watcher is never without");
    // One that only says what it is not for opens this site's folders as well, and is the other site's to narrow.
    assert_eq!(ran.err.matches("WARNING: 'what-a-watcher-writes' of another prefix").count(), 1, "{}", ran.err);
}

#[test]
fn an_operator_writes_all_of_the_ledger() {
    let ran = setup("absent", &[]);
    let all: Vec<_> =
        ran.changes().into_iter().filter(|call| call.contains("gs://") && call.contains("user:me")).collect();
    let on = "storage buckets add-iam-policy-binding gs://my-failover-failover --member user:me@example.org";
    assert_eq!(all, [format!("{on} --role roles/storage.objectUser --condition None --format none")]);
}

#[test]
fn what_a_gate_needs_to_be_configured_is_printed_for_it() {
    let ran = setup("absent", &GATES);
    let audience = "//iam.googleapis.com/projects/123456789/locations/global/workloadIdentityPools/failover-home/providers/cluster";
    assert!(
        ran.out.contains(&format!("# {audience}\n")) && ran.out.contains("gs://my-failover-failover/home,"),
        "{}",
        ran.out
    );
    assert!(!setup("absent", &[]).out.contains("gs://"));
}
