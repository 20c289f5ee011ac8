//! `docs/gcp/setup.sh` and `teardown.sh`, run with Google's own `gcloud` against a server on this machine: each command,
//! option and file is read by Google's parser, and what it then asks is looked at.
//!
//! `gcloud` is no part that can be installed by anybody: it has to be on the PATH.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

use failover::adapters::gce::{KEPT_PERMISSIONS, LOOKED_AT, PERMISSIONS, PROMOTION_PERMISSIONS};
use serde_json::json;

mod google;

use google::{Google, NUMBER};

const JWKS: &str = r#"{"keys":[{"use":"sig","kty":"RSA","kid":"k","alg":"RS256","n":"AQAB","e":"AQAB"}]}"#;
const SERVICES: [&str; 7] =
    ["COMPUTE", "IAM", "STORAGE", "CLOUDRESOURCEMANAGER", "SERVICEUSAGE", "CLOUDBILLING", "CLOUDQUOTAS"];

struct Rig {
    google: Google,
    folder: tempfile::TempDir,
}

impl Rig {
    async fn run(&self, script: &str, more: &[&str]) -> Output {
        let own = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/gcp").join(script));
        command.args(["--project", "my-failover", "--regions", "us-central1,europe-west4"]).args(more);
        command
            .env("CLOUDSDK_CONFIG", self.folder.path())
            .env("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", own("token", "a-token"))
            .env("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
            .env("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1")
            .env("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1")
            .env("FAILOVER_PAUSE", "0");
        for service in SERVICES {
            let path = match service {
                "COMPUTE" => "/compute/v1/",
                "STORAGE" => "/storage/v1/",
                _ => "/",
            };
            command.env(format!("CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}"), format!("{}{path}", self.google.url));
        }
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn setup(&self) -> String {
        let jwks = self.folder.path().join("jwks.json");
        fs::write(&jwks, JWKS).unwrap();
        let jwks = jwks.to_str().unwrap();
        let options = ["--operator", "user:me@example.org", "--billing-account", "000000-000000-000000", "--deny"];
        let options = [&options[..], &["--gate", "eth:gate", "--validator", "eth-0", "--validator", "eth-1"]].concat();
        let options = [&options[..], &["--gate", "failover-gate-btc", "--validator", "btc"]].concat();
        let options = [&options[..], &["--witness", "us-east1-b"]].concat();
        let output =
            self.run("setup.sh", &[&options[..], &["--jwks", jwks, "--issuer", "https://home"]].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn googles_own_gcloud_makes_the_project_leaves_it_and_takes_it_away() {
    let found = Command::new("gcloud").arg("--version").output();
    assert!(found.is_ok_and(|output| output.status.success()), "gcloud is not on the PATH: install google-cloud-cli");
    let rig = Rig { google: Google::start().await, folder: tempfile::tempdir().unwrap() };
    let google = &rig.google;

    rig.setup().await;
    let made = google.there();
    looked_at(google);
    assert!(!google.changes().is_empty());

    // Again, over what an earlier version had bound to the watcher: that goes, and nothing is made a second time.
    let watcher = "serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com";
    let wider = r#"!resource.name.startsWith("projects/_/buckets/my-failover-failover/objects/home/owners/")"#;
    google.bind("/b/my-failover-failover/iam", "roles/storage.objectUser", watcher, "all-but-owners", wider);
    let machines = r#"resource.type != "compute.googleapis.com/Instance" || resource.name.extract("/instances/{name}").startsWith("fo-")"#;
    google.bind(
        "/projects/my-failover",
        "projects/my-failover/roles/failoverWatcher",
        watcher,
        "own-machines",
        machines,
    );
    let printed = rig.setup().await;
    assert_eq!(google.there(), made);
    looked_at(google);
    let created: Vec<_> = google.changes().into_iter().filter(|change| change.starts_with("POST")).collect();
    assert!(created.iter().all(|change| change.ends_with(":batchEnable")), "{created:?}");
    assert!(printed.contains(&format!("projects/{NUMBER}/locations/global/workloadIdentityPools/failover-home")));

    let output = rig.run("teardown.sh", &["--deny", "--witness", "us-east1-b"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let left = google.there();
    assert_eq!(left.len(), 3, "the project, its bucket, and the provider of a deleted pool: {left:?}");
    assert!(google.bindings("/projects/my-failover").iter().all(|(_, member, _)| !member.contains("failover-watcher")));
    let mine = google.bindings("/b/my-failover-failover/iam");
    assert!(mine.len() == 1 && mine[0].1 == "user:me@example.org", "what is yours stays: {mine:?}");

    // What Google keeps for a while is taken back.
    rig.setup().await;
    assert_eq!(google.there(), made);
}

fn looked_at(google: &Google) {
    let rule = google.resource("/global/firewalls/failover-p2p");
    let allowed = json!([
        {"IPProtocol": "tcp", "ports": ["30303"]}, {"IPProtocol": "udp", "ports": ["30303"]},
        {"IPProtocol": "tcp", "ports": ["9000"]}, {"IPProtocol": "udp", "ports": ["9000"]},
    ]);
    assert_eq!((&rule["allowed"], &rule["sourceRanges"]), (&allowed, &json!(["0.0.0.0/0"])), "{rule}");
    assert_eq!((&rule["targetTags"], &rule["direction"]), (&json!(["failover-p2p"]), &json!("INGRESS")));
    let rule = google.resource("/global/firewalls/failover-ssh-iap");
    assert_eq!(rule["allowed"], json!([{"IPProtocol": "tcp", "ports": ["22"]}]), "{rule}");
    assert_eq!((&rule["sourceRanges"], &rule["targetTags"]), (&json!(["35.235.240.0/20"]), &json!(["failover-ssh"])));
    assert_eq!(google.resource("/global/networks/failover")["autoCreateSubnetworks"], false);
    let witness = google.resource("/zones/us-east1-b/instances/failover-witness");
    let identity = &witness["serviceAccounts"][0];
    assert_eq!(identity["email"], "failover-watcher@my-failover.iam.gserviceaccount.com", "{witness}");
    assert_eq!(identity["scopes"], json!(["https://www.googleapis.com/auth/cloud-platform"]), "{witness}");
    assert!(witness.get("labels").is_none() && witness["tags"]["items"] == json!(["failover-ssh"]), "{witness}");
    assert_eq!(google.resource("/europe-west4/subnetworks/failover")["ipCidrRange"], "10.64.1.0/24");

    let granted = |role: &str| -> BTreeSet<String> {
        let role = google.resource(&format!("/roles/{role}"));
        role["includedPermissions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let set = |permissions: &[&str]| -> BTreeSet<String> { permissions.iter().copied().map(str::to_owned).collect() };
    assert_eq!(granted("failoverWatcher"), set(&[PERMISSIONS, LOOKED_AT].concat()));
    assert_eq!(granted("failoverReader"), set(KEPT_PERMISSIONS));
    assert!(granted("failoverOperator").is_superset(&set(PROMOTION_PERMISSIONS)));

    let watcher = "serviceAccount:failover-watcher@my-failover.iam.gserviceaccount.com".to_owned();
    let of = |kind: &str, name: &str| {
        format!(
            r#"(resource.type != "compute.googleapis.com/{kind}" || resource.name.extract("{name}").startsWith("fo-"))"#
        )
    };
    let own = format!("{} && {}", of("Instance", "/instances/{name}"), of("Disk", "/disks/{name}"));
    let kept = r#"resource.type == "compute.googleapis.com/Instance" && resource.name.extract("/instances/{name}").startsWith("kept-")"#;
    let kept = kept.to_owned();
    let me = "user:me@example.org".to_owned();
    let project = google.bindings("/projects/my-failover");
    let role = |name: &str| format!("projects/my-failover/roles/{name}");
    assert_eq!(
        project,
        [
            (role("failoverWatcher"), watcher.clone(), own),
            (role("failoverReader"), watcher.clone(), kept),
            (role("failoverOperator"), me.clone(), String::new()),
            ("roles/iap.tunnelResourceAccessor".into(), me.clone(), "destination.port == 22".into()),
            ("roles/compute.osAdminLogin".into(), me.clone(), String::new()),
        ]
    );

    let bucket = google.resource("/b/my-failover-failover");
    assert_eq!(bucket["softDeletePolicy"]["retentionDurationSeconds"], (30 * 86_400).to_string(), "{bucket}");
    assert_eq!(bucket["iamConfiguration"]["publicAccessPrevention"], "enforced", "{bucket}");
    assert_eq!(bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"], true, "{bucket}");
    assert_eq!(bucket["versioning"]["enabled"], false, "{bucket}");
    assert!(bucket["retentionPolicy"].is_null(), "{bucket}");
    assert_eq!(bucket["location"], "europe-west4", "{bucket}");
    let object = |name: &str| format!(r#""projects/_/buckets/my-failover-failover/objects/home/{name}""#);
    let withheld = ["owners/", "sessions/", "promotions/"]
        .map(|folder| format!("!resource.name.startsWith({})", object(folder)))
        .join(" && ");
    let writes = format!("resource.name.startsWith({}) && {withheld}", object(""));
    let pool = format!(
        "principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/failover-home"
    );
    let gate = format!("{pool}/subject/system:serviceaccount:eth:gate");
    let session = |validator: &str| format!("resource.name == {}", object(&format!("sessions/{validator}")));
    let elsewhere = "serviceAccount:failover-gate-btc@my-failover.iam.gserviceaccount.com".to_owned();
    let mut ledger = google.bindings("/b/my-failover-failover/iam");
    ledger.sort();
    let storage = |name: &str| format!("roles/storage.{name}");
    assert_eq!(
        ledger,
        [
            (storage("legacyBucketReader"), watcher.clone(), String::new()),
            (storage("objectUser"), gate.clone(), session("eth-0")),
            (storage("objectUser"), gate.clone(), session("eth-1")),
            (storage("objectUser"), elsewhere.clone(), session("btc")),
            (storage("objectUser"), watcher.clone(), writes),
            (storage("objectUser"), me, String::new()),
            (storage("objectViewer"), gate, String::new()),
            (storage("objectViewer"), elsewhere, String::new()),
            (storage("objectViewer"), watcher, String::new()),
        ]
    );

    let provider = google.resource("/providers/cluster");
    let trusted = "assertion.sub in ['system:serviceaccount:failover:failover', 'system:serviceaccount:eth:gate']";
    assert_eq!(provider["attributeCondition"], trusted);
    assert_eq!((&provider["oidc"]["issuerUri"], &provider["oidc"]["jwksJson"]), (&json!("https://home"), &json!(JWKS)));
    assert_eq!(provider["attributeMapping"], json!({"google.subject": "assertion.sub"}));
    let subject = format!("{pool}/subject/system:serviceaccount:failover:failover");
    let user = "roles/iam.workloadIdentityUser".to_owned();
    let acts = google.bindings("/serviceAccounts/failover-watcher@my-failover.iam.gserviceaccount.com");
    assert_eq!(acts, [(user, subject, String::new())]);

    let deny = google.resource("/denypolicies/failover-promoted");
    let rule = &deny["rules"][0]["denyRule"];
    let tag = "resource.matchTag('my-failover/failover', 'promoted')";
    assert_eq!(rule["denialCondition"]["expression"], tag, "{deny}");
    let identity = "principal://iam.googleapis.com/projects/-/serviceAccounts/failover-watcher@my-failover.iam.gserviceaccount.com";
    assert_eq!(rule["deniedPrincipals"], json!([identity]), "{deny}");
}
