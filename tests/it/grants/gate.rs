//! What a gate says is read, whatever it is; `failover check` asks it.

use std::time::Duration;

use axum::{Router, response::Redirect, routing::get};
use failover::{
    adapters::{gate_status, http},
    domain::{
        Time,
        gate::{GatePhase, GateStatus, WaitKind},
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::rig::{Office, can_sign, eth};
use crate::support::endless::Endless;

async fn gate(body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let router = Router::new().route("/status", get(move || std::future::ready(body.clone())));
        axum::serve(listener, router).await
    });
    url
}

fn status(state: GatePhase) -> GateStatus {
    let (version, place) = ("0.1.0".into(), "home".into());
    GateStatus { validator: eth(), place, version, state, number: Some(1), renewed_at: None, trouble: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_the_gate_says_and_that_a_file_is_no_ledger_for_a_cluster() {
    if !can_sign() {
        return;
    }
    let (since, until) = (Time::UNIX_EPOCH, None);
    let running = status(GatePhase::Running { since, until });
    let why = "two silent epochs".into();
    let waiting = status(GatePhase::Waiting { why, kind: WaitKind::Duties, since, until: Some(Time::UNIX_EPOCH) });
    let trouble = GateStatus { trouble: Some("the ledger is silent".into()), ..running.clone() };
    let other = GateStatus { validator: failover::domain::ValidatorId::new("eth-1").unwrap(), ..running.clone() };
    let text = |status: &GateStatus| serde_json::to_string(status).unwrap();
    for (body, state, words) in [
        (text(&running), "ok", "it runs"),
        (text(&waiting), "warning", "it waits: two silent epochs"),
        (text(&trouble), "warning", "the ledger is silent"),
        (text(&other), "problem", "is the gate of eth-1"),
        ("no gate".into(), "problem", "127.0.0.1"),
        ("x".repeat(1 << 20), "problem", "127.0.0.1"),
    ] {
        let url = gate(body).await;
        let office = Office::with("").unwrap();
        let with_gate = office.text.replace("kind: ethereum,", &format!("kind: ethereum, gate: {{url: '{url}'}},"));
        office.house.write(&with_gate);
        let checked = tokio::task::block_in_place(|| office.house.run(&["check", "--json"]));
        let said: Value = serde_json::from_str(&checked.out).unwrap();
        let groups = said["groups"].as_array().unwrap();
        let group = groups.iter().find(|group| group["group"] == "grants").unwrap();
        let find = |subject: &str| {
            let findings = group["findings"].as_array().unwrap();
            findings.iter().find(|finding| finding["subject"] == subject).unwrap().clone()
        };
        let seen = find("gate of eth-0");
        assert_eq!(seen["state"], state, "{seen}");
        assert!(seen["detail"].as_str().unwrap().contains(words), "{seen}");
        assert_eq!(find("grant of eth-0")["state"], "problem", "the gate starts nothing without one");
        assert_eq!(find("gate")["state"], "warning");
        assert!(find("grants.allowed_signers")["detail"].as_str().unwrap().contains("2 keys"));
    }
}

#[tokio::test]
async fn what_is_no_gates_status_is_unknown_in_bounded_time_and_memory() {
    let client = http::client(Duration::from_millis(500)).unwrap();
    let read = async |url: String| gate_status::read(&client, &url.parse().unwrap()).await;
    let running = status(GatePhase::Running { since: Time::UNIX_EPOCH, until: None });
    let as_json = |status: &GateStatus| serde_json::to_value(status).unwrap();
    assert_eq!(read(gate(as_json(&running).to_string()).await).await, Ok(running.clone()));

    let mut other = as_json(&running);
    (other["version"], other["state"]) = (json!("9.0.0\u{1b}[2J"), json!("hovering"));
    for (body, words) in [
        (other.to_string(), "is a gate of version 9.0.0"),
        ("{\"state\": \"\u{1b}[2J\nhovering\"}".into(), "sends something else than a gate's status"),
        (format!("{}1{}", "[".repeat(5000), "]".repeat(5000)), "sends something else"),
        ("x".repeat(1 << 20), "sent an answer larger than"),
    ] {
        let why = read(gate(body).await).await.unwrap_err();
        assert!(why.contains(words) && why.chars().count() < 400, "{why}");
        assert!(!why.contains(['\n', '\u{1b}']), "{why:?}");
    }

    let endless = Endless::http("application/json", "{\"why\": \"", "x").await;
    assert!(read(endless.url()).await.unwrap_err().contains("sent an answer larger"));

    // A redirect leads to nobody, even where a gate is.
    let target = format!("{}/status", gate(as_json(&running).to_string()).await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route("/status", get(move || std::future::ready(Redirect::temporary(&target))));
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    assert!(read(url).await.unwrap_err().contains("answers 307: correct `gate.url`"));
    server.abort();

    // Connected, and nothing comes.
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let why = read(format!("http://{}", hangs.local_addr().unwrap())).await.unwrap_err();
    assert!(why.contains("did not answer in time"), "{why}");
}
