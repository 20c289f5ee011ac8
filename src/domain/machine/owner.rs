//! While a promotion or a demotion is open, and while the cloud may own the keys: it looks and notifies.
//!
//! **Invariant:** nothing of the validator's machines is created, changed or deleted meanwhile, and home's being down
//! is no outage once home is not to sign: people decide what becomes of both.

use super::Transition;
use crate::domain::{
    CloudDuty, HomeSign, InstanceId, Lifetime, Listed, Machine, MachineState, MachineWatch, NoticeKind, OVERDUE_AFTER,
    Owner, OwnerTrouble, PromotionNotice, PromotionView, Reason, Source, Span, Text, Time, TimeExt, Verdict, Watch,
};

/// After so long without anything wrong the next thing is news.
const WELL: Span = Span::from_hours(1);
/// Until people have moved the keys to a machine that has just got its grant.
const KEYS_MOVED: Span = Span::from_hours(1);
/// Until a client that was started there does its duties: the silent epochs of its doppelganger protection.
const STARTED: Span = Span::from_mins(30);
/// An agent reports every half minute, and is looked at as often: what began to run before has been seen by then.
const SEEN_BY: Span = Span::from_mins(2);

pub(super) fn owner_seen(turn: &mut Transition<'_>, owner: &Owner) -> bool {
    if turn.record.owner == *owner {
        return false;
    }
    turn.forget_notified(&[Lifetime::Owner]);
    turn.live.stranded_since = None;
    let since = turn.now;
    // From now on it is judged again whether home is down.
    if turn.record.owner.may_be_cloud() {
        turn.live.hold_from = Some(since);
    }
    let record = turn.record.to_mut();
    record.owner = owner.clone();
    record.cloud = matches!(owner, Owner::Cloud { .. }).then_some(CloudDuty { since, signed: false });
    true
}

/// A promotion that begins, is committed or is taken back is notified once each, whatever was missed in between.
pub(super) fn promotion_seen(turn: &mut Transition<'_>, grant: Option<u64>, seen: Option<&PromotionView>) {
    if turn.record.grant != grant {
        turn.record.to_mut().grant = grant;
    }
    let before = turn.record.promotion.as_deref();
    if before == seen {
        return;
    }
    let known = before.zip(seen).filter(|(before, seen)| seen.is_of(before)).map(|(before, _)| before.state);
    turn.record.to_mut().promotion = seen.cloned().map(Box::new);
    if let Some(PromotionView { kind, state, instance, number, by, reason, .. }) = seen
        && known != Some(*state)
    {
        turn.say(Reason::Promotion { kind: *kind, state: *state, by: by.clone() });
        turn.queue(
            None,
            NoticeKind::Promotion(PromotionNotice::Changed {
                kind: *kind,
                state: *state,
                instance: instance.clone(),
                number: *number,
                by: by.clone(),
                reason: reason.clone(),
            }),
        );
    }
}

/// A record that is open for longer than its last step has announced.
pub(super) fn watch_promotion(turn: &mut Transition<'_>) {
    let Some(open) = turn.record.open_promotion() else { return };
    let (kind, state, step, due_at, by) = (open.kind, open.state, open.step, open.due_at, open.by.clone());
    let late_at = due_at.plus(OVERDUE_AFTER);
    if turn.now < late_at {
        turn.wake(late_at);
        turn.forget_topics(PromotionNotice::OVERDUE_TOPIC);
    } else {
        turn.notify(NoticeKind::Promotion(PromotionNotice::Overdue { kind, state, step, due_at, by }));
    }
}

/// Whether it uses what is on its disk, or is about to.
pub(super) fn runs(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Starting | MachineState::Running)
}

/// A complete list of the validator's machines: those that are people's alone are noted, and one that owns nothing and
/// runs is notified.
pub(super) fn listed(turn: &mut Transition<'_>, listed: &[Listed]) {
    let is_peoples = |listed: &&Listed| turn.is_peoples(&listed.machine.instance.id);
    let promoted = listed.iter().filter(is_peoples).map(|listed| listed.machine.clone()).collect::<Vec<_>>();
    for machine in &promoted {
        if runs(machine) && turn.record.is_kept(&machine.instance.id) {
            turn.notify(NoticeKind::Promotion(PromotionNotice::KeptRuns { instance: machine.instance.clone() }));
        }
    }
    if turn.live.promoted.as_ref() != Some(&promoted) {
        turn.live.promoted = Some(promoted);
    }
}

/// Takes the place of judging home's outage while home is not to sign. What is still down once it is again, is
/// suspected again and has to last as long as any.
pub(super) fn watch(turn: &mut Transition<'_>) {
    if turn.record.watch != Watch::Calm {
        turn.record.to_mut().watch = Watch::Calm;
    }
    let now = turn.now;
    (turn.live.down_since, turn.live.calm_since, turn.live.vetoed) = (None, None, false);
    stranded(turn);
    let Owner::Cloud { number, instance, boot } = turn.record.owner.clone() else { return };
    let duty = turn.record.cloud.unwrap_or(CloudDuty { since: now, signed: false });
    let duty = signer_seen(turn, &instance, duty);
    for (sign, why) in home_signs(turn, &instance, duty) {
        let stop =
            turn.policy.home_stops.get(turn.id).map_or("sudo systemctl disable --now UNIT", String::as_str).into();
        turn.notify(NoticeKind::Promotion(PromotionNotice::HomeSigns { sign, why, number, stop }));
    }
    // Meanwhile somebody is at work on it, and is late at some time if it does not work out.
    let is_open = turn.record.open_promotion().is_some();
    match trouble(turn, &instance, &boot, duty).filter(|_| !is_open) {
        Some((trouble, why)) => {
            turn.live.owner_well_since = None;
            let place = turn.record.promotion.as_ref().filter(|promotion| promotion.instance.id == instance);
            let followed = turn.record.standby().map(|standby| &standby.instance).filter(|it| it.id == instance);
            let named = followed.or(place.map(|promotion| &promotion.instance));
            let machine = named.map_or_else(|| format!("number {instance}"), ToString::to_string).as_str().into();
            turn.notify(NoticeKind::Promotion(PromotionNotice::Owner { trouble, why, number, machine }));
        }
        None => {
            let well_at = turn.live.owner_well_since.get_or_insert(now).plus(WELL);
            if now >= well_at {
                turn.forget_topics(PromotionNotice::OWNER_TOPICS);
            } else {
                turn.wake(well_at);
            }
        }
    }
}

/// A number that was raised by a command that has ended: no record says that anybody continues.
fn stranded(turn: &mut Transition<'_>) {
    if !matches!(turn.record.owner, Owner::Moving { .. }) || turn.record.open_promotion().is_some() {
        turn.live.stranded_since = None;
        return;
    }
    let late_at = turn.live.stranded_since.get_or_insert(turn.now).plus(OVERDUE_AFTER);
    if turn.now < late_at {
        turn.wake(late_at);
    } else {
        turn.notify(NoticeKind::Promotion(PromotionNotice::Stranded));
    }
}

/// What is observed of the machine that owns the keys, if the incident follows it.
fn followed<'a>(turn: &'a Transition<'_>, instance: &InstanceId) -> Option<&'a MachineWatch> {
    turn.record.standby().filter(|standby| standby.instance.id == *instance)?;
    turn.live.machine.as_deref()
}

fn signer_seen(turn: &mut Transition<'_>, instance: &InstanceId, duty: CloudDuty) -> CloudDuty {
    let report = followed(turn, instance).and_then(|machine| machine.report.as_ref());
    let seen =
        report.is_some_and(|history| history.report.signer_seen && history.moved_at.is_some_and(|at| at > duty.since));
    let now = CloudDuty { signed: duty.signed || seen, ..duty };
    // One that was not noted yet is as new.
    if turn.record.cloud != Some(now) {
        turn.record.to_mut().cloud = Some(now);
    }
    now
}

/// A gate that waits shows none: it says that the cloud owns.
fn home_signs(turn: &Transition<'_>, instance: &InstanceId, duty: CloudDuty) -> Vec<(HomeSign, Text)> {
    let up = |source| turn.live.signals.says(source, Verdict::Up, turn.now).map(|slot| &slot.reading);
    let mut found = Vec::new();
    if turn.record.promotion.as_ref().is_some_and(|promotion| promotion.home_holds) {
        found.push((HomeSign::Session, "its session was written after its number was raised".into()));
    }
    // Right after a start nobody has asked the gate yet.
    let asked_by = turn.live.trusted_since.map_or(Time::MIN, |since| since.plus(SEEN_BY));
    let has_gate = turn.live.gate.is_some() || turn.now < asked_by;
    for (sign, source) in [
        (HomeSign::Gate, Source::Gate),
        (HomeSign::Process, Source::Process),
        (HomeSign::Process, Source::Probe),
        (HomeSign::Pod, Source::Kube),
    ] {
        // What was seen before is what the promotion has ended.
        let later = up(source).filter(|reading| reading.about.to > duty.since);
        if let Some(reading) = later.filter(|_| sign != HomeSign::Pod || !has_gate) {
            found.push((sign, (&*reading.why).into()));
        }
    }
    let silent_at = followed(turn, instance)
        .and_then(|machine| machine.report.as_ref())
        .filter(|history| !history.report.signer_seen && history.report.signer_hidden.is_none())
        .and_then(|history| history.moved_at);
    if let Some(reading) = up(Source::Chain)
        && reading.about.from > duty.since
        && !duty.signed
        && silent_at.is_some_and(|at| at >= reading.about.to.plus(SEEN_BY))
    {
        found.push((HomeSign::Duties, (&*reading.why).into()));
    }
    found
}

/// What keeps the machine from its work: the first that holds, because it brings the others with it.
fn trouble(
    turn: &mut Transition<'_>,
    instance: &InstanceId,
    boot: &str,
    duty: CloudDuty,
) -> Option<(OwnerTrouble, Text)> {
    let (now, limit) = (turn.now, turn.policy.report_stale_after);
    let grace = turn.live.trusted_since.map_or(duty.since, |trusted| trusted.max(duty.since)).plus(limit);
    if let Some(machine) = followed(turn, instance) {
        if machine.gone {
            return Some((OwnerTrouble::Gone, "a complete list of all machines does not show it".into()));
        }
        if machine.is_stopped() || machine.stopping_since.is_some() {
            return Some((OwnerTrouble::Stopped, "the cloud says so".into()));
        }
        let fresh = machine.report.as_ref().filter(|history| history.is_fresh(limit, now));
        match fresh {
            Some(history) if history.report.boot_id != boot => {
                let why = history.report.gate.as_deref().unwrap_or("its boot is another one than the grant's");
                return Some((OwnerTrouble::AwaitsRegrant, why.into()));
            }
            None if machine.seen.is_some() && now >= grace => {
                return Some((OwnerTrouble::Silent, "its report has not moved for ten minutes".into()));
            }
            Some(_) | None => {}
        }
    } else if let Some(listed) = &turn.live.promoted {
        match listed.iter().find(|machine| machine.instance.id == *instance).map(|machine| machine.state) {
            None => return Some((OwnerTrouble::Gone, "a complete list of all machines does not show it".into())),
            Some(MachineState::Stopping | MachineState::Stopped) => {
                return Some((OwnerTrouble::Stopped, "the cloud says so".into()));
            }
            Some(MachineState::Starting | MachineState::Running) => {}
        }
    }
    let down = turn.live.signals.says(Source::Chain, Verdict::Down, now)?;
    let (since, why) = (down.since, Text::from(&*down.reading.why));
    let expected_at = duty.since.plus(if duty.signed { STARTED } else { KEYS_MOVED });
    let at: Time = since.max(expected_at).plus(turn.policy.hold_down);
    if now < at {
        turn.wake(at);
        return None;
    }
    Some((OwnerTrouble::NoDuties, why))
}

impl Transition<'_> {
    /// Not automation's, whatever its labels say: the watcher's own rules for machines are not about it.
    pub(super) fn is_peoples(&self, instance: &InstanceId) -> bool {
        let promotion = self.record.promotion.as_ref();
        self.record.is_owner(instance)
            || promotion.is_some_and(|promotion| {
                promotion.promoted.contains(instance) || promotion.state.is_open() && promotion.instance.id == *instance
            })
    }

    /// The next time it is news.
    fn forget_topics(&mut self, group: &str) {
        if self.record.notified.iter().any(|notified| notified.topic.is_of(group)) {
            self.record.to_mut().notified.retain(|notified| !notified.topic.is_of(group));
        }
    }
}
