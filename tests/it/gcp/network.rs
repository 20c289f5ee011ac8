//! `failover check` on the network: what it says of a firewall that is too open or too closed, and of what it may not see.

use std::sync::Arc;

use failover::{
    adapters::{clock::SystemClock, gce::Gce},
    assembly, config,
    domain::Span,
    ports::{Finding, FindingState},
    sandbox::compute::FakeCompute,
};
use serde_json::{Value, json};

struct Rig {
    fake: FakeCompute,
    gce: Arc<Gce>,
}

/// A standby for Ethereum with its default ports, and one rung in each of two regions.
async fn rig(compute: &str) -> Rig {
    let zones = ["us-central1-b", "europe-west4-b"];
    let fake = FakeCompute::start(&zones, Span::from_millis(1), Arc::new(SystemClock)).await.unwrap();
    let digest = "a".repeat(64);
    let file = |name: &str| format!("{{url: \"https://example.org/{name}\", sha256: {digest}}}");
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: l.sqlite}}}}\nvalidators:\n  - {{name: eth-0, kind: ethereum, public_keys: \
         [\"{}\"]}}\nstandby:\n  failover: {}\n  ethereum:\n    checkpoint_sync_url: \"https://example.org\"\n    geth: {}\n    lighthouse: {}\ncompute:\n  project: \
         home-failover\n  endpoint: \"{}\"\n  credentials: anonymous\n  tags: [failover-p2p]\n  ladder:\n{}{compute}",
        super::KEY,
        file("failover"),
        file("geth"),
        file("lighthouse"),
        fake.url(),
        zones.map(|zone| format!("    - {{zone: {zone}, machine_type: n2-standard-8}}\n")).concat(),
    );
    let checks = config::Checks { files: false, ..config::Checks::default() };
    let (config, _) = config::parse(&text, "failover.yaml", &checks).unwrap_or_else(|error| panic!("{error}"));
    Rig { gce: assembly::cloud::cloud(&config).await.unwrap().unwrap(), fake }
}

impl Rig {
    async fn findings(&self, about: &str) -> Vec<Finding> {
        let all = self.gce.check().await;
        all.into_iter().filter(|finding| finding.subject.contains(about)).collect()
    }

    async fn firewall(&self, rules: &[Value]) -> Vec<(FindingState, String)> {
        self.fake.set_firewall(rules);
        let found = self.findings("firewall of").await;
        found.into_iter().map(|finding| (finding.state, finding.detail)).collect()
    }
}

const ALL: [&str; 1] = ["0.0.0.0/0"];

fn allow(protocol: &str, ports: &[&str]) -> Value {
    json!({"IPProtocol": protocol, "ports": ports})
}

/// What `setup.sh` makes.
fn peers() -> Value {
    let ports = ["30303", "9000", "9001"];
    let allowed = [allow("tcp", &ports), allow("udp", &ports)];
    json!({"name": "failover-p2p", "allowed": allowed, "sourceRanges": ALL, "targetTags": ["failover-p2p"]})
}

#[tokio::test]
async fn peers_come_in_and_ssh_does_not_is_well() {
    let rig = rig("  subnetwork: failover\n").await;
    let found = rig.firewall(&[peers()]).await;
    assert!(matches!(&found[..], [(FindingState::Ok, detail)] if detail.contains("open to peers")), "{found:?}");
    let subnetworks = rig.findings("subnetwork").await;
    assert_eq!(subnetworks.len(), 2, "one in each region: {subnetworks:?}");
    assert!(subnetworks.iter().all(|finding| finding.state == FindingState::Ok), "{subnetworks:?}");
}

#[tokio::test]
async fn ssh_from_the_whole_internet_is_a_warning_however_it_is_open() {
    let rig = rig("").await;
    let open = |warned: &[(FindingState, String)]| {
        warned.iter().any(|(state, detail)| *state == FindingState::Warning && detail.contains("ssh is open"))
    };
    let everything = json!({"name": "all", "allowed": [{"IPProtocol": "all"}], "sourceRanges": ["::/0"]});
    let range = json!({"name": "range", "allowed": [allow("tcp", &["20-25"])], "sourceRanges": ALL});
    let anyone = json!({"name": "anyone", "allowed": [allow("6", &["22"])], "sourceRanges": []});
    for rule in [everything, range.clone(), anyone] {
        assert!(open(&rig.firewall(&[peers(), rule.clone()]).await), "{rule}");
    }
    let with = |key: &str, value: Value| {
        let mut rule = range.clone();
        rule[key] = value;
        rule
    };
    let closed = [
        vec![with("sourceRanges", json!(["35.235.240.0/20"]))],
        vec![with("disabled", json!(true))],
        vec![with("direction", json!("EGRESS"))],
        vec![with("targetTags", json!(["another"]))],
        vec![with("network", json!("projects/p/global/networks/another"))],
        vec![with("targetServiceAccounts", json!(["a@b.c"]))],
        vec![
            range.clone(),
            json!({"name": "no", "denied": [{"IPProtocol": "tcp"}], "sourceRanges": ALL, "priority": 1000}),
        ],
    ];
    for mut rules in closed {
        if rules.len() == 1 {
            rules.push(peers());
        }
        assert!(!open(&rig.firewall(&rules).await), "{rules:?}");
    }
}

#[tokio::test]
async fn a_port_that_peers_need_and_cannot_reach_is_named() {
    let rig = rig("").await;
    let found = rig.firewall(&[]).await;
    assert!(
        matches!(&found[..], [(FindingState::Warning, detail)] if detail.contains("tcp 30303") && detail.contains("udp 9000")),
        "{found:?}"
    );
    let no_udp = json!({"name": "no-udp", "denied": [allow("udp", &["9000"])], "sourceRanges": ALL, "priority": 900});
    let found = rig.firewall(&[peers(), no_udp]).await;
    assert!(
        matches!(&found[..], [(FindingState::Warning, detail)] if detail.contains("peers: udp 9000;")),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_may_not_be_seen_is_unknown_and_only_that() {
    let rig = rig("  subnetwork: failover\n").await;
    rig.fake.deny("compute.firewalls.list");
    let found = rig.firewall(&[peers()]).await;
    assert!(
        matches!(&found[..], [(FindingState::Unknown, detail)] if detail.contains("compute.firewalls.list")),
        "{found:?}"
    );
    let permissions = rig.findings("permissions").await;
    assert!(permissions.iter().all(|finding| finding.state != FindingState::Problem), "it can act: {permissions:?}");
    rig.fake.deny("compute.subnetworks.get");
    let found = rig.findings("subnetwork").await;
    assert!(found.iter().all(|finding| finding.state == FindingState::Unknown), "{found:?}");
}

#[tokio::test]
async fn a_region_without_the_subnetwork_would_fail_on_the_day() {
    let rig = rig("  subnetwork: failover\n").await;
    rig.fake.set_bare("europe-west4");
    let found = rig.findings("subnetwork").await;
    let states: Vec<_> = found.iter().map(|finding| finding.state).collect();
    assert_eq!(states, [FindingState::Ok, FindingState::Problem], "{found:?}");
    let fixed = self::rig("  subnetwork: regions/us-central1/subnetworks/failover\n").await;
    let found = fixed.findings("subnetwork").await;
    let remedy = found[1].remedy.clone().unwrap();
    assert!(found[1].state == FindingState::Problem && remedy.contains("the name alone"), "{found:?}");
}

#[tokio::test]
async fn a_quota_that_is_too_small_is_named_with_what_is_needed() {
    let rig = rig("").await;
    rig.fake.set_quota("SSD_TOTAL_GB", 500.0);
    let found = rig.findings("quotas of us-central1").await;
    let bad: Vec<_> = found.iter().filter(|finding| finding.state == FindingState::Problem).collect();
    assert!(bad.len() == 1 && bad[0].detail.contains("SSD_TOTAL_GB: 0 of 500 used, a standby needs 2098"), "{found:?}");
}
