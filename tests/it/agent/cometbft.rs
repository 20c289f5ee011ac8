//! A standby of a CometBFT chain: what the agent says of its node, whatever that answers.

use std::sync::Arc;

use failover::{
    adapters::clock::SystemClock,
    agent::{Agent, health::UNKNOWN_HEAD_AGE_SECONDS},
    domain::{Span, Time},
};
use serde_json::{Value, json};

use super::{
    comet::Comet,
    pages::{Fault, Pages},
    rig::{Off, Rig},
};

const NETWORK: &str = "mainnet-beacon-80094";

const UNIT: &str = "failover-generic.service";

fn settings(rpc: &str) -> Value {
    json!({
        "kind": "generic", "beacon": null, "execution": null, "genesis_root": null, "probes": [],
        "node": {"cometbft": {"rpc": rpc, "network": NETWORK}}, "units": [UNIT],
    })
}

async fn in_step() -> (Rig, Pages<Comet>, Agent) {
    let (rig, node) = (Rig::synced().await, Pages::start(Comet::in_step(NETWORK), Comet::answer).await);
    let agent = rig.agent_with(&settings(&node.url), Arc::new(SystemClock));
    (rig, node, agent)
}

#[tokio::test]
async fn a_node_in_step_with_its_chain_reports_everything_that_ready_needs() {
    let (_rig, _node, mut agent) = in_step().await;
    let report = agent.report().await.unwrap();
    assert_eq!((report.progress_percent, report.stage.as_str(), report.synced), (100, "synced", true));
    assert_eq!((report.chain_id.as_deref(), report.genesis_root.as_str(), report.peers), (Some(NETWORK), "", 3));
    assert!((2..30).contains(&report.head_age_seconds) && !report.optimistic, "{report:?}");
    assert_eq!((report.signer_seen, report.signer), (false, None));
    assert_eq!((report.versions["CometBFT"].as_str(), report.versions["application"].as_str()), ("1.0.1", "2.1.0"));
}

#[tokio::test]
async fn whatever_a_node_answers_instead_it_is_not_synced_and_the_stage_says_why() {
    let (_rig, node, mut agent) = in_step().await;
    for (fault, says) in [
        (Fault::Html, "CometBFT sent something that is not JSON-RPC"),
        (Fault::Empty, "CometBFT sent something that is not JSON-RPC"),
        (Fault::Half, "CometBFT sent something that is not JSON-RPC"),
        (Fault::Huge, "CometBFT sent an answer larger than"),
        (Fault::Status(503), "CometBFT answered 503"),
        (Fault::Redirect, "CometBFT answered 302"),
        (Fault::Hang, "CometBFT did not answer in time"),
    ] {
        node.spoil(Some(fault));
        let report = agent.report().await.unwrap();
        assert!(!report.synced && report.progress_percent == 0, "{fault:?}: {report:?}");
        assert_eq!((report.peers, report.head_age_seconds), (0, UNKNOWN_HEAD_AGE_SECONDS), "{fault:?}");
        assert_eq!((report.chain_id, report.signer_seen), (None, false), "{fault:?}");
        assert!(report.signer_hidden.is_some_and(|why| why.contains("voting power")), "{fault:?}");
        assert!(report.stage.starts_with(says), "{fault:?}: {}", report.stage);
    }
    node.spoil(None);
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.signer_hidden), (true, None), "it recovers by itself");
}

#[tokio::test]
async fn nobody_there_is_not_synced() {
    let rig = Rig::synced().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    let mut agent = rig.agent_with(&settings(&url), Arc::new(SystemClock));
    let report = agent.report().await.unwrap();
    assert_eq!((report.synced, report.stage.as_str()), (false, "CometBFT refuses connections"));
    assert_eq!(report.signer_hidden, None, "what does not run does not sign");
    rig.process(900, &["/opt/failover/generic/beacond", "start"], UNIT);
    let report = agent.report().await.unwrap();
    assert!(report.signer_hidden.is_some_and(|why| why.contains("voting power")), "it runs and does not say");
}

#[tokio::test]
async fn a_question_that_is_refused_is_no_answer_whichever_it_is() {
    let (_rig, node, mut agent) = in_step().await;
    for path in ["/status", "/net_info"] {
        node.change(|is| is.refuses = Some(path));
        let report = agent.report().await.unwrap();
        assert!(!report.synced, "{report:?}");
        assert_eq!(report.stage, format!("CometBFT refused {} (the node is busy)", &path[1..]));
    }
    // Its application's version is worth telling, and nothing else.
    node.change(|is| is.refuses = Some("/abci_info"));
    let report = agent.report().await.unwrap();
    assert!(report.synced && !report.versions.contains_key("application"), "{report:?}");
}

#[tokio::test]
async fn a_sync_is_followed_from_its_beginning_to_the_end() {
    let (_rig, node, mut agent) = in_step().await;
    let mut last = 0;
    for (height, age, catching_up, says) in [
        (0, 0, true, "CometBFT has no block yet"),
        (1, 300_000, true, "CometBFT catches up: block 1, 3d 11h behind"),
        (100_000, 100_000, true, "CometBFT catches up: block 100000"),
        (149_000, 2_000, true, "CometBFT catches up: block 149000"),
        (149_999, 70, false, "CometBFT says it is in step, but its head is old: block 149999, 1m"),
        (150_000, 2, false, "synced"),
    ] {
        let latest = Time::now() - Span::from_secs(age);
        node.change(|is| (is.height, is.latest, is.catching_up) = (height, latest, catching_up));
        let report = agent.report().await.unwrap();
        assert!(report.stage.starts_with(says), "{}", report.stage);
        assert_eq!(report.synced, says == "synced");
        assert!(report.progress_percent >= last, "{} after {last}", report.progress_percent);
        last = report.progress_percent;
    }
    assert_eq!(last, 100);
}

#[tokio::test]
async fn a_node_that_stands_still_believes_itself_and_is_not_believed() {
    let (_rig, node, mut agent) = in_step().await;
    assert!(agent.report().await.unwrap().synced);
    node.change(|is| is.latest -= Span::from_secs(120));
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.head_age_seconds >= 120, "{report:?}");
    node.change(|is| is.latest = Time::now() + Span::from_secs(120));
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.stage.starts_with("CometBFT has a head from the future"), "{report:?}");
    assert_eq!(report.head_age_seconds, UNKNOWN_HEAD_AGE_SECONDS);
}

#[tokio::test]
async fn an_old_head_does_not_hide_behind_a_slow_clock() {
    let (rig, node, _) = in_step().await;
    let mut agent = rig.agent_with(&settings(&node.url), Arc::new(Off(Span::from_secs(-120))));
    assert!(agent.report().await.unwrap().synced, "by the right time its head is fresh");
    node.change(|is| is.latest -= Span::from_secs(118));
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.head_age_seconds >= 115, "{report:?}");
}

#[tokio::test]
async fn another_chain_is_said_with_its_name() {
    let (_rig, node, mut agent) = in_step().await;
    node.change(|is| is.network = "bepolia-\u{1b}[31m".into());
    let report = agent.report().await.unwrap();
    assert!(!report.synced && report.progress_percent == 0, "{report:?}");
    assert_eq!(report.chain_id.as_deref(), Some("bepolia- [31m…"));
    assert_eq!(report.stage, format!("CometBFT follows another chain (bepolia- [31m, not {NETWORK})"));
}

#[tokio::test]
async fn a_key_of_its_own_with_a_vote_is_a_signer_beside_whatever_else_is_seen() {
    let (rig, node, mut agent) = in_step().await;
    let (seen, hidden) = ("own key has a voting power of 10", "does not say its key's voting power");
    for (power, seen, hidden) in [
        (json!("10"), Some(seen), None),
        (json!(10), Some(seen), None),
        (json!("many"), None, Some(hidden)),
        (json!(-1), None, Some(hidden)),
        (json!(null), None, Some(hidden)),
    ] {
        node.change(|is| is.voting_power = power.clone());
        let report = agent.report().await.unwrap();
        assert!(report.signer_seen == seen.is_some() && !report.synced, "{power}: {report:?}");
        for (told, says) in [(&report.signer, seen), (&report.signer_hidden, hidden)] {
            assert!(
                told.is_some() == says.is_some() && told.as_deref().unwrap_or("").contains(says.unwrap_or("")),
                "{told:?}"
            );
        }
    }
    rig.process(900, &["/usr/local/bin/tmkms", "start"], "x.service");
    let report = agent.report().await.unwrap();
    assert!(report.signer.unwrap().contains("tmkms") && report.signer_hidden.is_some());
    node.change(|is| is.voting_power = json!("10"));
    let signer = agent.report().await.unwrap().signer.unwrap();
    assert!(signer.contains("voting power") && signer.contains("tmkms"), "{signer}");
    node.change(|is| is.voting_power = json!("0"));
    let report = agent.report().await.unwrap();
    assert!(report.signer_seen && !report.signer.unwrap().contains("voting power"));
}
