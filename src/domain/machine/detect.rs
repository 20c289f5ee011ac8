//! The watch: from opinions to a suspicion, a confirmed outage and an incident. It is judged at every event, whether or
//! not a case is open; it opens one only while no case is open.

use super::{Transition, budget, owner};
use crate::domain::{
    Action, Assessment, Blocker, Case, ChainHealth, Incident, IncidentId, Lifetime, Mode, NoticeKind, Notified, Outage,
    Reason, Source, Span, Stage, Time, TimeExt, Topic, Verdict, Watch, elapsed, gate::GateNeed,
};

/// The span over which incidents are counted.
const DAY: Span = Span::from_hours(24);
/// After this long without a *down* a suspicion is over for good, and people are notified of the next one at once.
/// Before, it is the same flapping.
const CALM: Span = Span::from_hours(1);
/// How often it is judged again whether what holds an incident back still does: money may be free again, which nobody
/// reports.
const BLOCK_RECHECK: Span = Span::from_mins(10);

pub(super) fn advance(turn: &mut Transition<'_>) {
    let now = turn.now;
    let since = turn.record.watch.since();
    let seen = turn.live.signals.assess(since.unwrap_or(now), turn.policy.needed, now);
    if let Some(stale_at) = seen.stale_at {
        turn.wake(stale_at.just_after());
    }
    notify_of_keys(turn, &seen);
    notify_of_gate(turn);
    if let Some(since) = turn.live.witness_unseen {
        turn.notify_for_the_house(NoticeKind::Outage(Outage::WitnessUnseen { since }));
    }
    if turn.record.owner.may_be_cloud() {
        return owner::watch(turn);
    }
    if turn.live.vetoed && !seen.vetoed {
        turn.live.hold_from = Some(now);
    }
    turn.live.vetoed = seen.vetoed;
    let only_the_watcher = notify_of_home(turn, &seen);
    // The others say down for as long as a gate counts silent epochs, and until its process is seen again: only what
    // lasts beyond that counts.
    if let Some(until) = turn.live.gate.as_ref().and_then(|gate| gate.holds_until) {
        turn.live.hold_from = turn.live.hold_from.max(Some(until.min(now)));
    }
    let enough_since = seen.enough_since.filter(|_| !seen.vetoed);
    turn.live.down_since = enough_since.map(|since| turn.live.hold_from.map_or(since, |from| from.max(since)));
    if !seen.down {
        calm(turn, &seen);
        return;
    }
    turn.live.calm_since = None;
    let since = since.unwrap_or_else(|| {
        turn.record.to_mut().watch = Watch::Suspected { since: now, confirmed: false };
        now
    });
    let confirmed_at = turn.live.down_since.map(|since| since.plus(turn.policy.hold_down));
    match confirmed_at {
        Some(at) if now >= at => confirmed(turn, since),
        Some(at) => {
            turn.wake(at);
            unconfirmed(turn, since);
        }
        None if only_the_watcher => {}
        None => unconfirmed(turn, since),
    }
}

/// **Invariant:** a watcher that is gone from a house at work is reported as that, and not as an outage. Returns whether
/// it is that. A day of silence is reported whatever becomes of it.
fn notify_of_home(turn: &mut Transition<'_>, seen: &Assessment) -> bool {
    let Some(site) = turn.live.signals.says(Source::Site, Verdict::Down, turn.now) else { return false };
    let since = site.reading.about.from;
    let only_the_watcher = seen.vetoed && turn.live.signals.alone_says_down(Source::Site, turn.now);
    if only_the_watcher || elapsed(since, turn.now) >= DAY {
        turn.notify_for_the_house(NoticeKind::Outage(Outage::HomeUnseen { since, works: only_the_watcher }));
    }
    only_the_watcher
}

/// A slashed key, and keys of which some are silent.
fn notify_of_keys(turn: &mut Transition<'_>, seen: &Assessment) {
    if turn.is_frozen() {
        let keys = turn.record.slashed.iter().map(ToString::to_string).collect();
        turn.notify(NoticeKind::Outage(Outage::Slashed { keys }));
    }
    // An outage begins in the middle of an epoch, and that epoch is partly silent: only what lasts is a finding.
    if let Some(since) = seen.partial_since {
        let late_at = since.plus(turn.policy.suspected_mail_after);
        if turn.now >= late_at {
            let keys = turn.live.keys.clone().unwrap_or_default();
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            let (silent, of) = (number(keys.silent), number(keys.active));
            turn.notify(NoticeKind::Outage(Outage::Partial { silent, of }));
        } else {
            turn.wake(late_at);
        }
    }
}

/// **Invariant:** people are notified of a gate that starts nothing although home may sign, that is about to stop what it runs,
/// or that sees a stranger sign with its keys: once, daily while it lasts, and again as news after it was over. Both are over
/// once it runs, and the former also where it is meant to wait: what it waits for meanwhile is another wait for the same end.
/// A gate that does not answer says nothing.
fn notify_of_gate(turn: &mut Transition<'_>) {
    let may_wait = turn.record.owner.may_be_cloud();
    let outage = match turn.live.gate.as_ref().map(|gate| &gate.need) {
        None | Some(GateNeed::NotKnown) => return,
        Some(GateNeed::Stranger { why, since }) => Some(Outage::Stranger { why: why.clone(), since: *since }),
        Some(GateNeed::Look { why, since, runs }) if *runs || !may_wait => {
            Some(Outage::Gate { why: why.clone(), since: *since, runs: *runs })
        }
        Some(GateNeed::Look { .. } | GateNeed::Nothing) => None,
    };
    let lasts = outage.map(|outage| {
        let kind = NoticeKind::Outage(outage);
        let topic = kind.topic();
        turn.notify(kind);
        topic
    });
    let runs = turn.live.gate.as_ref().is_some_and(|gate| gate.reading.verdict == Verdict::Up);
    let over = |topic: &Topic| {
        lasts.as_ref() != Some(topic)
            && (runs && *topic == Topic::STRANGER || (runs || may_wait) && *topic == Topic::GATE)
    };
    if turn.record.notified.iter().any(|notified| over(&notified.topic)) {
        turn.record.to_mut().notified.retain(|notified| !over(&notified.topic));
    }
}

/// Nothing says down. Where nothing has been observed at all, nothing is over either.
fn calm(turn: &mut Transition<'_>, seen: &Assessment) {
    if turn.live.signals.is_empty() {
        // Right after a start every source gets as long to speak as an outage has to last.
        let spoken_by = turn.live.trusted_since.map_or(turn.now, |since| since.plus(turn.policy.hold_down));
        match turn.record.watch.since() {
            Some(_) if turn.now < spoken_by => turn.wake(spoken_by),
            Some(since) => unconfirmed(turn, since),
            None => {}
        }
        return;
    }
    if turn.record.watch != Watch::Calm {
        turn.record.to_mut().watch = Watch::Calm;
        turn.say(Reason::SuspicionOver);
    }
    let calm_since = *turn.live.calm_since.get_or_insert(turn.now);
    // A process that runs, or a pod that is ready, shows no work; it has to last for as long as an outage has to.
    let up_at = if seen.works { turn.now } else { calm_since.plus(turn.policy.hold_down) };
    if turn.record.closed_by_operator && seen.up {
        if turn.now < up_at { turn.wake(up_at) } else { turn.record.to_mut().closed_by_operator = false }
    }
    let lasts = [
        (Topic::SLASHED, turn.is_frozen()),
        (Topic::PARTIAL, seen.partial_since.is_some()),
        (Topic::GATE, turn.live.gate.is_some()),
        (Topic::STRANGER, turn.live.gate.is_some()),
        (Topic::WITNESS, turn.live.witness_unseen.is_some()),
    ];
    let over = |notified: &Notified| match notified.lifetime {
        Lifetime::Keys => !lasts.iter().any(|(topic, lasts)| *lasts && notified.topic == *topic),
        Lifetime::Watch => true,
        Lifetime::Case | Lifetime::Machine | Lifetime::Orphan | Lifetime::Owner => false,
    };
    let forgets = turn.record.case.is_none() && turn.record.notified.iter().any(over);
    let calm_until = calm_since.plus(CALM);
    if !forgets {
    } else if turn.now < calm_until {
        turn.wake(calm_until);
    } else {
        turn.record.to_mut().notified.retain(|notified| !over(notified));
    }
}

/// **Invariant:** a suspicion that lasts is notified by time, whatever the reason it is not confirmed.
fn unconfirmed(turn: &mut Transition<'_>, since: Time) {
    if turn.record.case.is_some() {
        return;
    }
    let late_at = since.plus(turn.policy.suspected_mail_after);
    if turn.now >= late_at {
        turn.notify(NoticeKind::Outage(Outage::SuspectedTooLong { since }));
    } else {
        turn.wake(late_at);
    }
}

fn confirmed(turn: &mut Transition<'_>, since: Time) {
    let Some(incident) = turn.record.incident() else {
        match block(turn) {
            None => open(turn, None),
            Some(block) => hold_back(turn, &block),
        }
        return;
    };
    let (id, opened_at) = (incident.id, incident.opened_at);
    if turn.record.watch == (Watch::Suspected { since, confirmed: false }) {
        turn.record.to_mut().watch = Watch::Suspected { since, confirmed: true };
        if since > opened_at {
            turn.say(Reason::DownAgain { incident: id });
        }
    }
    if since > opened_at {
        turn.notify_of_outage();
    }
}

/// Why a confirmed outage must not become an incident now. The order is that of importance to the reader.
pub(super) fn block(turn: &Transition<'_>) -> Option<Blocker> {
    let (policy, record, now) = (turn.policy, &turn.record, turn.now);
    if turn.is_frozen() {
        return Some(Blocker::Slashed { keys: record.slashed.len() });
    }
    if turn.live.keys.as_ref().is_some_and(|keys| keys.active == 0) {
        return Some(Blocker::NoActiveKeys);
    }
    if let ChainHealth::NotFinalising { epochs } = turn.world.chain.health
        && !turn.live.signals.is_probed()
    {
        return Some(Blocker::ChainNotFinalising { epochs });
    }
    if let Some(promotion) = record.open_promotion() {
        return Some(Blocker::Promotion { kind: promotion.kind, by: promotion.by.clone() });
    }
    if let Some(pause) = record.paused_at(now) {
        return Some(Blocker::Paused { until: pause.until, by: pause.by.clone(), why: pause.reason.clone() });
    }
    if let Some(maintenance) = turn.live.maintenance.as_ref().filter(|maintenance| now <= maintenance.fresh_until) {
        return Some(Blocker::Maintenance { why: maintenance.why.clone() });
    }
    if policy.mode == Mode::Observe {
        return Some(Blocker::ObserveMode);
    }
    if let Some(last) = record.history.last() {
        let until = last.closed_at.plus(policy.cooldown);
        if now < until {
            return Some(Blocker::Cooldown { until });
        }
    }
    if record.closed_by_operator {
        return Some(Blocker::ClosedByOperator);
    }
    if record.automatic_incidents_since(now.minus(DAY)) >= policy.max_incidents_per_day {
        return Some(Blocker::TooMany { limit: policy.max_incidents_per_day });
    }
    budget::affordable(turn.world, policy, now).err()
}

fn hold_back(turn: &mut Transition<'_>, block: &Blocker) {
    turn.wake(turn.now.plus(BLOCK_RECHECK));
    if let Blocker::Paused { until, .. } | Blocker::Cooldown { until } = block {
        turn.wake(*until);
    }
    if let (Blocker::Maintenance { .. }, Some(maintenance)) = (block, &turn.live.maintenance) {
        turn.wake(maintenance.fresh_until.just_after());
    }
    if turn.notify_of_blocker(block) {
        let views = turn.live.signals.views(turn.now);
        turn.say(Reason::Blocked { views, block: block.clone() });
    }
}

/// Opens an incident: the intent to look for its machine is the first thing that is persisted.
pub(super) fn open(turn: &mut Transition<'_>, by: Option<(&str, &str)>) {
    let now = turn.now;
    let down = turn.live.signals.views(now).into_iter().filter(|view| view.verdict == Verdict::Down);
    let cause = match by {
        Some((_, reason)) => reason.to_owned(),
        None => down.map(|view| view.to_string()).collect::<Vec<_>>().join(", "),
    };
    let first = budget::affordable(turn.world, turn.policy, now).ok();
    let others = turn.world.unhealthy() - usize::from(turn.was_unhealthy());
    let share = (others + 1) as f64 / turn.world.len().max(1) as f64;
    let known = |id: IncidentId| turn.record.history.iter().any(|closed| closed.id == id);
    // A clock that was set back may show a moment a second time.
    let mut ids = (0..=100).map(|more| IncidentId::derive(turn.id, now.plus(Span::from_nanos(more))));
    let id = ids.find(|id| !known(*id)).unwrap_or_else(|| IncidentId::derive(turn.id, now));
    let mut incident = Incident {
        suspected_at: turn.record.watch.since().unwrap_or(now),
        opened_by: by.map(|(who, _)| who.to_owned()),
        opened_while_up: by.is_some() && turn.live.signals.working_after(Time::MIN, now),
        site_outage: others > 0 && share > turn.policy.max_unhealthy,
        rung: first.map_or(0, |(rung, _)| rung),
        estimate: first.and_then(|(_, price)| price),
        ..Incident::new(id, now, cause.clone())
    };
    let pending = incident.next(Action::Find, now);
    turn.live.healthy_since = None;
    turn.forget_machine();
    turn.forget_notified(Lifetime::OF_AN_INCIDENT);
    let record = turn.record.to_mut();
    if let Watch::Suspected { confirmed, .. } = &mut record.watch {
        *confirmed = true;
    }
    record.closed_by_operator = false;
    record.case = Some(Case { incident, stage: Stage::Provisioning(pending), attention: None });
    turn.say(Reason::Opened { incident: id, by: by.map(|(who, _)| who.to_owned()), cause });
    turn.say(Reason::Looking { why: "nothing is created before it is known that there is none" });
    turn.notify_of_outage();
}

impl Transition<'_> {
    fn was_unhealthy(&self) -> bool {
        self.world
            .get(self.id)
            .is_some_and(|subject| subject.live.down_since.is_some() || subject.record.case.is_some())
    }
}
