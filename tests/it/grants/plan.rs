//! What `adopt` and `regrant` decide, as tables.

use std::time::Duration;

use failover::domain::{
    InstanceRef, Machine, MachineState, Role, Time,
    ownership::{
        AdoptFacts, AdoptPlan, AdoptRefusal, AdoptStep, GrantPlace, KeyMachine, OnLedgerLoss, Session, adoption_number,
    },
};
use uuid::Uuid;

use super::rig::{cloud, grant, home};

fn machine(role: Role, is_terminated: bool) -> KeyMachine {
    let machine = Machine {
        instance: InstanceRef { zone: "z".into(), name: "m".into(), id: 101.into() },
        validator: "eth-0".into(),
        incident: String::new(),
        ledger: String::new(),
        role,
        // As a listing shows one that is suspended too.
        state: MachineState::Stopped,
        deletion_protection: true,
        machine_type: "t".into(),
        created_at: None,
    };
    KeyMachine { machine, is_terminated }
}

const NOTHING: AdoptFacts<'_> = AdoptFacts {
    site: "home",
    grant: None,
    unverified: None,
    session: None,
    copy: None,
    newest_copy: None,
    known: None,
    renew: false,
    machines: Ok(&[]),
    deleted: None,
    stated: false,
    longest: Some(Duration::ZERO),
    watched: Ok(()),
};

/// The number, and what comes first.
fn signs(facts: &AdoptFacts<'_>) -> (u64, AdoptStep) {
    match facts.plan() {
        Ok(AdoptPlan::Sign { adoption, .. }) => (adoption.number, adoption.next()),
        other => panic!("{other:?}"),
    }
}

fn refused(facts: &AdoptFacts<'_>) -> AdoptRefusal {
    facts.plan().unwrap_err()
}

#[test]
fn the_number_is_above_every_number_known_anywhere() {
    use AdoptStep::{Create, Free, Raise, Sign};
    let (three, session) = (grant(home(), 3), |number| Session::free(number, Uuid::nil()));
    let (s3, s9) = (session(3), session(9));
    assert_eq!(signs(&NOTHING), (1, Create));
    let settled = AdoptFacts { grant: Some(&three), session: Some(&s3), ..NOTHING };
    assert!(matches!(settled.plan(), Ok(AdoptPlan::Nothing { number: 3 })));
    let ttl = Duration::from_secs(60);
    let run = s3.held_by(Uuid::nil(), OnLedgerLoss::Run, ttl, Time::UNIX_EPOCH, Uuid::nil());
    for (facts, expected) in [
        (AdoptFacts { session: Some(&s3), ..NOTHING }, (3, Sign)),
        (AdoptFacts { session: Some(&s3), copy: Some(7), ..NOTHING }, (8, Raise)),
        (AdoptFacts { renew: true, ..settled }, (4, Sign)),
        (AdoptFacts { known: Some(3), renew: true, ..settled }, (4, Sign)),
        (AdoptFacts { known: Some(8), ..settled }, (9, Raise)),
        (AdoptFacts { copy: Some(5), ..settled }, (6, Raise)),
        (AdoptFacts { session: Some(&s9), renew: true, ..settled }, (9, Sign)),
        (AdoptFacts { site: "cabin", ..settled }, (4, Raise)),
        (AdoptFacts { stated: true, ..settled }, (4, Raise)),
        (AdoptFacts { session: Some(&run), stated: true, ..settled }, (4, Free)),
        (AdoptFacts { unverified: Some("no"), renew: true, ..settled }, (4, Raise)),
    ] {
        assert_eq!(signs(&facts), expected, "{facts:?}");
    }
    let moving = AdoptFacts { session: Some(&s9), ..settled };
    assert_eq!(refused(&moving), AdoptRefusal::Moving { session: 9, grant: 3 });
    let stated = AdoptFacts { stated: true, ..moving };
    assert_eq!(refused(&stated), AdoptRefusal::Moving { session: 9, grant: 3 }, "it says nothing of the cloud");
    let unverified = AdoptFacts { unverified: Some("no"), ..settled };
    assert_eq!(refused(&unverified), AdoptRefusal::Unverified("no".into()));
    let last = AdoptFacts { known: Some((1 << 53) - 1), ..settled };
    assert!(matches!(last.plan(), Err(AdoptRefusal::NumberTooLarge(_))));
}

/// Each ends after the raise, before its grant. The next ones are neither below the session nor above it.
#[test]
fn adoptions_that_end_halfway_do_not_strand_home() {
    let three = grant(home(), 3);
    let mut session = Session::free(4, Uuid::nil());
    for _ in 0..3 {
        let facts = AdoptFacts { grant: Some(&three), session: Some(&session), renew: true, ..NOTHING };
        let (number, _) = signs(&facts);
        assert_eq!(number, 4, "the next grant reaches it");
        assert!(facts.plan_with(number).is_ok(), "also one that was printed before");
        session = session.raised_to(number, Uuid::nil());
    }
    assert_eq!(adoption_number([3], [session.number]), Some(4), "as the model has it");
}

/// Not a free one at once: somebody may hold the one that was deleted.
#[test]
fn a_session_that_is_missing_although_a_number_was_known_is_made_after_silence_or_by_a_statement() {
    let three = grant(home(), 3);
    for facts in [
        AdoptFacts { grant: Some(&three), ..NOTHING },
        AdoptFacts { grant: Some(&three), renew: true, ..NOTHING },
        AdoptFacts { copy: Some(3), ..NOTHING },
        AdoptFacts { known: Some(3), ..NOTHING },
    ] {
        assert_eq!(signs(&facts), (4, AdoptStep::Silence(5)));
        let run = AdoptFacts { longest: None, ..facts };
        assert_eq!(refused(&run), AdoptRefusal::SessionLost { number: 3 });
        let blind = AdoptFacts { watched: Err("no node"), ..facts };
        assert_eq!(refused(&blind), AdoptRefusal::Unwatched { number: 3, why: "no node".into() });
        for facts in [facts, run, blind] {
            assert_eq!(signs(&AdoptFacts { stated: true, ..facts }), (4, AdoptStep::Create));
        }
    }
}

#[test]
fn home_gets_no_grant_while_a_machine_that_may_hold_the_keys_has_not_ended() {
    let (away, session) = (grant(cloud(101, 1), 3), Session::free(3, Uuid::nil()));
    let facts = AdoptFacts { grant: Some(&away), session: Some(&session), ..NOTHING };
    let with = |machines: Result<&[KeyMachine], &str>| {
        let step = |plan| match plan {
            AdoptPlan::Sign { adoption, .. } => adoption.next(),
            AdoptPlan::Nothing { .. } => panic!("home may not sign"),
        };
        // Neither `--renew` nor a known number nor a statement about home makes it less careful.
        let [renew, stated] = [AdoptFacts { renew: true, ..facts }, AdoptFacts { stated: true, ..facts }];
        [facts, renew, stated, AdoptFacts { known: Some(9), ..facts }]
            .map(|facts| AdoptFacts { machines, ..facts }.plan().map(step))
    };
    assert!(with(Err("403")).iter().all(|plan| matches!(plan, Err(AdoptRefusal::CloudUnknown(_)))));
    assert!(with(Ok(&[])).iter().all(|plan| matches!(plan, Err(AdoptRefusal::MachineUnlisted { .. }))));
    for role in [Role::Standby, Role::Retained, Role::Promoted, Role::Other] {
        let runs = with(Ok(&[machine(role, false)]));
        assert!(runs.iter().all(|plan| matches!(plan, Err(AdoptRefusal::MachineRuns { .. }))), "{role:?}: {runs:?}");
        let ended = with(Ok(&[machine(role, true)]));
        assert!(ended.iter().all(|plan| *plan == Ok(AdoptStep::Raise)), "{role:?}: {ended:?}");
    }
    let (gone, other) = (101.into(), 102.into());
    let stated = |id| AdoptFacts { deleted: Some(id), ..facts }.plan();
    assert!(stated(&gone).is_ok() && stated(&other).is_err());
    // Whatever the grant says: a promoted machine that runs may hold the keys.
    let promoted = [machine(Role::Promoted, false)];
    let first = AdoptFacts { machines: Ok(&promoted), ..NOTHING };
    assert!(matches!(first.plan(), Err(AdoptRefusal::MachineRuns { .. })));
    let standby = [machine(Role::Standby, false)];
    assert_eq!(signs(&AdoptFacts { machines: Ok(&standby), ..NOTHING }), (1, AdoptStep::Create));
}

#[test]
fn a_grant_signed_elsewhere_counts_only_with_a_number_that_is_still_above_all_others() {
    let (three, s3) = (grant(home(), 3), Session::free(3, Uuid::nil()));
    let facts = AdoptFacts { grant: Some(&three), session: Some(&s3), renew: true, ..NOTHING };
    assert!(facts.plan_with(4).is_ok());
    for number in [0, 3, 5, u64::MAX] {
        assert!(facts.plan_with(number).is_err(), "{number}");
    }
    // Raised to it by the same command, which was interrupted.
    let s7 = Session::free(7, Uuid::nil());
    let again = AdoptFacts { session: Some(&s7), known: Some(6), ..facts };
    assert!(again.plan_with(7).is_ok() && again.plan_with(6).is_err() && again.plan_with(8).is_err());
    let GrantPlace::Home { site } = home() else { panic!("home") };
    assert_eq!(site, "home");
}
