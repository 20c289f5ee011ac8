//! Readiness: what a standby lacks, and for how long it has lacked nothing.
//!
//! It is enough for a mail, never for `promote`, which asks the chain and the machine itself.

use super::{
    Transition,
    identity::{Expected, Identity},
    trouble::NOTIFY_AFTER,
};
use crate::domain::{
    ChainView, CloudTrouble, MachineWatch, Policy, Reason, Report, Span, Standby, Step, Subject, Time, TimeExt,
    ValidatorId, elapsed, human, one_line, start_word,
};

/// How many peers a node needs whose kind the agent knows. `min_peers` is about the hundreds of a beacon node; a node
/// of CometBFT may have one peer on purpose, the sentry before it.
const READ_PEERS: u32 = 1;
/// How old the head of such a node may be. CometBFT makes a block every few seconds. On Cardano one comes every twenty
/// seconds on average, by lot (1 slot of 20, a slot a second); the longest of a year's 1.6 million pauses is then some
/// 280 seconds (ln 1.6e6 / -ln 0.95). An older head is a node that has fallen behind, or a chain that stands.
const READ_HEAD_AGE: Span = Span::from_mins(5);

/// Ready after having everything for long enough without a break; syncing again as soon as something is missing.
pub(super) fn judge(turn: &mut Transition<'_>) {
    let (now, policy) = (turn.now, turn.policy);
    let Some(Standby { instance, ready, since: standby_since, .. }) = turn.record.standby().cloned() else { return };
    let Some(machine) = &turn.live.machine else { return };
    let missing = missing(turn.id, machine, &turn.world.chain, now, policy);
    if ready
        && !missing.is_empty()
        && let Some(until) = grace(turn, machine)
    {
        // Every hold begins again all the same, should it be needed.
        turn.machine().complete_since = None;
        turn.wake(until);
        return;
    }
    if !missing.is_empty() {
        let held = turn.machine().complete_since.take().is_some();
        if ready {
            (turn.standby().ready, turn.standby().ready_since) = (false, None);
            turn.say(Reason::NoLongerReady { missing });
        } else if held {
            turn.say(Reason::HoldBroken { missing });
        }
        return;
    }
    if let Some(moved_at) = machine.report.as_ref().and_then(|history| history.moved_at) {
        turn.wake(moved_at.plus(policy.report_stale_after).just_after());
    }
    let first = turn.machine().complete_since.is_none();
    let since = *turn.machine().complete_since.get_or_insert(now);
    let ready_at = since.plus(policy.ready_hold);
    if !ready && now < ready_at {
        if first {
            turn.say(Reason::HoldingReady { left: ready_at.duration_since(now) });
        }
        turn.wake(ready_at);
        return;
    }
    if !ready {
        (turn.standby().ready, turn.standby().ready_since) = (true, Some(since));
        turn.say(Reason::Ready { instance: instance.clone() });
    }
    // Who has to look at something graver is not asked to promote it.
    if let Some(report) = turn.live.report().map(|history| history.report.clone())
        && turn.record.attention().is_none()
    {
        turn.notify_of_ready(instance, &report, standby_since);
    }
}

/// Right after a start, or a jump of our clock, nobody knows whether a report moves and which chain is the right one. A
/// standby that was ready stays so until something is *seen* to be missing, or nothing is reported for as long as a
/// report may be old; `None` then.
fn grace(turn: &Transition<'_>, machine: &MachineWatch) -> Option<Time> {
    let until = turn.live.trusted_since?.plus(turn.policy.report_stale_after);
    if turn.now >= until || machine.unusable.is_some() || machine.boot_status.is_some() || machine.stuck.is_some() {
        return None;
    }
    let Some(history) = &machine.report else { return Some(until) };
    // As if it had moved just now, on the chain it says.
    let root = turn.world.chain.genesis_root.clone().or_else(|| Some(history.report.genesis_root.clone()));
    let chain = ChainView { genesis_root: root, ..turn.world.chain.clone() };
    let mut as_if = machine.clone();
    as_if.report.as_mut()?.moved_at.get_or_insert(turn.now);
    missing(turn.id, &as_if, &chain, turn.now, turn.policy).is_empty().then_some(until)
}

/// What a standby lacks to be ready, in words; empty when it lacks nothing.
#[must_use]
pub(super) fn missing(
    id: &ValidatorId,
    machine: &MachineWatch,
    chain: &ChainView,
    now: Time,
    policy: &Policy,
) -> Vec<String> {
    if let Some(why) = &machine.unusable {
        return vec![format!("its report does not count: {why}")];
    }
    // A report that was seen before is of an earlier start.
    if let Some(word) = &machine.boot_status {
        return vec![start_word(word)];
    }
    let Some(history) = &machine.report else { return vec!["the machine has not reported".into()] };
    if !history.is_fresh(policy.report_stale_after, now) {
        return vec![history.moved_at.map_or_else(
            || "its report has not moved yet, it may be an old one".into(),
            |at| format!("its report has not moved for {}", human(elapsed(at, now))),
        )];
    }
    let mut missing = lacks(&history.report, policy);
    missing.extend(lacks_on_chain(&history.report, Expected::of(id, chain, policy), policy));
    if let Some(stuck) = &machine.stuck
        && missing.is_empty()
    {
        missing.push(stuck.to_string());
    }
    missing
}

/// What every standby needs, whatever its chain.
fn lacks(report: &Report, policy: &Policy) -> Vec<String> {
    let mut missing = Vec::new();
    if !report.synced {
        missing.push(format!("{} ({} %)", one_line(&report.stage, 80), report.progress_percent.min(100)));
    }
    if Span::from_millis(report.clock_offset_ms.saturating_abs()) > policy.max_clock_offset {
        missing.push(format!("its clock is off by {} ms", report.clock_offset_ms));
    }
    if report.signer_seen {
        missing.push("a process that could sign is seen".into());
    }
    if let Some(why) = &report.signer_hidden {
        missing.push(format!("a signer cannot be ruled out: {}", one_line(why, 120)));
    }
    missing
}

/// What a standby needs as well where its chain can be judged. One that is probed is well when its probes say so, and
/// their answer is `synced`.
fn lacks_on_chain(report: &Report, expected: Expected<'_>, policy: &Policy) -> Vec<String> {
    let (verified, peers, oldest) = match expected {
        Expected::Probed => return Vec::new(),
        Expected::Watched(_) => (!report.optimistic, policy.min_peers, policy.max_head_age),
        // It has no second client that could lag behind.
        Expected::Read(_) => (true, READ_PEERS, READ_HEAD_AGE),
    };
    let mut missing = Vec::new();
    let mut need = |fine: bool, words: String| {
        if !fine {
            missing.push(words);
        }
    };
    need(verified, "the execution layer has not verified its head".into());
    need(report.peers >= peers, format!("{} peers, needs {peers}", report.peers));
    let head_age = Span::from_secs(i64::try_from(report.head_age_seconds).unwrap_or(i64::MAX));
    need(head_age <= oldest, format!("its head is {} old", human(head_age)));
    match expected.judge(report) {
        Identity::Fits => {}
        Identity::Unknown(why) => need(false, why.into()),
        Identity::Other(chain) => need(false, format!("it follows another chain ({chain})")),
    }
    missing
}

pub(super) fn explain(
    id: &ValidatorId,
    subject: &Subject,
    standby: &Standby,
    chain: &ChainView,
    now: Time,
    policy: &Policy,
) -> Reason {
    let live = &subject.live;
    if let Some(since) = live.healthy_since {
        let left = (policy.healthy_delay - elapsed(since, now)).max(Span::ZERO);
        return Reason::RecoveryWaits { left, process_seen: live.signals.process_seen(now) };
    }
    if standby.ready {
        return Reason::Ready { instance: standby.instance.clone() };
    }
    if let Some(trouble) = live.troubles.get(&Step::Observe).filter(|trouble| trouble.failures > NOTIFY_AFTER) {
        let CloudTrouble { failures, answer, .. } = trouble.clone();
        return Reason::KeepsFailing { step: Step::Observe, failures, said: answer };
    }
    let unwatched = MachineWatch::default();
    let machine = live.machine.as_deref().unwrap_or(&unwatched);
    let missing = missing(id, machine, chain, now, policy);
    match (&machine.stuck, machine.complete_since) {
        (Some(stuck), _) => Reason::Stuck { stuck: stuck.clone(), missing },
        (None, Some(since)) if missing.is_empty() => {
            Reason::HoldingReady { left: (policy.ready_hold - elapsed(since, now)).max(Span::ZERO) }
        }
        (None, _) => Reason::NotReady { missing },
    }
}
