//! The gates between a ready standby and its promotion, each with its evidence. Pure: what is known comes in.
//!
//! None of this promotes, and one that is not proved is not passed. They are judged twice: before anything is done,
//! without those that only the raise and the wait bring about, and right before the signature.

mod fence;
mod pass;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::Serialize;

use super::{
    Accuracy, ChainHealth, ChainView, ClockOffset, InstanceId, Interval, KeyStates, Machine, Report, Span, Time,
    TimeExt as _, Validator, chain, clock, elapsed, human,
    promotion::{NotedOverride, PromotionRecord},
};

pub use fence::{DutyEpochs, FENCE_RECORDS, FenceFacts, HELD_DAYS};
pub use pass::{GateName, GatePass};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GateState {
    Pass,
    Fail,
    /// Could not be found out. It is not safe.
    Unknown,
    /// Nothing here can prove it yet. It is not safe.
    NotChecked,
    /// The raise and the wait bring it about; it is judged after them.
    NotYet,
    /// The operator passes over it.
    Overridden,
}

/// What the gates said, when, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GateReport {
    pub pass: GatePass,
    /// What they were judged for, by `PromotionFacts::judge`; nothing is done by what was said for nothing.
    #[serde(skip)]
    pub subject: Option<Box<PromotionRecord>>,
    /// For people.
    pub at: Time,
    /// The same by the clock of [`super::promotion::PromotionFacts::raw`], by which it gets old.
    #[serde(skip)]
    pub raw: Duration,
    /// How long an epoch of the chain is, where any site has written one down.
    #[serde(skip)]
    pub epoch: Option<Span>,
    pub gates: Vec<Gate>,
}

impl GateReport {
    /// The gates that keep this pass from passing.
    #[must_use]
    pub fn blocking(&self) -> Vec<GateName> {
        let blocks = |gate: &&Gate| match gate.state {
            GateState::Pass | GateState::Overridden => false,
            GateState::NotYet => !self.pass.is_before_the_wait(),
            GateState::Fail | GateState::Unknown | GateState::NotChecked => true,
        };
        self.gates.iter().filter(blocks).map(|gate| gate.id).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    pub id: GateName,
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
    /// It forges blocks and is not slashable; filled by `PromotionFacts::judge`, as are `promoted`, `stated` and
    /// `instance`.
    pub forges: bool,
    /// The machine that is promoted. `None`: no promotion is asked for.
    pub instance: Option<InstanceId>,
    pub record: Option<Validator>,
    /// Read from the cloud just now: every machine of this validator, whatever the incident.
    pub machines: Option<Vec<Machine>>,
    /// Those of them that the cloud has just shown TERMINATED, and not suspended with their memory.
    pub terminated: Vec<InstanceId>,
    /// Those of which the record of promotions says that they were promoted once.
    pub promoted: Vec<InstanceId>,
    /// The standby's own words, read just now.
    pub report: Option<Report>,
    pub keys: Option<KeyStates>,
    pub chain: ChainView,
    /// Whole epochs for which the standby has been ready without a break, by its reports and its chain view.
    pub ready_epochs: Option<u64>,
    /// Silent epochs without a gap, up to the latest, as the watcher at home wrote them down: shown, and not counted.
    pub silent_at_home: Option<SilentEpochs>,
    /// The same as sites outside home wrote them down; `nodes` are vantage points there, one of which may be the
    /// standby's own node.
    pub silent_outside: Option<SilentEpochs>,
    /// How long that has to last where home's gate has given nothing back: `grants.silent_for`. `None`: [`SILENT_FOR`].
    pub silent_for: Option<Span>,
    /// Home's gate has given the session back since its number was raised.
    pub released: bool,
    /// The canonical chain, of epochs that are finalised.
    pub missed: Option<MissedDuties>,
    pub fence: Option<FenceFacts>,
    /// The operator has stated how home is physically prevented from coming back.
    pub stated: bool,
    /// Silent epochs seen from outside home that are finalised.
    pub silent_finalised: Option<u64>,
    /// The epoch of the watermark that was made: nothing up to it can be signed again.
    pub watermark: Option<u64>,
    pub export: ExportGiven,
    /// How far this machine's clock is off, by somebody else's.
    pub clock_offset: Option<ClockOffset>,
}

/// What the canonical chain says of the last epochs that are finalised and lie after the incident's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MissedDuties {
    pub epochs: u64,
    /// Duties of these keys that were made, and missed.
    pub made: usize,
    pub missed: usize,
    /// Others made theirs, so it is not the chain.
    pub control_made: bool,
}

/// The operator's EIP-3076 export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportGiven {
    #[default]
    None,
    Clean,
    Findings(usize),
}

/// What a watcher wrote down, epoch by epoch.
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

impl SilentEpochs {
    /// When this epoch begins, whether it is one of them or not.
    fn begin_of(&self, epoch: u64) -> Time {
        let after = self.each.as_millis().saturating_mul(i128::from(epoch) - i128::from(self.last) - 1);
        let after = after.clamp(i64::MIN.into(), i64::MAX.into());
        self.about.to.plus(Span::from_millis(i64::try_from(after).unwrap_or_default()))
    }
}

/// A restarted client under doppelganger protection is itself silent for up to 4 epochs, so fewer than 5 prove nothing
/// (Lighthouse book, "Doppelganger Protection").
pub const SILENT_EPOCHS: u64 = 5;
/// And no shorter time, unless something else is configured: where epochs are short, five of them pass while a machine boots,
/// pulls an image or checks its database.
pub const SILENT_FOR: Span = Span::from_mins(10);
/// When home's gate has given the session back, or the machine is TERMINATED: that is the fence, and silence the
/// second look.
pub const SILENT_AFTER_RELEASE: u64 = 2;
/// For so many epochs the standby has to have been ready without a break.
pub const READY_EPOCHS: u64 = 3;
/// Two sources that see the chain from different places.
pub const NODES: usize = 2;
/// What a clock may be off for slots to mean the same here and there.
pub const CLOCK: Span = Span::from_millis(500);

/// Judges every gate of this pass, in the order in which an operator can do something about them.
#[must_use]
pub fn judge(evidence: &GateEvidence, pass: GatePass, overrides: &[NotedOverride], now: Time) -> GateReport {
    let all = [
        ready(evidence),
        keys(evidence),
        finalising(evidence),
        silent(evidence, pass, now),
        missed(evidence),
        fence::fenced(evidence, now),
        only_one(evidence),
        watermark(evidence, now),
        no_pause(evidence, now),
        clock_right(evidence),
        export(evidence),
    ];
    let of_this_pass = |gate: Gate| if pass.is_before_the_wait() { gate.before_the_wait() } else { gate };
    let is_asked = |gate: &Gate| pass.asks(gate.id) && (!evidence.forges || gate.id.is_for_a_forger());
    let gates = all.into_iter().filter(is_asked).map(|gate| of_this_pass(gate).overridden(overrides)).collect();
    let epoch = evidence.silent_outside.map(|silent| silent.each);
    GateReport { pass, subject: None, at: now, raw: Duration::ZERO, epoch, gates }
}

impl Gate {
    /// Somebody who signs outside the gate is found before home is stopped.
    fn before_the_wait(self) -> Self {
        let fails = self.id == GateName::Fenced && self.state == GateState::Fail;
        if !self.id.is_after_the_wait() || fails || self.state == GateState::NotChecked {
            return self;
        }
        Self { state: GateState::NotYet, next: "the raise and the wait bring it about", ..self }
    }

    fn overridden(self, overrides: &[NotedOverride]) -> Self {
        let over = overrides.iter().find(|over| over.gate == self.id && self.id.may_be_overridden());
        match (over, self.state) {
            (Some(over), GateState::Fail | GateState::Unknown | GateState::NotChecked) => {
                let evidence = format!("{}; the operator passes over it: {}", self.evidence, over.reason);
                Self { state: GateState::Overridden, evidence, next: "", ..self }
            }
            (Some(_) | None, _) => self,
        }
    }
}

fn gate(id: GateName, state: GateState, evidence: impl Into<String>, next: &'static str) -> Gate {
    let next = if state == GateState::Pass { "" } else { next };
    let name = match id {
        GateName::Ready => "the standby has been ready for 3 epochs",
        GateName::Keys => "all keys are active or exited, none is slashed",
        GateName::Finalising => "the chain finalises",
        GateName::Silent => "nothing has signed with these keys, as seen from outside home",
        GateName::Missed => "duties were missed in finalised epochs",
        GateName::Fenced => "home is fenced: it cannot come back and sign",
        GateName::OnlyOne => "there is no other standby",
        GateName::Watermark => "the slashing protection has a watermark of after home's last signature",
        GateName::NoPause => "nobody has asked for quiet",
        GateName::Clock => "this machine's clock is right",
        GateName::Export => "the operator's export, if given, has no findings",
    };
    Gate { id, name, state, evidence: evidence.into(), next }
}

fn ready(evidence: &GateEvidence) -> Gate {
    let next = "wait until it is ready: failover status --watch";
    let fine =
        |report: &&Report| report.synced && !report.optimistic && !report.signer_seen && report.signer_hidden.is_none();
    let (state, seen) = match &evidence.record {
        None => (GateState::Unknown, "the ledger could not be read".to_owned()),
        Some(record) => match (record.standby().filter(|standby| standby.ready), &evidence.report) {
            (None, _) => (GateState::Fail, format!("the phase is {}", record.phase())),
            (Some(standby), Some(report)) if fine(&report) => {
                let age = report.head_age_seconds;
                let seen = format!("{} reports synced, head {age} s old", standby.instance);
                match evidence.ready_epochs {
                    Some(epochs) if epochs >= READY_EPOCHS => (GateState::Pass, format!("{seen}; for {epochs} epochs")),
                    Some(epochs) => (GateState::Unknown, format!("{seen}; for {epochs} epochs only")),
                    None => (GateState::Unknown, format!("{seen}; for how many epochs is not known")),
                }
            }
            (Some(standby), _) => {
                (GateState::Unknown, format!("{} was ready, its report cannot be read now", standby.instance))
            }
        },
    };
    gate(GateName::Ready, state, seen, next)
}

fn keys(evidence: &GateEvidence) -> Gate {
    let name = GateName::Keys;
    if evidence.generic {
        return generic(name);
    }
    let next = "a slashed key must not be moved; wait for pending ones; correct one that the chain does not know";
    match &evidence.keys {
        None => gate(name, GateState::Unknown, "no beacon node could say", "configure a beacon node that answers"),
        Some(keys) => {
            let seen = format!(
                "{} active, {} pending, {} exited, {} slashed, {} not on the chain",
                keys.active,
                keys.pending,
                keys.exited,
                keys.slashed.len(),
                keys.missing
            );
            let fine = keys.slashed.is_empty() && keys.pending == 0 && keys.missing == 0 && keys.active > 0;
            gate(name, if fine { GateState::Pass } else { GateState::Fail }, seen, next)
        }
    }
}

fn finalising(evidence: &GateEvidence) -> Gate {
    let name = GateName::Finalising;
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

fn silent(evidence: &GateEvidence, pass: GatePass, now: Time) -> Gate {
    let name = GateName::Silent;
    if evidence.generic {
        return generic(name);
    }
    let next = "wait, and let sites outside home write down what two beacon nodes there see";
    let at_home = match evidence.silent_at_home {
        Some(home) => format!("; at home, which does not count: {} in a row up to {}", home.count, home.last),
        None => String::new(),
    };
    match evidence.silent_outside {
        None => gate(name, GateState::Unknown, format!("nobody outside home has written anything down{at_home}"), next),
        Some(SilentEpochs { count, last, nodes, about, each }) => {
            let lasted = elapsed(about.from, about.to);
            let seen = format!(
                "silent in {count} epochs in a row up to {last} since the incident was opened, {} together, seen from \
                 {nodes} place(s) outside home, the last one ended {} ago{at_home}",
                human(lasted),
                human(elapsed(about.to, now))
            );
            // Epochs of any age prove nothing about now, and a moment that has not come is a wrong clock.
            let fresh = about.to <= now && now <= chain::newest_until(about.to, each);
            let enough = match evidence.released || pass == GatePass::Home {
                true => count >= SILENT_AFTER_RELEASE,
                false => count >= SILENT_EPOCHS && lasted >= evidence.silent_for.unwrap_or(SILENT_FOR),
            };
            let state = match () {
                () if count == 0 && fresh => GateState::Fail,
                () if enough && nodes >= NODES && fresh => GateState::Pass,
                () => GateState::Unknown,
            };
            gate(name, state, seen, next)
        }
    }
}

/// What only beacon nodes could show. For another chain nothing here knows what would prove it.
fn generic(name: GateName) -> Gate {
    let seen = "the validator is of kind generic: this version knows neither its keys nor its chain";
    gate(name, GateState::NotChecked, seen, "move its keys by hand, and only when home can surely not sign any more")
}

fn missed(evidence: &GateEvidence) -> Gate {
    let name = GateName::Missed;
    if evidence.generic {
        return generic(name);
    }
    let next = "wait until the epochs after the incident's beginning are finalised";
    let Some(MissedDuties { epochs, made, missed, control_made }) = evidence.missed else {
        return gate(name, GateState::Unknown, "nothing says what the canonical chain has of them", next);
    };
    let seen = format!("{made} made and {missed} missed in {epochs} finalised epochs");
    let state = match () {
        () if made > 0 => GateState::Fail,
        () if epochs > 0 && missed > 0 && control_made => GateState::Pass,
        () => GateState::Unknown,
    };
    gate(name, state, seen, next)
}

fn only_one(evidence: &GateEvidence) -> Gate {
    let name = GateName::OnlyOne;
    let next = "let the watcher remove the others: failover status";
    let Some(machines) = &evidence.machines else {
        return gate(name, GateState::Unknown, "not every zone has answered", "try again when every zone answers");
    };
    // One that was demoted keeps its disk, and only a grant for another boot of it starts it again.
    let is_kept = |machine: &&Machine| {
        let id = &machine.instance.id;
        evidence.promoted.contains(id) && evidence.terminated.contains(id)
    };
    let (kept, others): (Vec<_>, Vec<_>) = machines.iter().partition(is_kept);
    let seen = match kept.len() {
        0 => String::new(),
        kept => format!("; {kept} beside it were promoted once and are TERMINATED"),
    };
    let is_other = |one: &Machine| evidence.instance.as_ref().is_some_and(|meant| *meant != one.instance.id);
    match &others[..] {
        [one] if is_other(one) => {
            let seen = format!("{} is not the machine that is promoted{seen}", one.instance);
            gate(name, GateState::Fail, seen, "take the promotion back with --abort and begin again with this one")
        }
        [one] => gate(name, GateState::Pass, format!("{}{seen}", one.instance), ""),
        others => gate(name, GateState::Fail, format!("{} machines carry its label{seen}", others.len()), next),
    }
}

/// Its epoch begins after the last moment at which home can have signed: when the session was given back or got old; with
/// a statement, which says nothing of when home went off, when the silence began.
fn watermark(evidence: &GateEvidence, now: Time) -> Gate {
    let next = "wait: it is made again when nothing else is missing";
    let by_session = evidence.fence.as_ref().and_then(|facts| facts.over(now));
    let (state, seen) = match (evidence.watermark, evidence.silent_outside) {
        (None, _) => (GateState::Unknown, "there is none"),
        (Some(_), None) => (GateState::Unknown, "nothing says when its epoch begins"),
        (Some(epoch), Some(silent)) => {
            let last = match evidence.stated {
                true => Some(by_session.unwrap_or(Time::MIN).max(silent.about.from)),
                false => by_session,
            };
            match last.filter(|last| *last <= now) {
                None => (GateState::Unknown, "home may still sign, so that nothing is above all that it has signed"),
                Some(last) if silent.begin_of(epoch) >= last => (GateState::Pass, "made after home can have signed"),
                Some(_) => (GateState::Fail, "made while home can have signed"),
            }
        }
    };
    gate(GateName::Watermark, state, seen, next)
}

fn export(evidence: &GateEvidence) -> Gate {
    let next = "export it again, after the validator client was stopped: failover slashing lint";
    let (state, seen) = match evidence.export {
        ExportGiven::None => (GateState::Pass, "none was given".to_owned()),
        ExportGiven::Clean => (GateState::Pass, "no findings".to_owned()),
        ExportGiven::Findings(findings) => (GateState::Fail, format!("{findings} findings")),
    };
    gate(GateName::Export, state, seen, next)
}

fn no_pause(evidence: &GateEvidence, now: Time) -> Gate {
    let name = GateName::NoPause;
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
    let name = GateName::Clock;
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
