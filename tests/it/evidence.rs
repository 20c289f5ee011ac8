//! What a promotion is judged by: what sites write of the chain, what the operator's machine sees, and what is no answer.

use std::{sync::Arc, time::Duration};

use failover::{
    adapters::beacon::{self, NodeConfig},
    config::{self, Checks, Config},
    domain::{
        KeyKind, LedgerKey, Policy, PublicKey, Span, Time, TimeExt as _, ValidatorId,
        chain::{Epoch, EpochSeen, SiteEpochs},
        gates::{MissedDuties, SilentEpochs},
    },
    ports::{Clock, Ledger},
    promotion::{
        EpochWatch,
        evidence::{is_watched, site_records},
    },
    records,
    runtime::{
        Deps, Engine, EngineConfig,
        lease::{LeaseConfig, LeaseHolder, LeaseRecord},
    },
    sandbox::beacon::{FakeBeacon, FakeChain},
    sources::{
        EventSource as _,
        chain::{ChainSource, SiteRecorder},
    },
};
use tokio::sync::mpsc;

use crate::{
    beacon::rig::{EPOCH, GENESIS, StepClock, fake_chain, keys},
    support::memory_ledger::MemoryLedger,
};

struct Operator {
    clock: StepClock,
    chain: FakeChain,
    nodes: Vec<FakeBeacon>,
    ledger: Arc<MemoryLedger>,
    config: Config,
}

fn eth() -> ValidatorId {
    ValidatorId::new("eth-0").unwrap()
}

fn at(epoch: i64) -> Time {
    Time::from_second(GENESIS + epoch * EPOCH).unwrap()
}

fn configured(nodes: &[FakeBeacon], outside: bool, chain: &FakeChain) -> Config {
    let name =
        |(index, node): (usize, &FakeBeacon)| format!("{{name: n{index}, url: '{}', outside: {outside}}}", node.url());
    let nodes: Vec<String> = nodes.iter().enumerate().map(name).collect();
    let keys: Vec<String> = (0..4).map(|index| format!("'{}'", chain.public_key(index))).collect();
    let text = format!(
        "site: home\nledger: {{sqlite: {{path: l}}}}\ngrants: {{allowed_signers: a}}\n\
         ethereum: {{beacon_nodes: [{}], genesis_root: '{}'}}\n\
         validators:\n  - {{name: eth-0, kind: ethereum, public_keys: [{}]}}\n",
        nodes.join(", "),
        chain.genesis_root(),
        keys.join(", "),
    );
    let checks = Checks { files: false, ..Checks::default() };
    config::parse(&text, "f", &checks).unwrap_or_else(|error| panic!("{error}")).0
}

impl Operator {
    /// 100 validators, ours are the first four; it begins with epoch 10.
    async fn new(count: usize) -> Self {
        let clock = StepClock::at(GENESIS + 10 * EPOCH);
        let chain = fake_chain(Arc::new(clock.clone()));
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(chain.node().await.unwrap());
        }
        let config = configured(&nodes, true, &chain);
        Self { clock, chain, nodes, ledger: Arc::default(), config }
    }

    fn watch(&self) -> EpochWatch {
        let clock = Arc::new(self.clock.clone());
        EpochWatch::start(&self.config, &eth(), self.ledger.clone(), clock).unwrap()
    }

    /// Up to the end of this epoch, at which the one before it is judged.
    async fn epoch(&self, watch: &mut EpochWatch, epoch: i64) {
        self.clock.let_go_to(GENESIS + (epoch + 1) * EPOCH);
        let judged = Epoch(u64::try_from(epoch).unwrap() - 1);
        while watch.step().await.last.is_none_or(|(last, ..)| last != judged) {}
        self.clock.idle().await;
    }

    async fn silent(&self) -> Option<SilentEpochs> {
        self.counted(&["home".to_owned()]).await.0
    }

    async fn counted(&self, homes: &[String]) -> (Option<SilentEpochs>, Vec<String>) {
        let (root, ours) = (self.chain.genesis_root(), keys(&self.chain, 0..4));
        let all = site_records(&*self.ledger, &eth(), &root, &ours, homes, self.clock.now()).await.unwrap();
        (all.seen.silent_outside(at(0)), all.problems)
    }

    fn key(&self) -> String {
        let all = self.ledger.dump();
        let mut keys = all.keys().filter(|key| matches!(KeyKind::of(key), Some(KeyKind::SiteChain(..))));
        let key = keys.next().expect("it was written").clone();
        assert_eq!(keys.next(), None);
        key
    }
}

#[tokio::test]
async fn what_the_operators_machine_sees_is_written_in_every_epoch_and_a_resume_continues_it() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    for epoch in 11..=14 {
        operator.epoch(&mut watch, epoch).await;
    }
    assert_eq!(watch.seen().last, Some((Epoch(13), EpochSeen::Silent, 2)));
    assert_eq!((watch.seen().silent, watch.seen().trouble.clone()), (3, None), "11 to 13: 10 was begun before");
    assert!(operator.key().starts_with("chain/operator"), "{}", operator.key());
    let seen = operator.silent().await.unwrap();
    assert_eq!((seen.count, seen.last, seen.nodes, seen.each), (3, 13, 2, Span::from_secs(EPOCH)));
    let (puts, gets) = (operator.ledger.puts(), operator.ledger.gets());
    operator.epoch(&mut watch, 15).await;
    assert_eq!((operator.ledger.puts() - puts, operator.ledger.gets() - gets), (1, 0), "a write an epoch, and no more");
    drop(watch);
    // The next one begins in the middle of a row; what nobody has seen is no silence.
    let mut again = operator.watch();
    for epoch in 16..=19 {
        operator.epoch(&mut again, epoch).await;
    }
    let seen = operator.silent().await.unwrap();
    assert_eq!((seen.last, seen.count), (18, 2), "17 and 18: of 15 and 16 it cannot say");
    let record: SiteEpochs =
        records::decode(&operator.key(), operator.ledger.dump()[&operator.key()].as_bytes()).unwrap();
    assert_eq!(
        record.judged(),
        7,
        "what was written before is still there: a duty in 9, silence in 11 to 14 and 17 to 18"
    );
}

#[tokio::test]
async fn a_duty_breaks_the_row_wherever_it_is_seen() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    for epoch in 11..=13 {
        operator.epoch(&mut watch, epoch).await;
    }
    operator.chain.set_attesting([2], true);
    operator.nodes[1].change(|node| node.deaf_to = vec![2]);
    operator.epoch(&mut watch, 14).await;
    operator.epoch(&mut watch, 15).await;
    assert_eq!(watch.seen().last, Some((Epoch(14), EpochSeen::Duty, 1)));
    assert_eq!(operator.silent().await.unwrap().count, 0);
}

#[tokio::test]
async fn a_duty_breaks_the_row_where_the_node_that_sees_it_sees_nobody_else() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    for epoch in 11..=13 {
        operator.epoch(&mut watch, epoch).await;
    }
    assert_eq!(operator.silent().await.unwrap().count, 2);
    operator.chain.set_attesting([2], true);
    operator.nodes[0].change(|node| node.deaf_to = (4..100).collect());
    operator.nodes[1].change(|node| node.deaf_to = vec![2]);
    operator.epoch(&mut watch, 14).await;
    operator.epoch(&mut watch, 15).await;
    assert_eq!(watch.seen().last.map(|(epoch, seen, _)| (epoch, seen)), Some((Epoch(14), EpochSeen::Duty)));
    assert_eq!(operator.silent().await.unwrap().count, 0);
}

#[tokio::test]
async fn a_duty_counts_of_a_node_that_was_not_watched_throughout() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    operator.epoch(&mut watch, 11).await;
    operator.epoch(&mut watch, 12).await;
    operator.chain.set_attesting([2], true);
    operator.nodes[1].change(|node| node.deaf_to = vec![2]);
    operator.nodes[0].change(|node| node.optimistic = true);
    operator.clock.let_go_to(GENESIS + 13 * EPOCH + EPOCH / 2);
    operator.clock.idle().await;
    operator.nodes[0].change(|node| node.optimistic = false);
    operator.epoch(&mut watch, 13).await;
    operator.epoch(&mut watch, 14).await;
    assert_eq!(watch.seen().last.map(|(epoch, seen, _)| (epoch, seen)), Some((Epoch(13), EpochSeen::Duty)));
}

#[tokio::test]
async fn an_epoch_that_the_ledger_did_not_take_is_written_later() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    operator.epoch(&mut watch, 11).await;
    operator.ledger.fail_reads(true);
    drop(watch);
    let mut watch = operator.watch();
    operator.clock.let_go_to(GENESIS + 14 * EPOCH);
    while watch.step().await.trouble.as_ref().is_none_or(|why| !why.contains("not in the ledger")) {}
    operator.ledger.fail_reads(false);
    operator.epoch(&mut watch, 14).await;
    assert_eq!(watch.seen().last, Some((Epoch(13), EpochSeen::Silent, 2)));
}

#[tokio::test]
async fn what_a_node_at_home_shows_is_no_silence_from_outside() {
    let operator = Operator::new(2).await;
    let config = configured(&operator.nodes, false, &operator.chain);
    let clock = Arc::new(operator.clock.clone());
    let refused = EpochWatch::start(&config, &eth(), operator.ledger.clone(), clock).err().unwrap();
    assert!(refused.contains("outside: true"), "{refused}");
    assert_eq!(operator.ledger.puts(), 0);
}

#[tokio::test]
async fn a_site_elsewhere_counts_with_the_nodes_that_it_calls_outside_and_each_once() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut rig = crate::beacon::rig::Rig::start(2).await;
    rig.chain.set_attesting(0..4, false);
    let ours = || [(eth(), keys(&operator.chain, 0..4))];
    let nodes = |outside: bool| configured(&operator.nodes, outside, &operator.chain).ethereum.unwrap().beacon_nodes;
    let (vpn, own) = (nodes(false), nodes(true));
    let mut inside = SiteRecorder::new(operator.ledger.clone(), "far".into(), &vpn, ours());
    let mut far = SiteRecorder::new(operator.ledger.clone(), "friend".into(), &own, ours());
    for epoch in 10..=16_u64 {
        operator.clock.jump_to(GENESIS + (i64::try_from(epoch).unwrap() + 1) * EPOCH);
        if epoch == 14 {
            rig.nodes.iter().for_each(|node| node.change(|node| node.peer_id = Some("16Uiu2HAm".into())));
        }
        let mut said = rig.ours(epoch).await.records;
        said.iter_mut().zip(["n0", "n1"]).for_each(|(record, node)| record.node = node.into());
        inside.write(&eth(), &said).await.unwrap();
        let silent = operator.silent().await;
        if epoch < 13 {
            assert_eq!(silent, None, "what is reached through the house by VPN is not known to be outside");
        } else {
            far.write(&eth(), &said).await.unwrap();
            let places = operator.silent().await.unwrap().nodes;
            assert_eq!(places, if epoch < 14 { 2 } else { 1 }, "since they say that they are one node: {epoch}");
        }
    }
    rig.stop().await;
}

#[tokio::test]
async fn of_too_many_sites_and_of_another_time_only_the_odd_ones_are_not_read() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    for epoch in 11..=16 {
        operator.epoch(&mut watch, epoch).await;
    }
    let key = operator.key();
    let newest: SiteEpochs = records::decode(&key, operator.ledger.dump()[&key].as_bytes()).unwrap();
    let put = |site: &str, record: &serde_json::Value| {
        let key = LedgerKey::site_chain(site, &eth());
        let record: SiteEpochs = serde_json::from_value(record.clone()).unwrap();
        operator.ledger.set(&key, records::encode(&key, &record));
    };
    let same = serde_json::to_value(&newest).unwrap();
    let mut odd = same.clone();
    odd["epoch_ms"] = (odd["epoch_ms"].as_u64().unwrap() / 2).into();
    put("a-odd", &odd);
    let (seen, problems) = operator.counted(&[]).await;
    assert_eq!((seen, problems.len()), (None, 2), "nobody knows who is right");
    put("b", &same);
    let (seen, problems) = operator.counted(&[]).await;
    assert_eq!(seen.unwrap().count, 5);
    assert!(problems.len() == 1 && problems[0].contains("a-odd"), "{problems:?}");
    // Sites that nobody writes any more.
    let mut old = same.clone();
    let run = old["runs"].as_array_mut().unwrap().last_mut().unwrap();
    run[1] = (run[1].as_u64().unwrap() - 1).into();
    (0..40).for_each(|site| put(&format!("aa-{site}"), &old));
    let (seen, problems) = operator.counted(&[]).await;
    assert_eq!(seen.unwrap().count, 5, "the newest are read");
    assert_eq!(problems.iter().filter(|why| why.contains("32 sites have written later")).count(), 11, "{problems:?}");
}

fn put_lease(ledger: &MemoryLedger, beat: u64, holder: &str) {
    let about = LeaseHolder { site: "far".into(), address: None, witness: None };
    let record = LeaseRecord { holder: holder.into(), about, token: 7, beat, ttl_ms: 60_000 };
    ledger.set(&LedgerKey::LEASE, records::encode(&LedgerKey::LEASE, &record));
}

#[tokio::test(start_paused = true)]
async fn the_word_of_a_watcher_that_is_gone_does_not_count() {
    let ledger = MemoryLedger::default();
    assert!(!is_watched(&ledger).await, "nobody has ever held the lease");
    put_lease(&ledger, 1, "w");
    assert!(!is_watched(&ledger).await, "nobody renews it");
    let renews = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        put_lease(&ledger, 2, "w");
    };
    assert!(tokio::join!(is_watched(&ledger), renews).0);
    put_lease(&ledger, 3, "");
    assert!(!is_watched(&ledger).await, "it was given back");
}

#[tokio::test]
async fn a_record_that_is_none_counts_for_nothing_and_is_named() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let mut watch = operator.watch();
    for epoch in 11..=16 {
        operator.epoch(&mut watch, epoch).await;
    }
    let key = operator.key();
    let bytes = operator.ledger.dump()[&key].clone();
    let whole = |problems: usize, count: Option<u64>| (problems, count);
    let told = async |homes: &[String]| {
        let (seen, problems) = operator.counted(homes).await;
        whole(problems.len(), seen.map(|seen| seen.count))
    };
    assert_eq!(told(&[]).await, (0, Some(5)));
    let site = key.strip_prefix("chain/").unwrap().strip_suffix("/eth-0").unwrap().to_owned();
    assert_eq!(told(&[site]).await, (0, None), "of a site that is home");
    // Its checksum is over its key: another site's record is none, nor is a torn one.
    operator.ledger.set("chain/copied/eth-0", bytes.clone());
    operator.ledger.set("chain/torn/eth-0", &bytes.as_bytes()[..bytes.len() / 2]);
    operator.ledger.set("chain/odd/eth-0", "not a record");
    assert_eq!(told(&[]).await, (3, Some(5)));
    operator.ledger.set("chain/far/eth-1", "another validator's");
    operator.ledger.set("chain/eth-0", "an earlier record");
    assert_eq!(told(&[]).await, (3, Some(5)));
    // Of another chain, and of the future.
    let wrong = operator.chain.genesis_root().replace('5', "6");
    let ours = keys(&operator.chain, 0..4);
    let of = async |chain: &str, now| site_records(&*operator.ledger, &eth(), chain, &ours, &[], now).await.unwrap();
    assert!(of(&wrong, operator.clock.now()).await.seen.is_empty());
    let early = of(&operator.chain.genesis_root(), at(13)).await;
    assert!(early.seen.is_empty() && early.problems.iter().any(|why| why.contains("future")), "{:?}", early.problems);
    operator.ledger.fail_reads(true);
    assert!(
        site_records(&*operator.ledger, &eth(), &wrong, &ours, &[], at(13)).await.is_err(),
        "no answer is no silence"
    );
}

async fn missed(operator: &Operator, node: usize, since: Time) -> Result<MissedDuties, String> {
    let config = NodeConfig { name: "n".into(), url: operator.nodes[node].url().parse().unwrap() };
    let (keys, clock): (Vec<PublicKey>, Arc<dyn Clock>) =
        (keys(&operator.chain, 0..4), Arc::new(operator.clock.clone()));
    let root = operator.chain.genesis_root();
    let said = beacon::missed(&config, Some(&root), &keys, since, Duration::from_secs(5), &clock).await;
    said.map_err(|why| why.to_string())
}

#[tokio::test]
async fn duties_count_as_missed_in_epochs_that_are_final_and_only_while_others_made_theirs() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    let jump = |epoch: i64| operator.clock.jump_to(GENESIS + epoch * EPOCH + 100);
    jump(13);
    let none = missed(&operator, 0, at(10)).await.unwrap();
    assert_eq!((none.epochs, none.control_made), (0, false), "nothing of it is final");
    jump(16);
    // Epoch 14 is final: what 11 may still have of 10 is too, and of 11 and 12.
    let said = missed(&operator, 0, at(10)).await.unwrap();
    assert_eq!(said, MissedDuties { epochs: 3, made: 0, missed: 12, control_made: true });
    let after = missed(&operator, 0, at(10).plus(Span::from_secs(1))).await.unwrap();
    assert_eq!((after.epochs, after.missed), (2, 8), "an epoch in which the incident began says nothing");
    operator.chain.set_attesting([1], true);
    jump(21);
    let said = missed(&operator, 0, at(10)).await.unwrap();
    assert_eq!((said.epochs, said.made), (5, 1), "one signed in epoch 17: in 16 it had missed its slot");
    assert!(missed(&operator, 0, at(40)).await.unwrap().epochs == 0);
}

#[tokio::test]
async fn a_node_that_cannot_say_what_was_paid_says_nothing() {
    let operator = Operator::new(2).await;
    operator.chain.set_attesting(0..4, false);
    operator.clock.jump_to(GENESIS + 16 * EPOCH + 100);
    assert!(missed(&operator, 0, at(10)).await.is_ok());
    operator.nodes[0].change(|node| node.other_chain = true);
    assert!(missed(&operator, 0, at(10)).await.unwrap_err().contains("chain"));
    operator.nodes[0].change(|node| (node.other_chain, node.optimistic) = (false, true));
    assert!(missed(&operator, 0, at(10)).await.is_err());
    operator.nodes[0].change(|node| node.optimistic = false);
    operator.nodes[0].change(|node| node.optimistic_rewards = true);
    assert!(missed(&operator, 0, at(10)).await.unwrap_err().contains("optimistic"));
    operator.nodes[0].change(|node| (node.optimistic_rewards, node.no_rewards) = (false, true));
    assert!(missed(&operator, 0, at(10)).await.is_err());
    assert!(missed(&operator, 1, at(10)).await.is_ok(), "another node can");
}

#[tokio::test]
async fn a_watcher_writes_what_its_site_sees_without_the_lease() {
    let operator = Operator::new(1).await;
    operator.chain.set_attesting(0..4, false);
    let (sender, mut written) = mpsc::unbounded_channel();
    operator.ledger.during_put(move || sender.send(()).unwrap_or_default());
    let clock = Arc::new(operator.clock.clone());
    let deps = Deps { ledger: operator.ledger.clone(), cloud: None, notifier: None, clock };
    let config = EngineConfig {
        site: "home".into(),
        validators: vec![eth()],
        policy: Policy::default(),
        lease: LeaseConfig {
            key: LedgerKey::LEASE,
            about: LeaseHolder { site: "home".into(), address: None, witness: None },
            ttl: Duration::from_secs(60),
            silence: None,
        },
        requests_every: Duration::from_secs(60),
        call_timeout: Duration::from_secs(5),
        clock_jump: Duration::from_secs(30),
        grants: failover::runtime::grants::GrantRules::default(),
        cli: "failover".into(),
    };
    // It is not run, so it never leads.
    let (_engine, handle) = Engine::new(config, deps.clone());
    let source = ChainSource::new(&operator.config, &deps).unwrap().unwrap();
    let task = tokio::spawn(source.run(handle.clone()));
    operator.clock.let_go_to(GENESIS + 14 * EPOCH);
    // Of 9 to 12, one after the other: when the last is written, the one before is in the ledger.
    for _ in 9..=12 {
        tokio::time::timeout(Duration::from_secs(60), written.recv()).await.expect("an epoch is written").unwrap();
    }
    assert!(!handle.leads());
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(operator.key(), "chain/home/eth-0");
    assert_eq!(operator.ledger.dump().len(), 1, "only who leads writes the other record");
    let seen = operator.counted(&[]).await.0.unwrap();
    assert!(seen.last >= 11 && seen.count == seen.last - 10, "11 is the first that was watched throughout: {seen:?}");
}

#[tokio::test]
async fn two_processes_of_one_site_write_one_record() {
    let operator = Operator::new(1).await;
    let nodes = &operator.config.ethereum.as_ref().unwrap().beacon_nodes;
    let mut rig = crate::beacon::rig::Rig::start(1).await;
    let ours = || [(eth(), keys(&operator.chain, 0..4))];
    let recorder = || SiteRecorder::new(operator.ledger.clone(), "far".into(), nodes, ours());
    let (mut one, mut two) = (recorder(), recorder());
    for epoch in 10..=13 {
        let mut said = rig.ours(epoch).await.records;
        said.iter_mut().for_each(|record| record.node = "n0".into());
        let puts = operator.ledger.puts();
        one.write(&eth(), &said).await.unwrap();
        // Another process of the same site has seen the same, and finds it there.
        two.write(&eth(), &said).await.unwrap();
        assert!(operator.ledger.puts() - puts <= 3, "no contest without an end");
    }
    let key = LedgerKey::site_chain("far", &eth());
    let stored = operator.ledger.get(&key).await.unwrap().unwrap();
    let record: SiteEpochs = records::decode(&key, &stored.bytes).unwrap();
    assert_eq!(record.newest(), Some((Epoch(12), EpochSeen::Duty, 1)));
    assert_eq!(record.judged(), 4, "11 and 12, and the duties of 9 and 10, which were not watched throughout");
    rig.stop().await;
}
