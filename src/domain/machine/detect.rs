//! `Watching` and `Suspected`: from opinions to an incident.

use super::Draft;
use crate::domain::{
    Action, Assessment, Block, ChainHealth, Incident, IncidentId, Mode, Phase, Policy, PricedRung, Reason, Span, Step,
    Time, Topic, Usd, ValidatorId, World, elapsed,
};

/// The span over which incidents and money are counted.
const DAY: Span = Span::from_hours(24);
const MONTH: Span = Span::from_hours(30 * 24);

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
    if assessment.partial {
        draft.tell(Topic::Partial);
    }
    if assessment.downs == 0 {
        draft.live.held_since = None;
        calm(draft, assessment.partial);
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

fn is_enough(assessment: &Assessment, policy: &Policy) -> bool {
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
fn block(draft: &Draft<'_>) -> Option<Block> {
    let (policy, record, now) = (draft.policy, &draft.record, draft.now);
    if let Some(keys) = &draft.live.keys {
        if !keys.slashed.is_empty() {
            return Some(Block::Slashed { keys: keys.slashed.len() });
        }
        if keys.active == 0 {
            return Some(Block::NoActiveKeys);
        }
    }
    if let ChainHealth::NotFinalising { epochs } = draft.world.chain.health {
        return Some(Block::ChainNotFinalising { epochs });
    }
    if let Some(pause) = record.paused_at(now) {
        return Some(Block::Paused { until: pause.until, by: pause.by.clone(), why: pause.reason.clone() });
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
    affordable(draft.world, policy, now).err()
}

/// The first rung that the budget allows, or why there is none.
///
/// # Errors
/// The block that the last rung met.
pub(super) fn affordable(world: &World, policy: &Policy, now: Time) -> Result<(usize, Option<Usd>), Block> {
    let mut met = Block::NoLadder;
    for (index, rung) in policy.ladder.iter().enumerate() {
        match within_budget(world, policy, rung, Usd(0.0), now) {
            Ok(()) => return Ok((index, rung.until_fuse)),
            Err(block) => met = block,
        }
    }
    Err(met)
}

/// Checks one rung against both budgets, at its worst: the machine runs until the fuse burns. `planned` is what the
/// world already counts for this very incident.
///
/// # Errors
/// The budget it would break.
pub(super) fn within_budget(
    world: &World,
    policy: &Policy,
    rung: &PricedRung,
    planned: Usd,
    now: Time,
) -> Result<(), Block> {
    if policy.budget_per_incident.is_none() && policy.budget_per_month.is_none() {
        return Ok(());
    }
    let Some(estimate) = rung.until_fuse else { return Err(Block::PriceUnknown { rung: rung.rung.clone() }) };
    if let Some(limit) = policy.budget_per_incident
        && estimate > limit
    {
        return Err(Block::OverIncidentBudget { limit, estimate });
    }
    if let Some(limit) = policy.budget_per_month {
        let from = now.checked_sub(MONTH).unwrap_or(Time::MIN);
        let all: f64 = world.iter().map(|(_, subject)| subject.record.spent_since(from).0).sum();
        let spent = Usd(all - planned.0);
        if spent.0 + estimate.0 > limit.0 {
            return Err(Block::OverMonthBudget { limit, estimate, spent });
        }
    }
    Ok(())
}

fn hold_back(draft: &mut Draft<'_>, block: &Block) {
    let topic = match block {
        Block::ObserveMode | Block::Paused { .. } | Block::NoLadder => Topic::Confirmed,
        Block::ChainNotFinalising { .. } => Topic::ChainSick,
        Block::Slashed { .. } => Topic::Slashed,
        Block::OverIncidentBudget { .. } | Block::OverMonthBudget { .. } | Block::PriceUnknown { .. } => Topic::Money,
        Block::Cooldown { .. } | Block::TooMany { .. } => Topic::Flapping,
        Block::NoActiveKeys => return,
    };
    if let Block::Paused { until, .. } | Block::Cooldown { until } = block {
        draft.wake(*until);
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
    let first = affordable(draft.world, draft.policy, now).ok();
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
    };
    let id = incident.id;
    let pending = incident.next(Step::Find, Action::Find, now);
    draft.live.healthy_since = None;
    draft.live.report = None;
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

/// Where a validator stands now and why, in the words that are used everywhere.
#[must_use]
pub fn explain(world: &World, id: &ValidatorId, now: Time, policy: &Policy) -> Option<Reason> {
    let subject = world.get(id)?;
    let views = subject.live.signals.views(now);
    Some(match &subject.record.phase {
        Phase::Watching => Reason::Well { views },
        Phase::Suspected { since } => {
            let assessment = subject.live.signals.assess(*since, now);
            match subject.live.held_since {
                _ if assessment.vetoed => Reason::Vetoed { views },
                Some(held_since) if is_enough(&assessment, policy) => {
                    let left = policy.hold_down - elapsed(held_since, now);
                    if left > Span::ZERO {
                        Reason::Holding { views, left }
                    } else {
                        let draft = probe(world, id, now, policy)?;
                        match block(&draft) {
                            Some(block) => Reason::Blocked { views, block },
                            None => Reason::Holding { views, left: Span::ZERO },
                        }
                    }
                }
                _ => Reason::Waiting { views, needs: policy.needed },
            }
        }
        Phase::Provisioning(incident, pending) => super::provision::explain(incident, pending, policy),
        Phase::Syncing(incident, standby) | Phase::Ready(incident, standby) => {
            super::follow::explain(subject, incident, standby, &world.chain, now, policy)
        }
        Phase::Releasing(_, _) => Reason::Releasing { why: "every machine of the incident goes".into() },
        Phase::NeedsHuman(_, _, doubt) => Reason::InDoubt { doubt: doubt.clone() },
    })
}

fn probe<'a>(world: &'a World, id: &'a ValidatorId, now: Time, policy: &'a Policy) -> Option<Draft<'a>> {
    let subject = world.get(id)?;
    Some(Draft {
        id,
        world,
        policy,
        now,
        record: std::borrow::Cow::Borrowed(&subject.record),
        live: subject.live.clone(),
        finished: None,
        actions: Vec::new(),
        reasons: Vec::new(),
        wake_at: None,
    })
}
