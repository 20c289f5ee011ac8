//! `Watching` and `Suspected`: from opinions to an incident.

use super::{Draft, budget};
use crate::domain::{
    Action, Assessment, Block, ChainHealth, Incident, IncidentId, Mode, Phase, Policy, Reason, Span, Step, Time, Topic,
};

/// The span over which incidents are counted.
const DAY: Span = Span::from_hours(24);

pub(super) fn advance(draft: &mut Draft<'_>) {
    let now = draft.now;
    let assessment = draft.live.signals.assess(suspected_since(&draft.record.phase, now), now);
    if let Some(stale_at) = assessment.stale_at {
        // One nanosecond later it *is* stale.
        draft.wake(stale_at.checked_add(Span::from_nanos(1)).unwrap_or(stale_at));
    }
    if draft.is_frozen() {
        draft.tell(Topic::Slashed);
    }
    // An outage begins in the middle of an epoch, and that epoch is partly silent: only what lasts is a finding.
    if let Some(since) = assessment.partial_since {
        let late_at = since.checked_add(draft.policy.suspected_mail_after).unwrap_or(Time::MAX);
        if now >= late_at { draft.tell(Topic::Partial) } else { draft.wake(late_at) }
    }
    if assessment.downs == 0 {
        draft.live.held_since = None;
        calm(draft, assessment.partial_since.is_some());
        return;
    }
    if draft.record.phase == Phase::Watching {
        draft.enter(Phase::Suspected { since: now });
    }
    let Phase::Suspected { since } = draft.record.phase else { return };
    if !is_enough(&assessment, draft.policy) {
        draft.live.held_since = None;
        let late_at = since.checked_add(draft.policy.suspected_mail_after).unwrap_or(Time::MAX);
        if now >= late_at {
            draft.tell(Topic::SuspectedTooLong)
        } else {
            draft.wake(late_at)
        }
        return;
    }
    let held_since = *draft.live.held_since.get_or_insert(now);
    let confirmed_at = held_since.checked_add(draft.policy.hold_down).unwrap_or(Time::MAX);
    if now < confirmed_at {
        draft.wake(confirmed_at);
        return;
    }
    match block(draft) {
        None => open(draft, None),
        Some(block) => hold_back(draft, &block),
    }
}

fn suspected_since(phase: &Phase, now: Time) -> Time {
    if let Phase::Suspected { since } = phase { *since } else { now }
}

pub(super) fn is_enough(assessment: &Assessment, policy: &Policy) -> bool {
    assessment.downs >= policy.needed && !assessment.vetoed
}

/// Nothing says down. What people were told about the suspicion may be told again next time.
fn calm(draft: &mut Draft<'_>, partial: bool) {
    if matches!(draft.record.phase, Phase::Suspected { .. }) {
        draft.enter(Phase::Watching);
        draft.say(Reason::SuspicionOver);
    }
    let frozen = draft.is_frozen();
    let over = |topic: &Topic| match topic {
        Topic::Slashed => !frozen,
        Topic::Partial => !partial,
        _ => true,
    };
    if draft.record.told.iter().any(over) {
        draft.record.to_mut().told.retain(|topic| !over(topic));
    }
}

/// Why a confirmed outage must not become an incident now. The order is that of importance to the reader.
pub(super) fn block(draft: &Draft<'_>) -> Option<Block> {
    let (policy, record, now) = (draft.policy, &draft.record, draft.now);
    if let Some(keys) = &draft.live.keys {
        if !keys.slashed.is_empty() {
            return Some(Block::Slashed { keys: keys.slashed.len() });
        }
        if keys.active == 0 {
            return Some(Block::NoActiveKeys);
        }
    }
    if let ChainHealth::NotFinalising { epochs } = draft.world.chain.health
        && !draft.live.signals.is_probed()
    {
        return Some(Block::ChainNotFinalising { epochs });
    }
    if let Some(pause) = record.paused_at(now) {
        return Some(Block::Paused { until: pause.until, by: pause.by.clone(), why: pause.reason.clone() });
    }
    if let Some(hands) = draft.live.hands.as_ref().filter(|hands| now <= hands.fresh_until) {
        return Some(Block::Hands { why: hands.why.clone() });
    }
    if policy.mode == Mode::Observe {
        return Some(Block::ObserveMode);
    }
    if let Some(last) = record.history.last() {
        let until = last.closed_at.checked_add(policy.cooldown).unwrap_or(Time::MAX);
        if now < until {
            return Some(Block::Cooldown { until });
        }
    }
    let day_ago = now.checked_sub(DAY).unwrap_or(Time::MIN);
    if record.automatic_incidents_since(day_ago) >= policy.max_incidents_per_day {
        return Some(Block::TooMany { limit: policy.max_incidents_per_day });
    }
    budget::affordable(draft.world, policy, now).err()
}

fn hold_back(draft: &mut Draft<'_>, block: &Block) {
    let topic = match block {
        Block::ObserveMode | Block::Paused { .. } | Block::NoLadder => Topic::Confirmed,
        Block::Hands { .. } => Topic::Hands,
        Block::ChainNotFinalising { .. } => Topic::ChainSick,
        Block::Slashed { .. } => Topic::Slashed,
        Block::OverIncidentBudget { .. } | Block::OverMonthBudget { .. } | Block::PriceUnknown { .. } => Topic::Money,
        Block::Cooldown { .. } | Block::TooMany { .. } => Topic::Flapping,
        Block::NoActiveKeys => return,
    };
    if let Block::Paused { until, .. } | Block::Cooldown { until } = block {
        draft.wake(*until);
    }
    if let (Block::Hands { .. }, Some(hands)) = (block, &draft.live.hands) {
        // One nanosecond later they are no longer known.
        let until = hands.fresh_until.checked_add(Span::from_nanos(1)).unwrap_or(Time::MAX);
        draft.wake(until);
    }
    let first = !draft.record.told.contains(&topic);
    draft.tell_blocked(topic, block);
    if first {
        let views = draft.live.signals.views(draft.now);
        draft.say(Reason::Blocked { views, block: block.clone() });
    }
}

/// Opens an incident: the intent to look for its machine is the first thing that is persisted.
pub(super) fn open(draft: &mut Draft<'_>, by: Option<(&str, &str)>) {
    let now = draft.now;
    let cause = match by {
        Some((_, reason)) => reason.to_owned(),
        None => down_views(draft),
    };
    let first = budget::affordable(draft.world, draft.policy, now).ok();
    let others = draft.world.unhealthy() - usize::from(draft.was_unhealthy());
    let share = (others + 1) as f64 / draft.world.len().max(1) as f64;
    let mut incident = Incident {
        id: IncidentId::derive(draft.id, now),
        opened_at: now,
        suspected_at: suspected_since(&draft.record.phase, now),
        cause: cause.clone(),
        opened_by: by.map(|(who, _)| who.to_owned()),
        site_outage: others > 0 && share > draft.policy.max_unhealthy,
        rung: first.map_or(0, |(rung, _)| rung),
        creation: 0,
        failures: 0,
        steps: 0,
        machine_since: None,
        estimate: first.and_then(|(_, price)| price),
        given_up: Vec::new(),
    };
    let id = incident.id;
    let pending = incident.next(Step::Find, Action::Find, now);
    draft.live.healthy_since = None;
    super::boot::forget_machine(draft);
    draft.enter(Phase::Provisioning(incident, pending));
    draft.record.to_mut().told.retain(|topic| matches!(topic, Topic::Slashed | Topic::Partial));
    draft.say(Reason::Opened { incident: id, by: by.map(|(who, _)| who.to_owned()), cause });
    draft.say(Reason::Looking { why: "nothing is created before it is known that there is none" });
    draft.tell(Topic::Confirmed);
}

fn down_views(draft: &Draft<'_>) -> String {
    let views = draft.live.signals.views(draft.now);
    let down: Vec<String> =
        views.iter().filter(|view| view.verdict == crate::domain::Verdict::Down).map(ToString::to_string).collect();
    down.join(", ")
}

impl Draft<'_> {
    fn was_unhealthy(&self) -> bool {
        self.world
            .get(self.id)
            .is_some_and(|subject| subject.live.held_since.is_some() || subject.record.phase.incident().is_some())
    }
}
