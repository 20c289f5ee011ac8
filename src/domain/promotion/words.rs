//! What each effect does, what it costs and how it is undone, for people; and the plan of a dry run, which the same
//! functions make that are asked when it is done.

use std::time::Duration;

use super::{
    MachineFacts, NotedWatermark, PromotionEffect, PromotionEnd, PromotionFacts, PromotionRecord, PromotionStep,
    PromotionWait,
};
use crate::domain::{
    MachineState,
    gates::{GatePass, GateReport},
    ownership::{Grant, GrantPlace, Session},
};

/// More than any promotion takes.
const MOST_STEPS: usize = 64;

/// A step as the dry run prints it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct EffectWords {
    pub name: &'static str,
    pub what: String,
    pub cost: &'static str,
    pub undoing: &'static str,
}

const ABORT: &str = "--abort: the same backwards, nothing is signed";
const ABORT_SIGNED: &str =
    "--abort: one signed grant for home, which may take its session again, then the machine backwards";

impl PromotionEffect {
    #[must_use]
    pub fn words(self) -> EffectWords {
        let (what, cost, undoing) = match self {
            Self::Protect => (
                "turn the machine's deletion protection on and read it back; automation leaves every machine of the \
                 validator alone while the promotion is open",
                "nothing",
                ABORT,
            ),
            Self::Stop => {
                ("stop the machine and see it TERMINATED", "the standby is not ready for some minutes", ABORT)
            }
            Self::MakePermanent => (
                "clear its maximum run duration, keep its disks, set label, metadata and the tag for SSH",
                "it is billed until you delete it yourself",
                ABORT,
            ),
            Self::Rename => ("rename it to kept-…, which the watcher's role cannot touch", "nothing", ABORT),
            Self::Start => (
                "start the machine",
                "minutes to boot and to sync; where there is no capacity the promotion is taken back",
                ABORT,
            ),
            Self::Raise => (
                "raise the session's number, over exactly the version that was noted",
                "HOME STOPS SIGNING, and stays stopped until the grant or --abort",
                ABORT_SIGNED,
            ),
            Self::PutWatermark => {
                ("put the watermark into the machine's metadata (public data)", "nothing", ABORT_SIGNED)
            }
            Self::Sign => (
                "sign the grant for this boot of the machine, over exactly the one that is in force",
                "one signature; from then on only the machine may sign",
                "failover demote",
            ),
            Self::Carry => ("carry the grant to the machine's metadata", "nothing", "failover demote"),
            Self::SignHome => ("sign a grant for home", "one signature; home may sign again", "failover promote"),
            Self::RenameBack => ("rename the machine back to fo-…", "nothing", "failover promote"),
            Self::MakeTemporary => {
                ("give it back its maximum run duration, label and metadata", "nothing", "failover promote")
            }
            Self::Unprotect => ("turn its deletion protection off", "nothing", "failover promote"),
        };
        EffectWords { name: self.into(), what: what.to_owned(), cost, undoing }
    }
}

impl PromotionWait {
    #[must_use]
    pub fn words(self) -> EffectWords {
        let human = |time: Duration| crate::domain::human(time.try_into().unwrap_or(crate::domain::Span::MAX));
        let (name, what, cost, undoing) = match self {
            Self::Ready => ("wait_ready", "wait until the machine is ready".to_owned(), "minutes, or a sync", ABORT),
            Self::Fence(left) => {
                let until = match left {
                    Some(left) => format!("wait until home has given the session back, at most {}", human(left)),
                    None => "wait until home has given the session back: it continues without the ledger, so no time \
                             frees it; else the statement"
                        .to_owned(),
                };
                ("wait_fence", until, "nobody signs meanwhile", ABORT_SIGNED)
            }
            Self::Watermark => (
                "wait_watermark",
                "wait until the chain says enough for a watermark".to_owned(),
                "nobody signs meanwhile",
                ABORT_SIGNED,
            ),
            Self::Keys => (
                "move_keys",
                "move the keys: failover runbook VALIDATOR".to_owned(),
                "your work; nobody signs meanwhile",
                "failover demote",
            ),
            Self::Watch(_) => {
                ("watch", "watch for seven days for any sign of home".to_owned(), "nothing", "failover demote")
            }
        };
        EffectWords { name, what, cost, undoing }
    }
}

impl PromotionFacts<'_> {
    /// What would be done from here on if every gate passes and everything succeeds. The end is why it stops before the
    /// cloud signs, if it does.
    #[must_use]
    pub fn plan(&self) -> (Vec<EffectWords>, Option<PromotionEnd>) {
        let mut imagined = Imagined {
            record: self.record.cloned(),
            grant: self.grant.cloned(),
            session: self.session.cloned(),
            unchanged: self.unchanged,
            machine: self.machine.cloned(),
            gates: None,
        };
        let watermark = NotedWatermark { epoch: 0, digest: String::new() };
        let mut words = Vec::new();
        for _ in 0..MOST_STEPS {
            let facts = PromotionFacts {
                record: imagined.record.as_ref(),
                grant: imagined.grant.as_ref(),
                session: imagined.session.as_ref(),
                unchanged: imagined.unchanged,
                machine: imagined.machine.as_ref(),
                watermark: Some(&watermark),
                gates: imagined.gates.as_ref(),
                ..self.clone()
            };
            let step = facts.next();
            match &step {
                PromotionStep::Persist(_) => {}
                PromotionStep::Judge(GatePass::First | GatePass::SignsNothing) => {}
                PromotionStep::Judge(pass) => words.push(judge_words(*pass)),
                PromotionStep::Do(effect) => words.push(effect.words()),
                PromotionStep::Sign(_) => words.push(PromotionEffect::Sign.words()),
                PromotionStep::Wait(wait) => words.push(wait.words()),
                PromotionStep::Refused(_) | PromotionStep::Done => return (words, None),
                PromotionStep::Ended(end) => return (words, Some(end.clone())),
            }
            if let PromotionStep::Wait(PromotionWait::Keys | PromotionWait::Watch(_)) = step {
                return (words, None);
            }
            if let PromotionStep::Judge(pass) = step {
                let (at, raw, gates) = (self.now, self.raw, Vec::new());
                let subject = facts.subject(pass);
                imagined.gates = Some(GateReport { pass, subject, at, raw, epoch: None, gates });
                continue;
            }
            imagined.after(step);
        }
        (words, None)
    }
}

fn judge_words(pass: GatePass) -> EffectWords {
    let what =
        format!("look at all gates again ({pass}): older than ten minutes at the signature they are looked at again");
    EffectWords { name: "gates", what, cost: "nobody signs meanwhile", undoing: ABORT_SIGNED }
}

/// The world as it would be.
struct Imagined {
    record: Option<PromotionRecord>,
    grant: Option<Grant>,
    session: Option<Session>,
    unchanged: Duration,
    machine: Option<MachineFacts>,
    gates: Option<GateReport>,
}

impl Imagined {
    fn after(&mut self, step: PromotionStep) {
        match step {
            PromotionStep::Persist(record) => self.record = Some(*record),
            PromotionStep::Wait(PromotionWait::Ready) => {
                if let Some(machine) = &mut self.machine {
                    machine.reported_boot = Some(machine.ready_boot.get_or_insert_default().clone());
                }
            }
            PromotionStep::Wait(PromotionWait::Fence(left)) => match (left, &mut self.session) {
                (Some(left), _) => self.unchanged = self.unchanged.saturating_add(left),
                (None, Some(session)) => session.holder = None,
                (None, None) => {}
            },
            PromotionStep::Sign(order) => {
                if let (Some(grant), Some((instance, boot_id))) = (&mut self.grant, order.cloud) {
                    let (project, zone) = (String::new(), instance.zone);
                    grant.owner = GrantPlace::Cloud { project, zone, instance_id: instance.id, boot_id };
                    grant.number = order.number;
                }
            }
            PromotionStep::Do(effect) => self.done(effect),
            PromotionStep::Wait(PromotionWait::Watermark | PromotionWait::Keys | PromotionWait::Watch(_))
            | PromotionStep::Judge(_)
            | PromotionStep::Refused(_)
            | PromotionStep::Ended(_)
            | PromotionStep::Done => {}
        }
    }

    fn done(&mut self, effect: PromotionEffect) {
        if effect == PromotionEffect::Raise {
            if let (Some(record), Some(session)) = (&self.record, &mut self.session)
                && let Some(raise) = record.raise
            {
                *session = session.raised_to(record.number, raise.write);
                self.unchanged = Duration::ZERO;
            }
            return;
        }
        let Some(machine) = &mut self.machine else { return };
        match effect {
            PromotionEffect::Protect => machine.is_protected = true,
            PromotionEffect::Stop => {
                (machine.state, machine.is_terminated, machine.ready_boot) = (MachineState::Stopped, true, None);
            }
            PromotionEffect::MakePermanent => (machine.is_permanent, machine.is_temporary) = (true, false),
            PromotionEffect::Rename => machine.is_renamed = true,
            PromotionEffect::Start => {
                (machine.state, machine.is_terminated, machine.start_refused) = (MachineState::Running, false, false);
            }
            PromotionEffect::PutWatermark => {
                let made = self.record.as_ref().and_then(|record| record.watermark.as_ref());
                machine.watermark = made.map(|made| made.digest.clone());
            }
            PromotionEffect::Carry => machine.grant = self.grant.as_ref().map(Grant::digest),
            PromotionEffect::Raise
            | PromotionEffect::Sign
            | PromotionEffect::SignHome
            | PromotionEffect::RenameBack
            | PromotionEffect::MakeTemporary
            | PromotionEffect::Unprotect => {}
        }
    }
}
