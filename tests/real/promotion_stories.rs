//! Six stories of a promotion on a real network with a slasher: real gates, grants, and Prysm's clients with imported keys.
//! Each story is told with the gate and without; `docs/decisions/0023-stories-of-a-promotion.md` says what is real in it.
//!
//! With the gate nobody is ever slashed. Without it somebody is, or the network judges nothing.

mod client;
mod exports;
mod lane;
mod machine;
mod network;
mod operator;
mod signers;
mod tales;

use std::{sync::Arc, time::Instant};

use failover::domain::{chain::Epoch, interchange::LintFinding};
use futures::future::join_all;
use network::{EPOCH, KEYS, Net, SLOTS, Slashing, epochs};
use serde_json::Value;
use tempfile::TempDir;

use self::{
    lane::Lane,
    signers::{Seen, Signers},
    tales::{ALL, Story},
};

/// In which a slasher brings what it has seen onto the chain.
const JUDGED: u64 = 3;

/// What became of one telling.
struct Outcome {
    story: &'static Story,
    tag: String,
    told: Result<(), String>,
    slashed: usize,
    slashings: Vec<Slashing>,
    pairs: Vec<LintFinding>,
    blacklisted: usize,
    seen: Seen,
    steps: Vec<(String, Instant)>,
}

/// Tells some stories on one network, and each again without the gate, all at the same time.
async fn told_on_one_network(stories: &[&'static Story]) -> Vec<Outcome> {
    let lanes = u64::try_from(2 * stories.len()).unwrap();
    let (net, signers) = (Arc::new(Net::up(lanes).await), Arc::new(Signers::watch()));
    let (_bucket, url) = crate::ledger::start().await;
    // On a disk: nothing is resumed on what may not survive.
    let mut folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if std::env::var_os("FAILOVER_KEEP_STORIES").is_some() {
        folder.disable_cleanup(true);
        println!("kept: {}", folder.path().display());
    }
    let tellings = stories.iter().flat_map(|story| ["gate", "bare"].map(|way| (*story, way)));
    let begun = tellings.zip(0..).map(|((story, way), number)| {
        let (net, signers) = (net.clone(), signers.clone());
        let tag = format!("{}-{way}", story.number);
        let (url, folder) = (url.clone(), folder.path().to_owned());
        async move {
            let lane = Lane::new(net, signers, &url, &folder, tag, number).await.expect("a lane begins");
            let lane = Arc::new(lane);
            lane.adopt(&["--reason", "the first grant"]).await.expect("home gets its first grant");
            let telling = tokio::spawn((story.tell)(lane.clone())).await;
            let told = match telling {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(format!("{error:#}")),
                Err(panic) => Err(panic.to_string()),
            };
            lane.step(&format!("the end: {told:?}"));
            // The judge looks at the others while their gates and clients still run.
            if !lane.gated || told.is_err() {
                lane.stop().await;
            }
            (story, lane, told)
        }
    });
    let ended = join_all(begun.map(tokio::spawn)).await;
    let last = net.epoch() + JUDGED;
    net.until_known(last).await;
    let slashings = net.slashings().await;
    let mut outcomes = Vec::new();
    for (story, lane, told) in ended.into_iter().map(|ended| ended.expect("a lane ends")) {
        let slashed = net.slashed(&lane.keys).await.expect("node 1 knows its validators");
        let seen = lane.seen();
        lane.stop().await;
        let (pairs, blacklisted) = judged(&lane).await.expect("every place exports what it has signed");
        let ours = slashings.iter().filter(|slashing| slashing.keys.iter().any(|key| lane.keys.contains(key)));
        let (tag, slashings, steps) = (lane.tag.clone(), ours.cloned().collect(), lane.steps());
        outcomes.push(Outcome { story, tag, told, slashed, slashings, pairs, blacklisted, seen, steps });
    }
    outcomes
}

/// The pairs in the union of everything that was signed with the keys of a lane.
async fn judged(lane: &Lane) -> anyhow::Result<(Vec<LintFinding>, usize)> {
    let (mut exports, blacklisted) = lane.exported().await?;
    // What has had these keys before the story.
    if let Some(mut first) = client::export(&lane.net.folder(), "client-ours").await? {
        let is_ours = |entry: &Value| lane.public.iter().any(|key| entry["pubkey"] == key.as_str());
        first["data"].as_array_mut().into_iter().for_each(|data| data.retain(is_ours));
        exports.push(first);
    }
    let union = exports::united(&exports)?;
    anyhow::ensure!(union["data"].as_array().is_some_and(|data| data.len() as u64 == KEYS), "not all keys: {union}");
    Ok((exports::slashable(&union, (Epoch(lane.net.epoch() + 2), SLOTS))?, blacklisted))
}

/// Prints what became of all, and fails if anything is not as it has to be.
fn report(outcomes: &[Outcome]) {
    let mut wrong = Vec::new();
    let (mut slashed, mut control, mut blacklisted) = (0, 0, 0);
    for outcome in outcomes {
        let Outcome { story, tag, told, seen, pairs, .. } = outcome;
        println!("── {tag}: {}: {told:?}", story.name);
        let began = outcome.steps.first().map(|(_, at)| *at);
        let mut before = began;
        for (what, at) in &outcome.steps {
            let after = epochs(at.duration_since(began.unwrap_or(*at)));
            let step = epochs(at.duration_since(before.unwrap_or(*at)));
            before = Some(*at);
            println!("{after:7.1} {step:+6.1}  {what}");
        }
        println!(
            "         slashed: {} of {KEYS}, {:?}; at most {} signed at once in {} looks; {} pairs in the union of the \
             exports; {} keys taken out of use",
            outcome.slashed,
            outcome.slashings,
            seen.most,
            seen.looks,
            pairs.len(),
            outcome.blacklisted
        );
        let is_slashed = outcome.slashed > 0 || !outcome.slashings.is_empty();
        if tag.ends_with("gate") {
            slashed += usize::from(is_slashed);
            blacklisted += outcome.blacklisted;
            wrong.extend(told.as_ref().err().map(|why| format!("{tag}: {why}")));
            if is_slashed || seen.most != 1 || !pairs.is_empty() || outcome.blacklisted > 0 {
                wrong.push(format!("{tag}: slashed {}, {} at once, {pairs:?}", outcome.slashed, seen.most));
            }
        } else {
            control += usize::from(is_slashed);
            // What the chain has seen the exports have to show as well, or they judge nothing.
            if is_slashed && pairs.is_empty() {
                wrong.push(format!("{tag}: slashed, and the union of its exports shows nothing"));
            }
        }
    }
    let stories = outcomes.len() / 2;
    println!("slashed {slashed}/{stories}, control {control}/{stories}, blacklisted {blacklisted}");
    if control < (2 * stories).div_ceil(3) {
        wrong.push(format!("only {control} of {stories} controls were slashed: the network judges nothing"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The stories of these numbers, two on each network: more would leave each key too few slots to be slashed by.
async fn tell(numbers: &[usize]) {
    let began = Instant::now();
    let mut outcomes = Vec::new();
    for pair in numbers.chunks(2) {
        let stories: Vec<_> = pair.iter().map(|number| &ALL[number - 1]).collect();
        outcomes.extend(told_on_one_network(&stories).await);
        println!("{pair:?} are told after {:.0} s, epochs of {} s", began.elapsed().as_secs_f64(), EPOCH.as_secs());
    }
    report(&outcomes);
}

/// CI's two.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes: make stories has all six"]
async fn nobody_is_slashed_by_a_planned_move_nor_by_a_dark_home_that_returns() {
    tell(&[1, 2]).await;
}

/// All of them, or those of `FAILOVER_STORIES` ("3 4").
#[tokio::test(flavor = "multi_thread")]
#[ignore = "half an hour: make stories"]
async fn in_no_story_is_anybody_slashed_and_without_the_gate_in_most() {
    let wanted = std::env::var("FAILOVER_STORIES").unwrap_or_default();
    let numbers: Vec<usize> = wanted.split_whitespace().map(|number| number.parse().unwrap()).collect();
    tell(if numbers.is_empty() { &[1, 2, 3, 4, 5, 6] } else { &numbers }).await;
}
