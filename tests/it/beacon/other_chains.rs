//! The same question of chains that the agent judges by the age of their head: blocks by lot, asked every half a minute.

use std::time::Duration;

use failover::{
    adapters::{
        cardano::CardanoLook,
        cometbft::{CometbftLook, CometbftStatus},
    },
    agent::{cardano::CardanoJudge, cometbft::CometbftJudge},
    config::CardanoNetwork,
    domain::{Span, Time},
};

const LOOKS: u32 = 20_000;
const EVERY: f64 = 30.0;

/// The share of looks, in percent, at which a node that follows its chain is not called synced. `next` says how long a
/// block takes, `synced` judges a head that was made then.
fn behind(mut next: impl FnMut() -> f64, mut synced: impl FnMut(f64, f64) -> bool) -> f64 {
    let (mut head, mut coming, mut wrong) = (0.0, 0.0, 0);
    for look in 1..=LOOKS {
        let now = f64::from(look) * EVERY;
        // A block is half a second on its way.
        while coming + 0.5 <= now {
            head = coming;
            coming += next();
        }
        wrong += u32::from(!synced(head, now));
    }
    f64::from(wrong) * 100.0 / f64::from(LOOKS)
}

fn at(seconds: f64) -> Time {
    Time::from_second(1_800_000_000).unwrap() + Span::from_secs_f64(seconds)
}

/// A proposer in ten is missing. Each costs its round: three seconds to propose and half a second more every time, and
/// two seconds to vote.
#[test]
fn berachain_and_slower_chains_of_cometbft_are_in_step_with_one_proposer_in_ten_missing() {
    for (name, block) in [("Berachain, 2 s", 2.0), ("Cosmos Hub, 6 s", 6.0)] {
        let mut rng = fastrand::Rng::with_seed(80_094);
        let next = || {
            let (mut takes, mut round) = (block, 0.0);
            while rng.u32(..10) == 0 {
                takes += 5.0 + 0.5 * round;
                round += 1.0;
            }
            takes
        };
        let mut judge = CometbftJudge::new("bera".into());
        let percent = behind(next, |head, now| {
            let status = CometbftStatus {
                network: Some("bera".into()),
                height: Some(7),
                latest: Some(at(head)),
                catching_up: Some(false),
                voting_power: Some(0),
                ..CometbftStatus::default()
            };
            let look = CometbftLook { status: Ok(status), peers: Ok(12), application: None };
            judge.judge(&look, at(now), Duration::from_secs_f64(now)).synced
        });
        println!("{name:24} {percent:7.2} % of looks not synced");
        assert!(percent <= 0.1, "{name}: {percent} %");
    }
}

/// One slot in twenty has a block, by lot; with one in ten of them missing.
#[test]
fn cardano_is_in_step_although_its_blocks_come_by_lot() {
    const START: u64 = 100_000_000;
    let mut rng = fastrand::Rng::with_seed(7);
    let mut judge = CardanoJudge::new(CardanoNetwork::Preview);
    let next = || 1.0 + f64::from(std::iter::repeat_with(|| rng.f64()).take_while(|lot| *lot >= 0.045).count() as u32);
    let genesis: Time = "2022-10-25T00:00:00Z".parse().unwrap();
    let percent = behind(next, |head, now| {
        let look = CardanoLook { slot: Some(START + head as u64), peers: Some(12), ..CardanoLook::default() };
        let now = genesis + Span::from_secs(START as i64) + Span::from_secs_f64(now);
        judge.judge(&Ok(look), now, Duration::from_secs(1)).synced
    });
    println!("{:24} {percent:7.2} % of looks not synced", "Cardano");
    assert!(percent <= 0.1, "{percent} %");
}
