//! The gates between a ready standby and its promotion, each with its evidence. Pure: what is known comes in.
//!
//! None of this promotes. The gates that need the fence at home cannot be proved yet, and one that is not proved is not
//! passed.

use serde::Serialize;

use super::{
    Accuracy, ChainHealth, ChainView, ClockOffset, Interval, KeyStates, Machine, Report, Span, Time, Validator, chain,
    clock, elapsed, human,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    Pass,
    Fail,
    /// Could not be found out. It is not safe.
    Unknown,
    /// Nothing here can prove it yet. It is not safe.
    NotChecked,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    pub name: &'static str,
    pub state: GateState,
    pub evidence: String,
    /// What would change it; empty when it passes.
    pub next: &'static str,
}

/// Everything the gates are judged by. `None` is "could not be found out".
#[derive(Clone, Debug, Default)]
pub struct GateEvidence {
    /// Of kind `generic`: beacon nodes know nothing of it.
    pub generic: bool,
    pub record: Option<Validator>,
    /// Read from the cloud just now: every machine of this validator, whatever the incident.
    pub machines: Option<Vec<Machine>>,
    /// The standby's own words, read just now.
    pub report: Option<Report>,
    pub keys: Option<KeyStates>,
    pub chain: ChainView,
    /// Silent epochs without a gap, as written down while they passed, up to the latest.
    pub silent_epochs: Option<SilentEpochs>,
    /// How far this machine's clock is off, by somebody else's.
    pub clock_offset: Option<ClockOffset>,
}

/// What the watcher wrote down, epoch by epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SilentEpochs {
    /// How many in a row since the incident was opened, with the control group live.
    pub count: u64,
    /// The last of them.
    pub last: u64,
    pub nodes: usize,
    /// From the beginning of the first of them to the end of the last that was written down.
    pub about: Interval,
    /// How long one of them takes.
    pub each: Span,
}

/// A restarted client under doppelganger protection is itself silent for up to 4 epochs, so fewer than 5 prove nothing
/// (Lighthouse book, "Doppelganger Protection").
pub const SILENT_EPOCHS: u64 = 5;
/// And no shorter time: where epochs are short, five of them pass while a machine boots, pulls an image or checks its
/// database.
pub const SILENT_FOR: Span = Span::from_mins(10);
/// Two sources that see the chain from different places.
pub const NODES: usize = 2;
/// What a clock may be off for slots to mean the same here and there.
pub const CLOCK: Span = Span::from_millis(500);

/// Judges every gate, in the order in which an operator can do something about them.
#[must_use]
pub fn gates(evidence: &GateEvidence, now: Time) -> Vec<Gate> {
    vec![
        ready(evidence),
        keys(evidence),
        finalising(evidence),
        silent(evidence, now),
        missed(),
        fenced(),
        only_one(evidence),
        watermark(),
        no_pause(evidence, now),
        clock_right(evidence),
    ]
}

fn gate(name: &'static str, state: GateState, evidence: impl Into<String>, next: &'static str) -> Gate {
    let next = if state == GateState::Pass { "" } else { next };
    Gate { name, state, evidence: evidence.into(), next }
}

fn ready(evidence: &GateEvidence) -> Gate {
    let name = "the standby is ready";
    let next = "wait until it is ready: failover status --watch";
    let fine =
        |report: &&Report| report.synced && !report.optimistic && !report.signer_seen && report.signer_hidden.is_none();
    let (state, seen) = match &evidence.record {
        None => (GateState::Unknown, "the ledger could not be read".to_owned()),
        Some(record) => match (record.standby().filter(|standby| standby.ready), &evidence.report) {
            (None, _) => (GateState::Fail, format!("the phase is {}", record.phase())),
            // Ready for three epochs, read from the machine itself, is proved with the fence; a report is a hint.
            (Some(standby), Some(report)) if fine(&report) => {
                let age = report.head_age_seconds;
                let seen = format!("{} reports synced, head {age} s old", standby.instance);
                (GateState::Unknown, format!("{seen}; three epochs are not proved yet"))
            }
            (Some(standby), _) => {
                (GateState::Unknown, format!("{} was ready, its report cannot be read now", standby.instance))
            }
        },
    };
    gate(name, state, seen, next)
}

fn keys(evidence: &GateEvidence) -> Gate {
    let name = "all keys are active or exited, none is slashed";
    if evidence.generic {
        return generic(name);
    }
    let next = "a slashed key must not be moved; wait for pending ones";
    match &evidence.keys {
        None => gate(name, GateState::Unknown, "no beacon node could say", "configure a beacon node that answers"),
        Some(keys) => {
            let seen = format!(
                "{} active, {} pending, {} exited, {} slashed",
                keys.active,
                keys.pending,
                keys.exited,
                keys.slashed.len()
            );
            let fine = keys.slashed.is_empty() && keys.pending == 0 && keys.active > 0;
            gate(name, if fine { GateState::Pass } else { GateState::Fail }, seen, next)
        }
    }
}

fn finalising(evidence: &GateEvidence) -> Gate {
    let name = "the chain finalises";
    if evidence.generic {
        return generic(name);
    }
    let next = "wait: without finality nothing that is seen is settled";
    match evidence.chain.health {
        ChainHealth::Finalising => gate(name, GateState::Pass, "finality is where it should be", ""),
        ChainHealth::NotFinalising { epochs } => gate(name, GateState::Fail, format!("not for {epochs} epochs"), next),
        ChainHealth::Unknown => gate(name, GateState::Unknown, "no beacon node could say", next),
    }
}

fn silent(evidence: &GateEvidence, now: Time) -> Gate {
    let name = "nothing has signed with these keys for 5 epochs";
    if evidence.generic {
        return generic(name);
    }
    let next = "wait, and let the watcher write down what two beacon nodes outside home see";
    match evidence.silent_epochs {
        None => gate(name, GateState::Unknown, "the watcher has written nothing down", next),
        Some(SilentEpochs { count, last, nodes, about, each }) => {
            let lasted = elapsed(about.from, about.to);
            let seen = format!(
                "silent in {count} epochs in a row up to {last} since the incident was opened, {} together, seen by \
                 {nodes} node(s), the last one ended {} ago",
                human(lasted),
                human(elapsed(about.to, now))
            );
            // Epochs of any age prove nothing about now, and a moment that has not come is a wrong clock.
            let fresh = about.to <= now && now <= chain::newest_until(about.to, each);
            let state = match () {
                () if count == 0 && fresh => GateState::Fail,
                () if count >= SILENT_EPOCHS && lasted >= SILENT_FOR && nodes >= NODES && fresh => GateState::Pass,
                () => GateState::Unknown,
            };
            gate(name, state, seen, next)
        }
    }
}

/// What only beacon nodes could show. For another chain nothing here knows what would prove it.
fn generic(name: &'static str) -> Gate {
    let seen = "the validator is of kind generic: this version knows neither its keys nor its chain";
    gate(name, GateState::NotChecked, seen, "move its keys by hand, and only when home can surely not sign any more")
}

fn missed() -> Gate {
    let next = "this check comes with the fence";
    gate("duties were missed in finalised epochs", GateState::NotChecked, "not checked by this version", next)
}

fn fenced() -> Gate {
    gate(
        "home is fenced: it cannot come back and sign",
        GateState::NotChecked,
        "there is no gate at home in this version, so nothing can prove it",
        "keep home off; promotion comes with the fence",
    )
}

fn only_one(evidence: &GateEvidence) -> Gate {
    let name = "there is no other standby";
    let next = "let the watcher remove the others: failover status";
    match &evidence.machines {
        None => gate(name, GateState::Unknown, "not every zone has answered", "try again when every zone answers"),
        Some(machines) if machines.len() == 1 => gate(name, GateState::Pass, machines[0].instance.to_string(), ""),
        Some(machines) => gate(name, GateState::Fail, format!("{} machines carry its label", machines.len()), next),
    }
}

fn watermark() -> Gate {
    let next = "this check comes with the fence";
    gate("the slashing protection has a watermark", GateState::NotChecked, "not checked by this version", next)
}

fn no_pause(evidence: &GateEvidence, now: Time) -> Gate {
    let name = "nobody has asked for quiet";
    let Some(record) = &evidence.record else {
        return gate(name, GateState::Unknown, "the ledger could not be read", "reach the ledger");
    };
    match record.paused_at(now) {
        Some(pause) => {
            let seen = format!("paused until {} by {}: {}", clock(pause.until), pause.by, pause.reason);
            gate(name, GateState::Fail, seen, "failover resume VALIDATOR --reason …")
        }
        None => gate(name, GateState::Pass, "no pause", ""),
    }
}

fn clock_right(evidence: &GateEvidence) -> Gate {
    let name = "this machine's clock is right";
    let next = "set the clock (chrony, systemd-timesyncd) and try again";
    let Some(offset) = evidence.clock_offset else {
        return gate(name, GateState::Unknown, "nothing to compare it with", next);
    };
    let state = match offset.accuracy(CLOCK) {
        Accuracy::Right => GateState::Pass,
        Accuracy::Wrong => GateState::Fail,
        Accuracy::Unclear => GateState::Unknown,
    };
    gate(name, state, format!("the cloud's clock is {offset} ahead of it"), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TimeExt as _;

    const MAINNET: Span = Span::from_secs(384);

    fn silent_epochs(each: Span, count: u64, nodes: usize, ended: Time) -> SilentEpochs {
        let from = ended.minus(each * i32::try_from(count).unwrap());
        SilentEpochs { count, last: 9, nodes, about: Interval { from, to: ended }, each }
    }

    fn silent_state(each: Span, count: u64, nodes: usize, ended: Time, now: Time) -> GateState {
        let silent_epochs = Some(silent_epochs(each, count, nodes, ended));
        silent(&GateEvidence { silent_epochs, ..GateEvidence::default() }, now).state
    }

    #[test]
    fn nothing_known_passes_nothing() {
        let gates = gates(&GateEvidence::default(), Time::UNIX_EPOCH);
        assert_eq!(gates.len(), 10);
        assert!(gates.iter().all(|gate| gate.state != GateState::Pass), "{gates:?}");
        assert!(gates.iter().all(|gate| !gate.next.is_empty()), "every refusal names the next thing to do");
    }

    #[test]
    fn four_silent_epochs_are_what_a_restarted_client_shows_too() {
        let now = Time::UNIX_EPOCH;
        let state = |count, nodes, ended| silent_state(MAINNET, count, nodes, ended, now);
        assert_eq!(state(4, 2, now), GateState::Unknown);
        assert_eq!(state(5, 1, now), GateState::Unknown);
        assert_eq!(state(5, 2, now), GateState::Pass);
        assert_eq!(state(0, 2, now), GateState::Fail);
        for not_now in [now - Span::from_mins(16), now + Span::from_mins(1)] {
            assert_eq!(state(50, 2, not_now), GateState::Unknown, "fifty epochs of another time");
        }
    }

    #[test]
    fn where_epochs_are_short_silence_has_to_last_and_to_be_of_now_all_the_same() {
        let (now, gnosis) = (Time::UNIX_EPOCH, Span::from_secs(80));
        assert_eq!(silent_state(gnosis, 5, 2, now, now), GateState::Unknown, "a machine that boots");
        assert_eq!(silent_state(gnosis, 8, 2, now, now), GateState::Pass);
        let later = now + Span::from_mins(5);
        assert_eq!(
            silent_state(gnosis, 8, 2, now, later),
            GateState::Unknown,
            "three epochs of which nothing is known"
        );
        assert_eq!(silent_state(MAINNET, 8, 2, now, later), GateState::Pass, "the next one has not ended");
    }

    #[test]
    fn a_clock_passes_only_when_it_is_surely_right() {
        let state = |least_ms, most_ms| {
            let clock_offset = Some(ClockOffset { least_ms, most_ms });
            clock_right(&GateEvidence { clock_offset, ..GateEvidence::default() }).state
        };
        assert_eq!(state(-100, 120), GateState::Pass);
        assert_eq!(state(400, 600), GateState::Unknown);
        assert_eq!(state(-3_600_100, -3_599_900), GateState::Fail);
    }

    #[test]
    fn what_only_beacon_nodes_could_show_is_not_checked_for_a_generic_validator() {
        let silent_epochs = Some(silent_epochs(MAINNET, 9, 2, Time::UNIX_EPOCH));
        let chain = ChainView { health: ChainHealth::Finalising, genesis_root: None };
        let evidence = GateEvidence { generic: true, silent_epochs, chain, ..GateEvidence::default() };
        for gate in [keys(&evidence), finalising(&evidence), silent(&evidence, Time::UNIX_EPOCH)] {
            assert_eq!(gate.state, GateState::NotChecked, "{gate:?}");
            assert!(gate.evidence.contains("kind generic") && !gate.next.is_empty(), "{gate:?}");
        }
    }

    #[test]
    fn the_fence_is_never_passed_here() {
        assert_eq!(fenced().state, GateState::NotChecked);
    }
}
