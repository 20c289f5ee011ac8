//! The real program, hung or frozen beyond its time: two minutes, the shortest there is, so `make test-gate` runs this.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use failover::domain::{Time, gate::WaitKind};
use rustix::process::Signal;

use crate::{
    local_house::{CLIENT, Gate, House},
    placed::{PATIENCE, Place, places, send, skipped},
};

const TTL: Duration = Duration::from_secs(120);
/// When anybody else takes the session, at the earliest.
const OLD: Duration = Duration::from_secs(152);
/// How often a gate that waits looks.
const WAIT: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(2);
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

struct Case {
    place: Place,
    one: Gate,
    /// Its folder goes last.
    house: House,
    began: Instant,
}

impl Case {
    fn new(place: Place, before: &str) -> Option<Self> {
        let house = House::granted()?;
        let began = Instant::now();
        let mut one = house.gate(place, "one", CLIENT).with(&["--gate-ttl", "2m"]).after(before).start();
        one.hears_up();
        Some(Self { place, one, house, began })
    }

    /// Not before its time, and not after it.
    fn ends_at_its_time(&self, what: &str) {
        assert!(!self.one.is_gone(TTL.saturating_sub(SOON) - self.began.elapsed()), "{what}: it ended early");
        assert!(self.one.is_gone(SOON * 2 + SOON), "{what}: it runs on");
        let ran = self.began.elapsed();
        println!("{:?}, {what}: the client ended after {ran:?}", self.place);
        assert!(ran <= TTL + SOON, "{what}: {ran:?}");
    }
}

/// The other gate of the house has waited all the time, and takes over when the session is old.
fn a_gate_that_hangs(place: Place) {
    let Some(case) = Case::new(place, ":") else { return };
    let mut other = case.house.gate(place, "other", CLIENT).with(&["--gate-ttl", "2m"]).start();
    other.waits(WaitKind::Session, "another process at home holds");
    send(case.one.gate(), Signal::STOP);
    case.ends_at_its_time("the gate hangs");
    assert_eq!(case.house.clients(), 0);
    other.hears_up_within(OLD + WAIT + PATIENCE - case.began.elapsed());
    let taken = case.began.elapsed();
    println!("{place:?}, the gate hangs: the other one's client runs after {taken:?}");
    assert!(taken >= OLD, "{taken:?}");
    send(case.one.gate(), Signal::CONT);
    case.one.waits(WaitKind::Session, "another process at home holds");
    other.runs();
    case.house.never_two();
}

/// The ledger takes no writes meanwhile: while it does, the gate alone renews, and the client may run.
fn a_keeper_that_hangs(place: Place) {
    let Some(case) = Case::new(place, ":") else { return };
    let ledger = rusqlite::Connection::open(case.house.path("ledger.sqlite")).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let keeper = case.one.keeper();
    send(keeper, Signal::STOP);
    case.ends_at_its_time("the keeper hangs");
    drop(ledger);
    let Case { house, mut one, .. } = case;
    one.hears_up_within(PATIENCE);
    house.never_two();
}

/// As a suspended machine, with its clock an hour behind when it continues.
fn everything_that_is_frozen(place: Place, set_back: bool) {
    let clock = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{place:?}-{}", std::process::id()));
    let before = format!(
        "export LD_PRELOAD={FAKETIME} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1",
        clock.display()
    );
    if set_back {
        fs::write(&clock, "+0\n").unwrap();
    }
    let Some(case) = Case::new(place, if set_back { &before } else { ":" }) else { return };
    // When the ledger last confirmed the session, by the gate's own clock.
    let confirmed = |gate: &Gate| Time::now().duration_since(gate.says().unwrap().renewed_at.unwrap()).as_secs();
    assert!(confirmed(&case.one) < 60, "by the true clock");
    if set_back {
        fs::write(&clock, "-3600\n").unwrap();
    }
    case.one.freeze(true);
    assert!(!case.one.is_gone(TTL + SOON - case.began.elapsed()), "it ended although nobody could act");
    let thawed = Instant::now();
    case.one.freeze(false);
    assert!(case.one.is_gone(SOON));
    println!("{place:?}, frozen, clock set back: {set_back}: gone {:?} after it continued", thawed.elapsed());
    let Case { house, mut one, .. } = case;
    one.hears_up_within(PATIENCE);
    one.runs();
    let ago = confirmed(&one);
    assert_eq!(ago > 3500, set_back, "confirmed {ago} s ago");
    house.never_two();
    if set_back {
        fs::remove_file(clock).unwrap();
    }
}

#[test]
#[ignore = "four minutes"]
fn whatever_hangs_beyond_the_time_the_client_has_ended_by_then() {
    let faketime = Path::new(FAKETIME).exists();
    if !faketime {
        skipped("no clock is set back: there is no libfaketime here, install faketime");
    }
    std::thread::scope(|scope| {
        for place in places() {
            scope.spawn(move || a_gate_that_hangs(place));
            scope.spawn(move || a_keeper_that_hangs(place));
            scope.spawn(move || everything_that_is_frozen(place, false));
            if faketime {
                scope.spawn(move || everything_that_is_frozen(place, true));
            }
        }
    });
}
