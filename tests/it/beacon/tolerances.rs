//! Whether what we allow chains and nodes suits chains of every shape: their slots and blocks by lot, a node that gets
//! them late and answers slowly, polled as the watcher polls, judged by the functions that judge on the day.
//!
//! `cargo test --test it -- tolerances --nocapture` prints the tables of decision 0017.

use std::collections::{BTreeMap, BTreeSet};

use failover::domain::{
    PublicKey, Span, Time, Verdict,
    chain::{
        ChainTime, Epoch, KeyInfo, KeyStatus, Liveness, NodeEpoch, NodeTrouble, NodeWatch, Slot, SyncStatus, agree,
        assess_about, is_worth_asking_again,
    },
};

use super::model::{Chain, Missed, SHAPES, Shape};

/// Ours is one key, the hardest case: of several, not all would be overlooked together.
const OURS: u64 = 7;
const CONTROL: std::ops::Range<u64> = 100..132;
/// The longest that one request may take, as in `sources::chain`.
const TIMEOUT: f64 = 5.0;

fn key() -> PublicKey {
    PublicKey::new([7; 48])
}

fn at(seconds: f64) -> Time {
    Time::UNIX_EPOCH + Span::from_secs_f64(seconds)
}

fn seconds(at: Time) -> f64 {
    at.duration_since(Time::UNIX_EPOCH).as_secs_f64()
}

/// The watcher's loop around the real judges: what it asks, in which order, and when.
struct Watcher {
    time: ChainTime,
    watch: NodeWatch,
    now: f64,
    asked: Option<Epoch>,
}

/// One epoch, judged, and when.
struct Judged {
    epoch: u64,
    verdict: Verdict,
    why: String,
    at: f64,
}

impl Watcher {
    fn new(chain: &Chain) -> Self {
        let time = chain.time();
        Self { time, watch: NodeWatch::default(), now: 0.5, asked: None }
    }

    /// The next epoch that is judged.
    fn next(&mut self, chain: &mut Chain) -> Judged {
        let into = self.time.slot() / 3;
        loop {
            let (slot, due) = self.time.next_look(at(self.now), into);
            self.now = seconds(due) + 0.002;
            let current = self.time.epoch_of(slot);
            match current.previous() {
                Some(epoch) if slot >= self.time.asked_from(current) && self.asked != Some(epoch) => {
                    let look = self.ask(epoch, chain);
                    if is_worth_asking_again(std::slice::from_ref(&look), &self.time, at(self.now)) {
                        continue;
                    }
                    self.asked = Some(epoch);
                    let observed_at = seconds(look.observed_at);
                    let agreed = agree(epoch, &[look], &[key()]);
                    return Judged { epoch: epoch.0, verdict: agreed.verdict, why: agreed.why, at: observed_at };
                }
                Some(_) | None => {
                    let end = seconds(self.time.start_of(Slot(slot.0 + 1)));
                    let _ = self.status(chain, end);
                }
            }
        }
    }

    /// Asks the node something that it answers by `deadline`, and says when it looked at itself.
    fn question(&mut self, chain: &mut Chain, deadline: f64, weight: f64) -> Result<f64, NodeTrouble> {
        let (looked, answered) = chain.answer(self.now, weight);
        let limit = (self.now + TIMEOUT).min(deadline);
        self.now = answered.min(limit);
        if answered > limit { Err(NodeTrouble::NoAnswer) } else { Ok(looked) }
    }

    fn status(&mut self, chain: &mut Chain, deadline: f64) -> Result<SyncStatus, NodeTrouble> {
        let status = self.question(chain, deadline, 1.0).map(|looked| chain.status(looked));
        self.watch.observe(status.as_ref().map_err(Clone::clone), &self.time, at(self.now));
        status
    }

    fn status_about(&mut self, epoch: Epoch, chain: &mut Chain, deadline: f64) -> Result<(), NodeTrouble> {
        let status = self.status(chain, deadline)?;
        assess_about(epoch, &status, &self.time, at(self.now))
    }

    fn liveness(&mut self, epoch: Epoch, chain: &mut Chain) -> Result<Liveness, NodeTrouble> {
        let end = seconds(self.time.interval(Epoch(epoch.0 + 1)).to);
        self.status_about(epoch, chain, end)?;
        self.question(chain, end, 1.0)?;
        self.question(chain, end, 6.0)?;
        self.watch.well_throughout(self.time.interval(epoch), &self.time)?;
        let looked = self.question(chain, end, 2.0)?;
        let asked = std::iter::once(OURS).chain(CONTROL);
        let live = asked.map(|index| (index, chain.is_live(index, epoch.0, looked))).collect();
        self.status_about(epoch, chain, end)?;
        if self.time.epoch_at(at(self.now)) != Some(Epoch(epoch.0 + 1)) {
            return Err(NodeTrouble::TooLate);
        }
        Ok(Liveness { live, control: CONTROL.collect() })
    }

    fn ask(&mut self, epoch: Epoch, chain: &mut Chain) -> NodeEpoch {
        let liveness = self.liveness(epoch, chain);
        let observed_at = self.now;
        // What the chain paid, and what is final, is asked only of a node that is well.
        if liveness.is_ok() {
            let _ = self.question(chain, self.now + TIMEOUT, 4.0);
        }
        NodeEpoch {
            node: "home".into(),
            peer: None,
            epoch,
            genesis_root: None,
            well_since: self.watch.well_since(),
            keys: Some(BTreeMap::from([(key(), KeyInfo { index: OURS, status: KeyStatus::Active })])),
            live: BTreeSet::new(),
            liveness,
            rewards: Err(NodeTrouble::NotAsked),
            finalised: None,
            observed_at: at(observed_at),
        }
    }
}

#[derive(Default)]
struct Rates {
    epochs: u32,
    unknown: u32,
    down: u32,
    why: BTreeMap<String, u32>,
}

impl Rates {
    fn percent(&self) -> f64 {
        f64::from(self.unknown) * 100.0 / f64::from(self.epochs)
    }

    fn take(&mut self, judged: Judged) {
        self.epochs += 1;
        self.unknown += u32::from(judged.verdict == Verdict::Unknown);
        self.down += u32::from(judged.verdict == Verdict::Down);
        if judged.verdict != Verdict::Up {
            *self.why.entry(judged.why).or_default() += 1;
        }
    }
}

/// A validator that works throughout, on a chain of this shape.
fn healthy(shape: Shape, missed: Missed, cuts: bool, epochs: u32, seed: u64) -> Rates {
    let mut chain = Chain::new(shape, missed, cuts, seed);
    let mut watcher = Watcher::new(&chain);
    let mut rates = Rates::default();
    // It says nothing before it has watched a whole epoch, and is not asked to.
    while watcher.next(&mut chain).epoch < 3 {}
    for _ in 0..epochs {
        rates.take(watcher.next(&mut chain));
    }
    rates
}

fn lot(percent: u32) -> Missed {
    Missed { share: f64::from(percent) / 100.0, again: f64::from(percent) / 100.0 }
}

/// After an empty slot the next one is empty half of the time; on the whole one in ten is.
const BURSTS: Missed = Missed { share: 0.1, again: 0.5 };

#[test]
fn a_chain_of_any_shape_is_known_in_99_of_100_epochs_and_never_wrongly_silent() {
    println!("{:24} {:>7} {:>7} {:>7} {:>7} {:>7}", "unknown, % of epochs", "5 %", "10 %", "15 %", "20 %", "bursts");
    for shape in SHAPES {
        let epochs = if shape.named { 1200 } else { 400 };
        let mut columns = Vec::new();
        for (column, missed) in [lot(5), lot(10), lot(15), lot(20), BURSTS].into_iter().enumerate() {
            let seed = u64::from(shape.slot_seconds) << 16 | u64::from(shape.slots) << 8 | column as u64;
            let rates = healthy(shape, missed, false, epochs, seed);
            assert_eq!(rates.down, 0, "{shape:?} {missed:?}: {:?}", rates.why);
            // Bursts leave half of a very short epoch without a block, and then nobody can know.
            let most = if missed.again <= 0.1 || shape.slots >= 16 { 1.0 } else { 4.0 };
            if missed.share <= 0.1 {
                assert!(rates.percent() <= most, "{shape:?} {missed:?}: {} %, {:?}", rates.percent(), rates.why);
            }
            columns.push(format!("{:7.2}", rates.percent()));
        }
        println!("{:24} {}", shape.to_string(), columns.join(" "));
    }
}

#[test]
fn a_node_that_is_cut_off_for_minutes_and_never_says_so_makes_nobody_silent() {
    for shape in SHAPES {
        let rates = healthy(shape, lot(10), true, 400, u64::from(shape.slots));
        assert_eq!(rates.down, 0, "{shape:?}: {:?}", rates.why);
        assert!(rates.unknown > 0, "{shape:?}: the node was cut off, and nothing was noticed");
    }
}

#[test]
fn a_real_outage_is_said_within_three_epochs() {
    println!("{:24} {:>9} {:>9}", "seconds to down", "mean", "worst");
    for shape in SHAPES {
        let (mut sum, mut worst, mut late, trials) = (0.0, 0.0_f64, 0, 60);
        for trial in 0..trials {
            let mut chain = Chain::new(shape, lot(10), false, 1_000 + trial);
            let mut watcher = Watcher::new(&chain);
            let epoch = shape.epoch_seconds();
            let stops = epoch * (5.0 + trial as f64 / trials as f64);
            chain.stops(OURS, stops);
            let down = loop {
                let judged = watcher.next(&mut chain);
                assert!(judged.verdict != Verdict::Down || judged.at > stops, "{shape:?}: down before it stopped");
                if judged.verdict == Verdict::Down {
                    break judged.at - stops;
                }
            };
            sum += down;
            worst = worst.max(down);
            late += u32::from(down > 3.0 * epoch);
        }
        println!("{:24} {:9.0} {worst:9.0}", shape.to_string(), sum / trials as f64);
        // One epoch in a hundred is not known; then the next one says it.
        assert!(late <= 2 && worst <= 4.0 * shape.epoch_seconds(), "{shape:?}: {late} late, {worst} s");
    }
}
