//! Whether two signers can be active, asked of every order in which things can happen.
//!
//! The world has two gates of one home, a machine in the cloud and two operators. Its adversary delays and loses requests and
//! replies, shows old data, freezes, kills and reboots, and lets clocks run apart as far as the rules allow. What the parties
//! decide is the program's own code (`failover::domain::{gate, ownership}`); nothing is decided twice.
//!
//! There is no duty check in it: safety has to hold without one. An ordinary run explores the two smaller settings to their
//! end and some of the largest; `make model` goes further there.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod actions;
mod grants;
mod world;

use std::time::Instant;

use stateright::{Checker as _, Model as _};
use world::{CLOUD_SIGNS, HOME_AGAIN, HOME_SIGNS, Mutant, SAFE, Setting, TAKEN_OVER};

/// How many states of the largest setting an ordinary run generates.
const ORDINARY: usize = 1_000_000;

/// A model in which nobody ever signs is safe as well, so what has to be possible is asked too.
fn explore(name: &str, setting: Setting, most: Option<usize>, reached: &[&'static str]) {
    let began = Instant::now();
    let checker = setting.checker().threads(2);
    let checker = match most {
        Some(most) => checker.target_state_count(most),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let (states, generated, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {states} states ({generated} generated), depth {depth}, {:.1} s", began.elapsed().as_secs_f64());
    if let Some(path) = checker.discovery(SAFE) {
        panic!("two signers: {:#?}", path.into_actions());
    }
    for reached in reached {
        assert!(checker.discovery(reached).is_some(), "{name}: not possible: {reached}");
    }
}

#[test]
fn two_processes_of_one_home_never_sign_at_once() {
    explore("home", Setting::HOME, None, &[HOME_SIGNS, TAKEN_OVER]);
}

#[test]
fn home_and_cloud_never_sign_at_once() {
    explore("promotion", Setting::PROMOTION, None, &[HOME_SIGNS, CLOUD_SIGNS, HOME_AGAIN]);
}

#[test]
fn two_people_who_promote_at_once_never_make_two_signers() {
    explore("two people", Setting::TWO_PEOPLE, None, &[HOME_SIGNS, CLOUD_SIGNS]);
}

#[test]
fn nobody_signs_beside_another() {
    let most = std::env::var("FAILOVER_MODEL").ok().and_then(|most| most.parse().ok()).unwrap_or(ORDINARY);
    explore("everybody", Setting::EVERYBODY, Some(most), &[HOME_SIGNS]);
}

/// Each rule, taken out, leads to two signers: none is there for nothing, and the model can see them.
#[test]
fn without_any_rule_there_are_two_signers() {
    let (home, promotion) = (Setting::HOME, Setting::PROMOTION);
    for (setting, mutant) in [
        (home, Mutant::MissingSessionIsFree),
        (home, Mutant::OldOneTickEarlier),
        (home, Mutant::DeadlineCountsFromTheReply),
        (home, Mutant::DeadlineIsNotJudgedAtTheStart),
        (home, Mutant::ExtensionCountsFromTheLatestRequest),
        (home, Mutant::SessionIsGivenBackBeforeTheChildEnded),
        (home, Mutant::BothHaveOneIdentity),
        (home, Mutant::GateAndKeeperBothHang),
        (home, Mutant::TheOneThatContinuesGetsOld),
        (promotion, Mutant::OldOneTickEarlier),
        (promotion, Mutant::NumberIsNotLookedAt),
        (promotion, Mutant::PromotionDoesNotWait),
        (promotion, Mutant::PromotionDoesNotRaise),
        (promotion, Mutant::RaiseIsNotOverTheVersionItCountsFrom),
        (promotion, Mutant::GrantIsNotForOneBoot),
        (promotion, Mutant::DemoteDoesNotSeeItTerminated),
        (promotion, Mutant::GateAndKeeperBothHang),
        (promotion, Mutant::TheOneThatContinuesGetsOld),
        (promotion, Mutant::LedgerIsPutBack),
    ] {
        let checker = Setting { mutant: Some(mutant), ..setting }.checker().threads(2).spawn_bfs().join();
        let path = checker.discovery(SAFE).unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
        println!("{mutant:?}: {:?}", path.into_actions());
    }
}
