//! The watcher beside a real gate: it sees what that waits for, and believes no other.

use std::{path::Path, time::Duration};

use failover::{
    assembly::Watcher,
    config::{self, Checks},
    domain::Span,
    runtime::{Handle, status::SignalStatus},
};
use tokio_util::sync::CancellationToken;

use super::program::Home;

const ROOT: &str = "0x9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1";

/// Two validators, both with the address of this gate.
async fn watcher(folder: &Path, url: &str) -> Watcher {
    let validator = |number: usize| {
        format!(
            "  - {{name: eth-{number}, kind: ethereum, public_keys: ['0x{:096x}'], gate: {{url: '{url}'}}}}\n",
            number + 7
        )
    };
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: watcher.sqlite}}}}\nhttp: {{listen: '127.0.0.1:0'}}\n\
         grants: {{allowed_signers: allowed_signers}}\n\
         ethereum: {{beacon_nodes: [{{name: a, url: 'http://127.0.0.1:1'}}], genesis_root: '{ROOT}'}}\n\
         validators:\n{}{}",
        validator(0),
        validator(1)
    );
    let checks = Checks { base: folder.to_owned(), ..Checks::default() };
    let (mut config, _) = config::parse(&text, "failover.yaml", &checks).unwrap();
    config.policy.observe_every = Span::from_millis(50);
    Watcher::build(&config).await.unwrap()
}

/// Waits until the gate's signal of this validator has these words.
async fn shows(handle: &Handle, validator: usize, words: &str) -> SignalStatus {
    let shown = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let Some(status) = handle.status().await else { continue };
            assert!(status.validators.iter().all(|it| it.incident.is_none()));
            let signals = &status.validators[validator].signals;
            let signal = signals.iter().find(|signal| signal.source == "gate" && signal.why.contains(words));
            if let Some(signal) = signal {
                return signal.clone();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shown).await.unwrap_or_else(|_| panic!("{words} is not shown"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_waits_is_down_another_ones_and_one_that_is_gone_are_unknown() {
    let Some(home) = tokio::task::block_in_place(Home::new) else { return };
    let session = home.office.session().await;
    home.office.set_session(&session.raised_to(session.number + 1, uuid::Uuid::new_v4())).await;
    let running = tokio::task::block_in_place(|| home.runs("one"));
    let watcher = watcher(home.office.house.folder.path(), &running.url).await;
    let stop = CancellationToken::new();
    let handle = watcher.handle().clone();
    let task = tokio::spawn(watcher.run(stop.clone()));
    let waits = shows(&handle, 0, "it waits since").await;
    assert_eq!((waits.verdict.as_str(), waits.evidence.as_str()), ("down", "process"));
    let other = shows(&handle, 1, "this is the gate of eth-0: correct `gate.url`").await;
    assert_eq!(other.verdict, "unknown");
    drop(running);
    let gone = shows(&handle, 0, "refuses connections").await;
    assert_eq!(gone.verdict, "unknown");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.expect("it ends").unwrap().unwrap();
}
