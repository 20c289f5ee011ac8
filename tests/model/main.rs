//! Whether two signers can be active, asked of every order in which things can happen; and whether the owner signs in
//! the end.
//!
//! The world has two gates of one home, a machine in the cloud and two operators. Its adversary delays and loses
//! requests and replies, shows old data, freezes, kills and reboots, deletes the session, carries old grants, and lets
//! clocks run apart as far as the rules allow. What the parties decide is the program's own code
//! (`failover::domain::{gate, ownership}`); nothing is decided twice.
//!
//! There is no duty check in it: safety has to hold without one. An ordinary run explores most settings to their end
//! and some of the larger ones; `make model` goes further there.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod actions;
mod fair;
mod grants;
mod ledger;
mod people;
mod promotion;
mod seen;
mod setting;
mod world;

use std::{sync::Arc, time::Instant};

use fair::Ways;
use setting::{Mutant, Setting};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use world::{CLOUD_SIGNS, Exploration, HOME_AGAIN, HOME_SIGNS, KEPT, LIVE, SAFE, TAKEN_OVER};

/// How many states of a larger setting an ordinary run generates.
const ORDINARY: usize = 700_000;
/// The same where home has to sign again after the cloud: 700 000 are too few for that, 800 000 are enough.
const ROUND: usize = 850_000;

fn most() -> usize {
    std::env::var("FAILOVER_MODEL").ok().and_then(|most| most.parse().ok()).unwrap_or(ORDINARY)
}

/// What `make model` has to have seen of the setting with everybody. It takes some 5 GB.
const MANY: usize = 10_000_000;

/// A model in which nobody ever signs is safe as well, so what has to be possible is asked too.
fn explore(name: &str, setting: Setting, most: Option<usize>, reached: &[&'static str]) -> usize {
    let (began, ways) = (Instant::now(), Arc::new(Ways::default()));
    let checker = Exploration { setting, ways: Arc::clone(&ways) }.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = match most {
        // The same states in each ordinary run, so that what is reached does not depend on the load.
        Some(most) if most <= ROUND => checker.target_state_count(most),
        Some(most) => checker.target_state_count(most).threads(2),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let (states, generated, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{name}: {states} states ({generated} generated), depth {depth}, {:.1} s", began.elapsed().as_secs_f64());
    println!("  {ways}");
    for never in [SAFE, KEPT, LIVE] {
        if let Some(path) = checker.discovery(never) {
            panic!("{name}: not {never}: {:?}", path.into_actions());
        }
    }
    for reached in reached {
        assert!(checker.discovery(reached).is_some(), "{name}: not possible: {reached}");
    }
    states
}

#[test]
fn two_processes_of_one_home_never_sign_at_once() {
    explore("home", Setting::HOME, None, &[HOME_SIGNS, TAKEN_OVER]);
    explore("network folder", Setting::NETWORK_FOLDER, None, &[HOME_SIGNS, TAKEN_OVER]);
    explore("continues without the ledger", Setting::CONTINUES, None, &[HOME_SIGNS, TAKEN_OVER]);
}

#[test]
fn home_and_cloud_never_sign_at_once() {
    let few = Setting { requests: 1, ..Setting::PROMOTION };
    explore("promotion, one request under way", few, Some(most().max(ROUND)), &[HOME_SIGNS, CLOUD_SIGNS, HOME_AGAIN]);
    explore("promotion", Setting::PROMOTION, Some(most()), &[HOME_SIGNS, CLOUD_SIGNS]);
    explore("there and back", Setting::ROUNDS, Some(most()), &[HOME_SIGNS, CLOUD_SIGNS]);
}

#[test]
fn two_people_who_promote_at_once_never_make_two_signers() {
    explore("two people", Setting::TWO_PEOPLE, Some(most()), &[HOME_SIGNS, CLOUD_SIGNS]);
    let more = Setting { requests: 3, ..Setting::TWO_PEOPLE };
    explore("two people, more under way", more, Some(most()), &[HOME_SIGNS]);
}

#[test]
fn a_watcher_that_deletes_late_never_deletes_what_was_promoted() {
    explore("late deletion", Setting::WATCHED, Some(most()), &[HOME_SIGNS, CLOUD_SIGNS]);
}

#[test]
fn a_regrant_beside_a_demotion_never_makes_two_signers() {
    explore("regrant", Setting::REGRANT, Some(most()), &[CLOUD_SIGNS, HOME_SIGNS, HOME_AGAIN]);
}

#[test]
fn an_adoption_never_makes_two_signers() {
    explore("adoption", Setting::ADOPTION, Some(most()), &[HOME_SIGNS]);
    explore("adoption from the cloud", Setting::ADOPTION_FROM_CLOUD, Some(most()), &[CLOUD_SIGNS, HOME_AGAIN]);
}

#[test]
fn a_true_statement_never_makes_two_signers() {
    explore("statement", Setting::STATEMENT, Some(most()), &[HOME_SIGNS, CLOUD_SIGNS]);
    explore("statement of an adoption", Setting::STATED_ADOPTION, Some(most()), &[HOME_SIGNS]);
    explore("home without a gate", Setting::BARE, Some(most()), &[CLOUD_SIGNS, HOME_AGAIN]);
}

#[test]
fn nobody_signs_beside_another() {
    if most() <= ORDINARY {
        explore("everybody", Setting::EVERYBODY, Some(most()), &[HOME_SIGNS]);
        return;
    }
    // Of each nine that are generated two are new.
    let states = explore("everybody", Setting::EVERYBODY, Some(5 * MANY), &[HOME_SIGNS]);
    assert!(states >= MANY, "{states}");
}

/// Each rule and each proviso, taken out, leads to two signers: none is there for nothing, and the model can see them.
#[test]
fn without_any_rule_there_are_two_signers() {
    let (home, promotion, continues) = (Setting::HOME, Setting::PROMOTION, Setting::CONTINUES);
    // By itself: beside promotions there are ten times as many states before it is found.
    let adoption = Setting { promotes: false, ..Setting::ADOPTION };
    let from_cloud = Setting::ADOPTION_FROM_CLOUD;
    let stated = Setting { promotes: false, ..Setting::STATED_ADOPTION };
    for (setting, mutant) in [
        (home, Mutant::MissingSessionIsFree),
        (home, Mutant::OldOneTickEarlier),
        (home, Mutant::DeadlineCountsFromTheReply),
        (home, Mutant::DeadlineIsNotJudgedAtTheStart),
        (home, Mutant::ExtensionCountsFromTheLatestRequest),
        (home, Mutant::SessionIsGivenBackBeforeTheChildEnded),
        (Setting::NETWORK_FOLDER, Mutant::SharedFolderResumes),
        (Setting::NETWORK_FOLDER, Mutant::SharedFolderGivesBackLater),
        (continues, Mutant::LockIsNotInherited),
        (home, Mutant::TheOneThatContinuesGetsOld),
        (promotion, Mutant::OldOneTickEarlier),
        (promotion, Mutant::NumberIsNotLookedAt),
        (promotion, Mutant::PromotionDoesNotWait),
        (promotion, Mutant::PromotionDoesNotRaise),
        (Setting::WATCHED, Mutant::DeletionProtectionIsLeftOut),
        (promotion, Mutant::RaiseIsNotOverTheVersionItCountsFrom),
        (Setting::IN_CLOUD, Mutant::GrantIsNotForOneBoot),
        (promotion, Mutant::TheOneThatContinuesGetsOld),
        (Setting::TWO_PEOPLE, Mutant::LostGrantIsCarried),
        (Setting::IN_CLOUD, Mutant::DemotionDoesNotSeeItTerminated),
        (Setting::REGRANT, Mutant::DemotionReadsTheGrantAfterTheStop),
        (Setting::REGRANT, Mutant::RegrantReplacesAnyGrant),
        (adoption, Mutant::AdoptionFreesTheSession),
        (adoption, Mutant::SilenceAloneReplacesAMissingSession),
        (from_cloud, Mutant::AdoptionDoesNotSeeItTerminated),
        (stated, Mutant::FreeIsNotOverTheVersionThatWasRead),
        // Provisos.
        (home, Mutant::GateAndKeeperBothHang),
        (promotion, Mutant::GateAndKeeperBothHang),
        (home, Mutant::GateAndKeeperGoneAtOnce),
        (promotion, Mutant::GateAndKeeperGoneAtOnce),
        (promotion, Mutant::LedgerIsPutBack),
        (Setting::STATEMENT, Mutant::StatementIsFalse),
        (Setting::BARE, Mutant::StatementIsFalse),
        (stated, Mutant::StatementIsFalse),
    ] {
        shortest(setting, mutant);
    }
}

#[test]
fn without_a_rule_of_liveness_nobody_signs() {
    shortest(Setting::ADOPTION, Mutant::AdoptionRaisesAboveTheSession);
    shortest(Setting::PROMOTION, Mutant::AbortIsNotSigned);
}

fn shortest(setting: Setting, mutant: Mutant) {
    let began = Instant::now();
    let setting = setting.without(mutant);
    let checker = Exploration { setting, ways: Arc::default() }.checker().spawn_bfs().join();
    let broken = match mutant {
        Mutant::DeletionProtectionIsLeftOut => KEPT,
        mutant if mutant.is_of_liveness() => LIVE,
        _ => SAFE,
    };
    let path = checker.discovery(broken).unwrap_or_else(|| panic!("{mutant:?} is not noticed"));
    println!("{mutant:?} ({:.1} s): {:?}", began.elapsed().as_secs_f64(), path.into_actions());
}
