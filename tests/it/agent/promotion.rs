//! What the agent says of a machine that a promotion has taken.

use std::{fs, sync::Arc};

use axum::{Json, Router, routing::get};
use failover::{
    adapters::clock::SystemClock,
    agent::Agent,
    domain::{
        Time, ValidatorId,
        gate::{GatePhase, GateStatus, WaitKind},
    },
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use super::rig::Rig;

/// A gate's port, and what it says.
async fn gate(servers: &mut JoinSet<()>) -> (String, watch::Sender<GateStatus>) {
    let why = "grant 6 is not for this boot".to_owned();
    let state = GatePhase::Waiting { why, kind: WaitKind::Grant, since: Time::UNIX_EPOCH, until: None };
    let validator = ValidatorId::new("validator-0").unwrap();
    let (place, version) = ("cloud".into(), "1".into());
    let status = GateStatus { validator, place, version, state, number: Some(6), renewed_at: None, trouble: None };
    let (sender, said) = watch::channel(status);
    let router = Router::new().route("/status", get(move || async move { Json(said.borrow().clone()) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, sender)
}

fn agent(rig: &Rig, gate: &str) -> Agent {
    rig.agent_with(&json!({ "gate": gate }), Arc::new(SystemClock))
}

fn marker(rig: &Rig, settings: &str) {
    let folder = rig.root.path().join("var/lib/failover");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("promoted"), settings).unwrap();
}

#[tokio::test]
async fn a_machine_is_promoted_once_its_playbook_has_succeeded_with_what_its_metadata_say_now() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    rig.metadata.promote(Some("{\"promoted\": {}}"));
    let report = agent.report().await.unwrap();
    assert_eq!((report.promoted, report.gate), (false, None), "the playbook may be at work");
    marker(&rig, "{\"promoted\":{}}\n");
    let report = agent.report().await.unwrap();
    assert!(report.promoted && report.synced && !report.signer_seen, "{report:?}");
    assert_eq!(report.boot_id, "0f3c1e9a-1111-2222-3333-444455556666", "it reports as before");
    assert_eq!(report.gate, None, "a validator of another chain has none");
    // Taken back and taken again with others: nothing on the machine changes any more.
    rig.metadata.promote(None);
    let report = agent.report().await.unwrap();
    assert!(!report.promoted && !report.stage.contains("settings"), "{}", report.stage);
    rig.metadata.promote(Some("{\"promoted\": {\"validator\": \"other\"}}"));
    let report = agent.report().await.unwrap();
    assert!(!report.promoted && report.stage.ends_with("other settings than its metadata have now, and keeps those"));
}

#[tokio::test]
async fn a_gate_that_waits_for_another_boots_grant_is_reported_and_neither_it_nor_its_unit_is_a_signer() {
    let rig = Rig::synced().await;
    let mut servers = JoinSet::new();
    let (url, said) = gate(&mut servers).await;
    let mut agent = agent(&rig, &url);
    let unit = "failover-gate-validator-0.service";
    for folder in ["etc/systemd/system", "etc/systemd/system/multi-user.target.wants"] {
        fs::create_dir_all(rig.root.path().join(folder)).unwrap();
        fs::write(rig.root.path().join(folder).join(unit), "").unwrap();
    }
    fs::create_dir_all(rig.root.path().join("opt/failover/prysm")).unwrap();
    fs::write(rig.root.path().join("opt/failover/prysm/validator"), "").unwrap();
    let client = "/opt/failover/prysm/validator";
    rig.process(300, &["/usr/local/bin/failover-gate", "run", "--", client, "--wallet-dir=/x"], unit);
    assert_eq!(agent.report().await.unwrap().gate, None, "nobody is asked before it is promoted");
    marker(&rig, "{}");
    rig.metadata.promote(Some("{}"));
    let report = agent.report().await.unwrap();
    let words = report.gate.unwrap();
    assert!(words.starts_with("needs regrant: validator-0 at cloud waits since"), "{words}");
    assert!(words.contains("grant 6 is not for this boot"), "{words}");
    assert_eq!((report.signer_seen, report.signer, report.promoted), (false, None, true));

    said.send_modify(|status| status.state = GatePhase::Running { since: Time::UNIX_EPOCH, until: None });
    rig.process(301, &[client, "--wallet-dir=/x"], &format!("{unit}/failover-gate-300"));
    let report = agent.report().await.unwrap();
    assert_eq!(report.gate, None);
    assert_eq!(report.signer.as_deref(), Some("process prysm validator of failover-gate-validator-0.service"));

    servers.shutdown().await;
    let words = agent.report().await.unwrap().gate.unwrap();
    assert!(words.starts_with("the gate says nothing: http://127.0.0.1:"), "{words}");
}
