//! Where a validator is, for people. It changes nothing and decides nothing.

use super::{Transition, detect, provision, ready};
use crate::domain::{
    Action, Attention, Case, Owner, Policy, Reason, Span, Stage, Subject, Time, ValidatorId, Watch, World, elapsed,
};

/// Where a validator is now and why, in the words that are used everywhere.
#[must_use]
pub fn explain(world: &World, id: &ValidatorId, now: Time, policy: &Policy) -> Option<Reason> {
    let subject = world.get(id)?;
    if let Some(case) = &subject.record.case {
        return Some(of_case(world, id, subject, case, now, policy));
    }
    let views = subject.live.signals.views(now);
    if let Some(reason) = of_owner(subject, now) {
        return Some(reason);
    }
    let Watch::Suspected { since, .. } = subject.record.watch else { return Some(Reason::Well { views }) };
    if subject.live.signals.assess(since, policy.needed, now).vetoed {
        return Some(Reason::Vetoed { views });
    }
    let Some(down_since) = subject.live.down_since else {
        return Some(Reason::Waiting { views, needs: policy.needed });
    };
    let left = (policy.hold_down - elapsed(down_since, now)).max(Span::ZERO);
    let block =
        Transition::new(world, id, now, policy).filter(|_| left.is_zero()).and_then(|turn| detect::block(&turn));
    Some(match block {
        Some(block) => Reason::Blocked { views, block },
        None => Reason::Holding { views, left },
    })
}

/// The gravest first: what a human has to look at, what freezes everything, what holds a creation back, then the stage.
fn of_case(world: &World, id: &ValidatorId, subject: &Subject, case: &Case, now: Time, policy: &Policy) -> Reason {
    let Subject { record, live } = subject;
    if let Some(attention) = &case.attention {
        let gone = *attention != Attention::Vanished && live.machine.as_ref().is_some_and(|machine| machine.gone);
        return Reason::NeedsHuman { attention: attention.clone(), gone };
    }
    if !record.slashed.is_empty() {
        return Reason::Frozen { keys: record.slashed.len() };
    }
    if let Some(reason) = of_owner(subject, now) {
        return reason;
    }
    match &case.stage {
        Stage::Provisioning(pending) => match record.paused_at(now) {
            Some(pause) if pending.action != Action::Find => {
                Reason::Paused { until: pause.until, by: pause.by.clone(), why: pause.reason.clone() }
            }
            Some(_) | None => provision::explain(&case.incident, pending, live),
        },
        Stage::Standing(standby) => ready::explain(id, subject, standby, &world.chain, now, policy),
        Stage::Releasing { .. } => Reason::Releasing { why: "every machine of the incident goes".into() },
    }
}

/// While its machines are people's alone.
fn of_owner(subject: &Subject, now: Time) -> Option<Reason> {
    let (record, views) = (&subject.record, || subject.live.signals.views(now));
    if let Some(open) = record.open_promotion() {
        return Some(Reason::Promotion { kind: open.kind, state: open.state, by: open.by.clone() });
    }
    match &record.owner {
        Owner::Unknown | Owner::Home => None,
        Owner::Moving { number } => Some(Reason::Moving { number: *number, views: views() }),
        Owner::Cloud { number, instance, .. } => {
            Some(Reason::CloudOwns { number: *number, instance: instance.clone(), views: views() })
        }
    }
}
