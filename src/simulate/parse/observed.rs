//! What the sources say.

use super::{Statement, span, validator};
use crate::domain::{
    Evidence, InstanceId, InstanceRef, Interval, PromotionView, Reading, Source, Span, Time, TimeExt, Verdict,
    gate::{GateNeed, GateSight},
    promotion::{PromotionKind, PromotionState},
};

/// What the record of promotions says.
#[derive(Clone, Debug)]
pub struct PromotionSays {
    kind: PromotionKind,
    state: PromotionState,
    instance: InstanceId,
    /// When its step is over, after the moment at which this is read.
    due: Span,
    home_holds: bool,
    /// It signs a grant.
    signs: bool,
}

impl PromotionSays {
    /// That, read now; `opened_at` of what was read before if it is the same promotion.
    #[must_use]
    pub fn view(&self, before: Option<&PromotionView>, now: Time) -> PromotionView {
        let before = before.filter(|before| before.kind == self.kind);
        let before = before.filter(|before| before.state.is_open() || before.state == self.state);
        let instance = InstanceRef { zone: "nowhere".into(), name: "kept-eth-0".into(), id: self.instance.clone() };
        let signed = self.state == PromotionState::Done || self.kind == PromotionKind::ToHome;
        PromotionView {
            kind: self.kind,
            state: self.state,
            instance,
            number: if self.signs { 2 } else { 0 },
            opened_at: before.map_or(now, |before| before.opened_at),
            by: "ann@laptop".into(),
            reason: "as the scenario says".into(),
            step: None,
            due_at: now.plus(self.due),
            promoted: signed.then(|| self.instance.clone()).into_iter().collect(),
            home_holds: self.home_holds,
        }
    }
}

pub(super) fn promotion(to_cloud: bool, words: &[String]) -> Result<Statement, String> {
    let usage = || {
        "write: promotion|demotion VALIDATOR open|aborting|aborted|done [instance=101] [due=5m] [held] [unsigned]"
            .to_owned()
    };
    let [name, state, options @ ..] = words else { return Err(usage()) };
    let state = match state.as_str() {
        "open" => PromotionState::Open,
        "aborting" => PromotionState::Aborting,
        "aborted" => PromotionState::Aborted,
        "done" => PromotionState::Done,
        _ => return Err(usage()),
    };
    let kind = if to_cloud { PromotionKind::ToCloud } else { PromotionKind::ToHome };
    let (instance, due) = (101.into(), Span::from_mins(5));
    let mut says = PromotionSays { kind, state, instance, due, home_holds: false, signs: true };
    for option in options {
        match option.split_once('=') {
            Some(("instance", id)) => says.instance = super::number::<u64>(id)?.into(),
            Some(("due", due)) => says.due = span(due)?,
            None if option == "held" => says.home_holds = true,
            None if option == "unsigned" => says.signs = false,
            _ => return Err(usage()),
        }
    }
    Ok(Statement::Promotion { validator: validator(name)?, says })
}

/// What a gate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum GateSays {
    Runs,
    /// The process runs, and will be stopped.
    Trouble,
    /// It waits for silent epochs.
    Duties,
    /// It waits for them because it has seen duties.
    Stranger,
    /// It waits for something else.
    Waits,
    /// The same for so long that people are notified.
    WaitsLong,
    /// It does not answer.
    Nothing,
}

impl GateSays {
    /// That, seen now and believed for so long.
    #[must_use]
    pub fn sight(self, fresh: Span, now: Time) -> GateSight {
        let fresh_until = now.plus(fresh);
        let look = |runs| GateNeed::Look { why: "as the scenario says".into(), since: now, runs };
        let (verdict, holds_until, need) = match self {
            Self::Runs => (Verdict::Up, None, GateNeed::Nothing),
            Self::Trouble => (Verdict::Up, None, look(true)),
            Self::Duties => (Verdict::Unknown, Some(fresh_until), GateNeed::Nothing),
            Self::Stranger => {
                let need = GateNeed::Stranger { why: "as the scenario says".into(), since: now };
                (Verdict::Unknown, Some(fresh_until), need)
            }
            Self::Waits => (Verdict::Down, None, GateNeed::NotKnown),
            Self::WaitsLong => (Verdict::Down, None, look(false)),
            Self::Nothing => (Verdict::Unknown, None, GateNeed::NotKnown),
        };
        let about = Interval { from: now, to: now };
        let why = "as the scenario says".into();
        GateSight {
            reading: Reading { verdict, evidence: Evidence::Process, about, fresh_until, why },
            holds_until,
            need,
        }
    }
}

pub(super) fn signal(source: Source, usual: Evidence, words: &[String]) -> Result<Statement, String> {
    let [name, verdict, options @ ..] = words else {
        return Err(format!(
            "write: {source} VALIDATOR up|down|partial|unknown [evidence=…] [about=-6m..-1m] [fresh=1h]"
        ));
    };
    let verdict = match verdict.as_str() {
        "up" => Verdict::Up,
        "down" => Verdict::Down,
        "partial" => Verdict::Partial,
        "unknown" => Verdict::Unknown,
        other => return Err(format!("a verdict is up, down, partial or unknown, not '{other}'")),
    };
    let (mut evidence, mut about, mut fresh) = (usual, (Span::ZERO, Span::ZERO), Span::from_hours(24));
    for option in options {
        match option.split_once('=') {
            Some(("evidence", value)) => {
                evidence = match value {
                    "host" => Evidence::Host,
                    "kube" => Evidence::Kube,
                    "chain" => Evidence::Chain,
                    "process" => Evidence::Process,
                    other => return Err(format!("evidence is host, kube, chain or process, not '{other}'")),
                }
            }
            Some(("about", value)) => {
                let (from, to) = value.split_once("..").ok_or("write: about=-6m..-1m")?;
                about = (span(from)?, span(to)?);
            }
            Some(("fresh", value)) => fresh = span(value)?,
            _ => return Err(format!("'{option}' is not evidence=…, about=… or fresh=…")),
        }
    }
    Ok(Statement::Signal { validator: validator(name)?, source, verdict, evidence, about, fresh })
}

pub(super) fn gate(words: &[String]) -> Result<Statement, String> {
    let usage = || "write: gate VALIDATOR runs|trouble|duties|stranger|waits|waits-long|nothing [fresh=13m]".to_owned();
    let (name, says, fresh) = match words {
        [name, says] => (name, says, Span::from_hours(24)),
        [name, says, fresh] => (name, says, span(fresh.strip_prefix("fresh=").ok_or_else(usage)?)?),
        _ => return Err(usage()),
    };
    Ok(Statement::Gate { validator: validator(name)?, says: says.parse().map_err(|_| usage())?, fresh })
}
