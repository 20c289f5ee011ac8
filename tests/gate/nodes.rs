//! The duty check of the real program with a beacon node that lies, lags, is another chain's or is not there.

use std::{fs, time::Duration};

use failover::{
    domain::{Time, gate::WaitKind},
    sandbox::beacon::{Condition, FakeChain, FakeChainConfig, Fault},
};

use crate::house::{Case, House, OWNER, USUAL, at_home, case, grant, pause, signed};

type Change = fn(&mut Condition);

/// What is wrong with the node, and what the gate says. `None`: that cannot be seen.
const ROWS: [(&str, Change, Option<&str>); 11] = [
    ("lags", |node| node.behind = 40, Some("slots behind")),
    (
        "hides that it lags",
        |node| (node.behind, node.believes_in_step) = (40, true),
        Some("another epoch than by this clock"),
    ),
    ("syncs", |node| node.syncing = true, Some("sync")),
    ("is another chain's", |node| node.other_chain = true, Some("correct --beacon-node or --chain")),
    ("sees nobody", |node| node.blind = true, Some("so its silence means nothing")),
    ("keeps no record", |node| node.no_liveness = true, Some("liveness")),
    ("is a login page", |node| node.fault = Some(Fault::Html), Some("no beacon node says which epoch it is")),
    ("breaks off", |node| node.fault = Some(Fault::HalfJson), Some("no beacon node says which epoch it is")),
    ("hangs", |node| node.fault = Some(Fault::Hang), Some("no beacon node says which epoch it is")),
    // The very process that the gate is to start, for example.
    ("is not there", |node| node.fault = None, Some("one that only runs as a part of the command")),
    ("hides our keys alone", |node| node.deaf_to = vec![0, 1], None),
];

async fn row(what: &'static str, spoil: Change, says: Option<&'static str>) {
    let genesis_time = Time::now().as_second() - 400;
    let config = FakeChainConfig { validators: 64, slot: Duration::from_millis(400), slots_per_epoch: 6, genesis_time };
    let chain = FakeChain::new(config);
    let ours = [0, 1];
    // Only where it is hidden does somebody sign.
    chain.set_attesting(ours, says.is_none());
    let node = chain.node().await.unwrap();
    let house = House::new().await;
    let root = chain.genesis_root();
    let granted = failover::domain::ownership::Grant { chain: root.clone(), ..grant(8, at_home()) };
    house.store.set(OWNER, signed(granted));
    let keys = ours.map(|index| chain.public_key(index) + "\n").concat();
    fs::write(house.path("keys"), keys).unwrap();
    let (keys, url) = (house.path("keys").display().to_string(), node.url());
    let check = ["--chain", &root, "--beacon-node", &url, "--public-keys-file", &keys];
    let is_away = what == "is not there";
    let spoils = async || {
        node.change(spoil);
        if is_away {
            node.down().await;
        }
    };

    spoils().await;
    let pod = house.pod("one", USUAL, &check).await;
    if let Some(words) = says {
        pod.waits(what, WaitKind::Duties, words).await;
        pause(Duration::from_secs(3)).await;
        pod.waits(what, WaitKind::Duties, words).await;
        assert!(house.seen().all.is_empty(), "{what}: started something");
        if is_away {
            node.up().await.unwrap();
        }
        node.change(|node| *node = Condition::default());
    }
    pod.runs(&format!("{what}: two silent epochs")).await;
    spoils().await;
    pause(Duration::from_secs(3)).await;
    house.clients(1, &format!("{what}: runs on")).await;
    assert_eq!(house.seen().all.len(), 1, "{what}: stopped what runs");
    pod.ends().await;
    house.never_two();
    println!("a node that {what}: started: {}, stopped: false, says: {}", says.is_none(), says.unwrap_or_default());
}

pub fn cases() -> Vec<Case> {
    ROWS.map(|(what, spoil, says)| case(format!("a node that {what}"), row(what, spoil, says))).into()
}
