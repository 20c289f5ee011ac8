//! The standing machine: it is polled until the incident ends, whatever else holds, and a second one is not tolerated.

use super::{
    Transition, adopt, attention, boot, fold, identity::Expected, notify, provision, ready, recover, release, stuck,
};
use crate::domain::{
    Action, ActionId, Attention, IncidentId, InstanceRef, Machine, MachineState, Outcome, Reason, Role, Seen, Span,
    Standby, Step, Time, TimeExt, elapsed,
};

pub(super) fn advance(turn: &mut Transition<'_>, at_work: Option<Span>) {
    turn.machine();
    if let Some((id, outcome)) = turn.finished.take() {
        react(turn, id, outcome);
    }
    let Some(Standby { instance, .. }) = turn.record.standby() else { return };
    if turn.record.is_kept(&instance.id) {
        return release::end_kept(turn);
    }
    // It has its keys, or gets them: whether it could be promoted is not the question any more.
    if turn.record.is_owner(&instance.id) {
        return poll(turn);
    }
    ready::judge(turn);
    let (gone, kept) = turn.live.machine.as_ref().map_or((false, false), |machine| (machine.gone, machine.is_kept()));
    let back = at_work.is_some_and(|span| span >= turn.policy.healthy_delay);
    if back && (gone || recover::is_silent(turn)) && !kept && recover::release_recovered(turn) {
        return;
    }
    if let Some(at_work) = at_work.filter(|_| kept) {
        recover::keep(turn, at_work);
    }
    if !kept && !gone && !turn.record.is_taken() {
        watch_time(turn);
    }
    if let Some(stuck) = turn.live.machine.as_ref().and_then(|machine| machine.stuck.clone())
        && turn.record.attention().is_none()
    {
        turn.notify_of_stuck(&stuck);
    }
    poll(turn);
}

/// The end of the machine's time, and the word before it.
fn watch_time(turn: &mut Transition<'_>) {
    let Some(standby) = turn.record.standby() else { return };
    let (instance, since) = (standby.instance.clone(), standby.since);
    let ends_at = turn.policy.expires_at(since);
    turn.wake(ends_at);
    let warn_at = ends_at.minus(notify::FUSE_WARNING).max(since);
    if turn.now >= warn_at && turn.now < ends_at && elapsed(since, ends_at) > notify::FUSE_WARNING {
        turn.notify_of_end(instance, since);
    } else {
        turn.wake(warn_at);
    }
}

/// What an answer shows counts whichever question it answers; only what failed depends on what was tried.
fn react(turn: &mut Transition<'_>, id: ActionId, outcome: &Outcome) {
    match outcome {
        // A promotion gives it another name. Only a list shows whether it is gone.
        Outcome::Observed(None) if turn.record.is_taken() && !turn.machine().gone => {
            turn.works_again(Step::Observe);
            let (now, next_poll_at) = (turn.now, turn.now.plus(turn.policy.observe_every));
            let machine = turn.machine();
            (machine.next_list_at, machine.next_poll_at) = (now, next_poll_at);
        }
        Outcome::Observed(None) => {
            turn.works_again(Step::Observe);
            let retry_at = turn.now.plus(turn.policy.recheck_every);
            let machine = turn.machine();
            (machine.gone, machine.stuck) = (true, None);
            machine.next_poll_at = retry_at;
        }
        Outcome::Observed(Some(seen)) => {
            turn.works_again(Step::Observe);
            seen_as(turn, seen);
        }
        Outcome::Found(machines) => {
            turn.works_again(Step::Find);
            listed(turn, machines);
        }
        Outcome::FoundWithout { why, .. } => failed(turn, Step::Find, why),
        Outcome::Deleted => {
            let now = turn.now;
            turn.machine().next_list_at = now;
            turn.incident().failures.delete = 0;
            turn.works_again(Step::Delete);
            let extra = turn.standby().extra.take();
            turn.live.deleted = extra.and_then(|extra| extra.action.instance().map(|instance| instance.id.clone()));
        }
        Outcome::Untouchable(check) => {
            turn.standby().extra = None;
            attention::raise(turn, Attention::Untouchable(check.as_str().into()));
        }
        Outcome::Console(text) => boot::console_read(turn, text),
        Outcome::Failed(said) => failed(turn, id.step, said),
        Outcome::Created(_) | Outcome::Disks(_) => turn.say(Reason::Late { what: id.to_string() }),
    }
}

fn failed(turn: &mut Transition<'_>, step: Step, said: &str) {
    match step {
        Step::Console => boot::console_read(turn, &format!("its serial port could not be read: {said}")),
        Step::Delete | Step::Abandon | Step::Reclaim => {
            let at = turn.deletion_failed(said);
            if let Some(extra) = &mut turn.standby().extra {
                extra.not_before = at;
            }
        }
        // A poll that did not answer says nothing about the machine; the next one will.
        Step::Create | Step::Find | Step::Observe | Step::Disks => {
            let (policy, before) = (turn.policy, turn.failures_of(step));
            let pause = policy.backoff(before);
            // The machine itself is polled on, so that the end of the trouble is seen; the search in every zone less often.
            let (shortest, longest) = if step == Step::Observe {
                (policy.retry_after, policy.observe_every.saturating_mul(4))
            } else {
                (policy.observe_every, policy.recheck_every)
            };
            let retry_at = turn.now.plus(pause.min(longest).max(shortest));
            let machine = turn.machine();
            if step == Step::Observe {
                machine.next_poll_at = retry_at;
            } else {
                machine.next_list_at = retry_at;
            }
            turn.keeps_failing(step, said, before, retry_at);
        }
    }
}

fn seen_as(turn: &mut Transition<'_>, seen: &Seen) {
    fold::seen(turn, seen);
    if matches!(seen.state, MachineState::Stopping | MachineState::Stopped) {
        turn.machine().stuck = None;
        return;
    }
    judge_progress(turn);
    boot::after_poll(turn, &seen.written);
}

/// Stuck or not, right after a poll that succeeded. A placeholder of a machine has nothing to continue with.
fn judge_progress(turn: &mut Transition<'_>) {
    // Being stuck is itself something that is missing; it must not be the reason for being stuck still.
    let before = turn.machine().stuck.take();
    let (Some(standby), Some(machine)) = (turn.record.standby(), &turn.live.machine) else { return };
    if turn.policy.simulated || machine.is_kept() {
        return;
    }
    let chain = &turn.world.chain;
    let missing = ready::missing(turn.id, machine, chain, turn.now, turn.policy);
    let case = stuck::Case {
        history: machine.report.as_ref(),
        boot_status: machine.boot_status.as_deref(),
        standby,
        trusted_since: turn.live.trusted_since,
        complete: missing.is_empty(),
        chain: Expected::of(turn.id, chain, turn.policy),
    };
    let now = stuck::judge(&case, turn.policy, turn.now);
    turn.machine().stuck.clone_from(&now);
    match (before, now) {
        (before, Some(stuck)) if before.as_ref().is_none_or(|before| before.kind() != stuck.kind()) => {
            turn.say(Reason::Stuck { stuck, missing });
        }
        (Some(stuck), None) => turn.say(Reason::NoLongerStuck { stuck }),
        (None | Some(_), Some(_)) | (None, None) => {}
    }
}

/// A complete list: whatever carries this incident's label and is not the ledger's machine goes, one at a time.
fn listed(turn: &mut Transition<'_>, machines: &[Machine]) {
    let (now, next_list_at) = (turn.now, turn.now.plus(turn.policy.recheck_every));
    let Some(Standby { instance, extra, .. }) = turn.record.standby().cloned() else { return };
    let machine = turn.machine();
    machine.next_list_at = next_list_at;
    if machine.gone && machines.iter().any(|listed| listed.instance.id == instance.id) {
        (machine.gone, machine.next_poll_at) = (false, now);
    }
    turn.bill_abandoned(machines);
    let Some(ours) = machines.iter().find(|machine| machine.instance.id == instance.id) else {
        return unlisted(turn, machines);
    };
    // A promotion renames it, and its number stays.
    if ours.instance != instance {
        turn.standby().instance = ours.instance.clone();
    }
    if extra.is_none()
        && let Some((older, incident)) = older_of_another(turn, machines, ours)
    {
        return give_way(turn, ours, older, incident);
    }
    let others = turn.own(machines).into_iter().filter(|machine| machine.instance.id != instance.id);
    let Some(second) = others.max_by_key(|machine| provision::keep_first(machine)) else { return };
    if !turn.is_untouched() || extra.is_some_and(|extra| extra.action == Action::Delete(second.instance.clone())) {
        return;
    }
    let why = "it is a second machine of this incident; the ledger's stays";
    turn.say(Reason::Deleting { instance: second.instance.clone(), why });
    let not_before = turn.deletes_at(&second.instance);
    let extra = turn.deletion(second, not_before);
    turn.standby().extra = Some(extra);
}

/// A complete list does not show the ledger's machine. Nothing is deleted then: another one may be all there is. It is
/// looked at again, and once it is known to be gone another one of this incident takes its place.
fn unlisted(turn: &mut Transition<'_>, machines: &[Machine]) {
    let now = turn.now;
    if turn.record.is_taken() {
        turn.machine().gone = true;
        return;
    }
    let machine = turn.machine();
    if !machine.gone {
        machine.next_poll_at = machine.next_poll_at.min(now);
        return;
    }
    let is_there = |machine: &&Machine| {
        machine.role == Role::Standby && matches!(machine.state, MachineState::Running | MachineState::Starting)
    };
    let others = turn.own(machines).into_iter().filter(is_there);
    if let Some(other) = others.min_by_key(|machine| provision::keep_first(machine)) {
        adopt::serve(turn, other);
    }
}

/// The machine that serves another incident of this validator and was there before ours. Two watchers that do not know of
/// each other, as those with copies of one ledger, may have looked in the same moment, and each has made one.
fn older_of_another<'m>(
    turn: &Transition<'_>,
    machines: &'m [Machine],
    ours: &Machine,
) -> Option<(&'m Machine, IncidentId)> {
    let is_free = |machine: &Machine| machine.role == Role::Standby && !machine.deletion_protection;
    // One that is ready, or that people know as such, is worth more than a rule, and what is not ours to delete stays.
    let is_promised = turn.record.notified.iter().any(|notified| notified.topic.is_of("standby_ready"));
    if turn.record.standby()?.ready || is_promised || !is_free(ours) || !turn.is_untouched() {
        return None;
    }
    let age = |machine: &Machine| Some((machine.created_at?, machine.instance.clone()));
    let is_older = |machine: &&Machine| {
        is_free(machine)
            && machine.state == MachineState::Running
            && age(machine).zip(age(ours)).is_some_and(|(a, b)| a < b)
    };
    // A list that is behind may show what we have deleted.
    let is_going = |machine: &Machine| {
        turn.live.deleted.as_ref() == Some(&machine.instance.id)
            || turn.live.deleting_orphan.as_ref() == Some(&machine.instance)
    };
    let own = turn.own(machines);
    let others = machines.iter().filter(|machine| !own.contains(machine) && !is_going(machine));
    let others = others.filter(is_older);
    let oldest = others.min_by_key(|machine| age(machine))?;
    Some((oldest, IncidentId::try_from(oldest.incident.clone()).ok()?))
}

/// The older one is used, whoever made it, and ours goes: each watcher decides the same by the cloud's own clock.
fn give_way(turn: &mut Transition<'_>, ours: &Machine, older: &Machine, incident: IncidentId) {
    let why = "another failover made one for this validator before; that one is used";
    turn.say(Reason::Deleting { instance: ours.instance.clone(), why });
    let not_before = turn.deletes_at(&ours.instance);
    let extra = turn.deletion(ours, not_before);
    adopt::take_over(turn, older, incident);
    turn.standby().extra = Some(extra);
}

/// One thing at a time: a second machine first if its time has come, then the search for one, then the machine itself.
///
/// **Invariant:** whatever forbids or delays a deletion, the machine is polled.
fn poll(turn: &mut Transition<'_>) {
    let Some(Standby { instance, extra, .. }) = turn.record.standby().cloned() else { return };
    // With this one gone the other is all there is. One that gave way goes only once the older one was seen.
    let is_gone = turn.live.machine.as_ref().is_some_and(|machine| machine.gone);
    let is_seen = turn.live.machine.as_ref().is_some_and(|machine| machine.seen.is_some());
    let name = turn.record.incident().map(|incident| incident.id);
    if let Some(extra) = &extra
        && !is_gone
        && (is_seen || name == Some(extra.id.incident))
        && turn.may_act()
    {
        turn.start(extra);
    }
    if turn.live.started.is_some() {
        return;
    }
    let (now, policy) = (turn.now, turn.policy);
    let machine = turn.machine();
    if now >= machine.next_list_at {
        machine.next_list_at = now.plus(policy.observe_every);
        turn.ask(Action::Find);
    } else if now >= machine.next_poll_at {
        machine.next_poll_at = now.plus(if machine.gone { policy.recheck_every } else { policy.observe_every });
        turn.ask(Action::Observe(instance));
    } else {
        let next = machine.next_list_at.min(machine.next_poll_at);
        turn.wake(next);
    }
}

impl Transition<'_> {
    /// When this machine may be deleted: one that is said to be gone and is still there waits like one whose deletion
    /// failed.
    pub(super) fn deletes_at(&mut self, instance: &InstanceRef) -> Time {
        if self.live.deleted.as_ref() == Some(&instance.id) { self.deletion_failed(STILL_THERE) } else { self.now }
    }

    /// Counts a deletion that failed, notifies people after a few, and says when it is tried again.
    pub(super) fn deletion_failed(&mut self, said: &str) -> Time {
        let failures = &mut self.incident().failures.delete;
        let before = *failures;
        *failures = before.saturating_add(1);
        let at = self.now.plus(self.policy.backoff(before));
        self.keeps_failing(Step::Delete, said, before, at);
        self.say(Reason::Retrying { at, what: "deleting a machine", said: said.to_owned() });
        at
    }
}

/// What is said of such a machine.
pub(super) const STILL_THERE: &str = "it is said to be deleted, and is still there";
