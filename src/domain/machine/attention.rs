//! The overlay: what a human has to look at, judged again at every event from what is observed.
//!
//! **Invariant:** what is shown is the gravest of what holds; a latched one holds until a human has answered. Whoever
//! is to look is notified when it changes, and once a day for as long as it lasts.

use super::{Transition, recover};
use crate::domain::{
    Attention, AttentionKind, Case, DecisionNeeded, MachineWatch, Mode, NoticeKind, Reason, Stage, Time, TimeExt,
    Watch, promotion::PromotionKind,
};

pub(super) fn judge(turn: &mut Transition<'_>, back: bool) {
    let before = turn.record.attention().cloned();
    let stays = |before: &Attention| before.is_latched() && !is_refuted(turn, before) || is_unseen(turn);
    let lasting = before.clone().filter(stays);
    let mut found: Vec<Attention> = lasting.into_iter().chain(observed(turn, back)).collect();
    // Attestations would not tell them apart; that home's own process runs does.
    if found.contains(&Attention::SignerSeen) && turn.live.signals.process_seen(turn.now) {
        found.push(Attention::TwoSigners);
    }
    let releasing = matches!(&turn.record.case, Some(Case { stage: Stage::Releasing { .. }, .. }));
    if (releasing || !found.is_empty()) && is_down_again(turn) {
        found.push(Attention::DownAgain);
    }
    found.retain(|attention| is_asked(turn, attention));
    let after = found.into_iter().max_by_key(Attention::kind);
    if before != after {
        turn.case().attention.clone_from(&after);
        let known = |after: &Attention| before.as_ref().is_some_and(|before| before.kind() == after.kind());
        if let Some(attention) = after.clone().filter(|after| !known(after)) {
            turn.say(Reason::NeedsHuman { attention, gone: false });
        } else if let (Some(attention), None) = (before, &after) {
            turn.say(Reason::AttentionOver { attention });
        }
    }
    if let Some(attention) = after {
        let instance = turn.record.standby().map(|standby| standby.instance.clone());
        turn.notify(NoticeKind::DecisionNeeded(DecisionNeeded { attention, instance, per_hour: turn.per_hour() }));
    }
}

/// Raises what an action's outcome has shown. A lesser one than what is there changes nothing.
pub(super) fn raise(turn: &mut Transition<'_>, attention: Attention) {
    let is_news = turn.record.attention().is_none_or(|before| before.kind() < attention.kind());
    if is_news && is_asked(turn, &attention) {
        turn.say(Reason::NeedsHuman { attention: attention.clone(), gone: false });
        turn.case().attention = Some(attention);
    }
}

/// What holds by itself at this moment.
fn observed(turn: &mut Transition<'_>, back: bool) -> Vec<Attention> {
    let mut found = Vec::new();
    if turn.policy.mode == Mode::Observe {
        found.push(Attention::ObserveMode);
    }
    let Some(standby) = turn.record.standby() else { return found };
    let since = standby.since;
    let Some(machine) = &turn.live.machine else { return found };
    if machine.gone {
        found.push(Attention::Vanished);
        return found;
    }
    // On its way to be stopped it gets as long as one has to boot.
    let patience = |since: Time| turn.now >= since.plus(turn.policy.boot_deadline);
    if machine.is_stopped() || machine.stopping_since.is_some_and(patience) {
        found.push(Attention::Stopped);
    }
    if machine.report.as_ref().is_some_and(|history| history.report.signer_seen) {
        found.push(Attention::SignerSeen);
    }
    if is_kept(turn) {
        return found;
    }
    if turn.now >= turn.policy.expires_at(since) {
        found.push(Attention::TtlEnded);
    }
    // It may only be that the cloud has not answered for a while; it gets as long as a report may be old.
    let patience = turn.policy.healthy_delay.saturating_add(turn.policy.report_stale_after);
    if let Some(at) = turn.live.healthy_since.map(|since| since.plus(patience)).filter(|_| back) {
        if turn.now < at {
            turn.wake(at);
        } else if !recover::is_silent(turn) {
            found.push(Attention::RecoveredButSilent);
        }
    }
    found
}

/// While its machines are people's alone they stop and start them, and by a grant the machine is to have a signer, of which
/// its last report still speaks when a demotion has stopped it.
fn is_asked(turn: &Transition<'_>, attention: &Attention) -> bool {
    let signer = matches!(attention, Attention::SignerSeen | Attention::TwoSigners);
    let owner = turn.record.standby().is_some_and(|standby| turn.record.is_owner(&standby.instance.id));
    let goes_home = turn.record.open_promotion().is_some_and(|open| open.kind == PromotionKind::ToHome);
    !turn.record.is_taken() || signer && !owner && !goes_home
}

/// Right after a start nobody has looked yet whether the operator keeps the machine.
fn is_kept(turn: &mut Transition<'_>) -> bool {
    let Some(machine) = &turn.live.machine else { return true };
    if machine.kept.is_some() {
        return machine.is_kept();
    }
    let grace = turn.live.trusted_since.map_or(Time::MIN, |since| since.plus(turn.policy.report_stale_after));
    turn.wake(grace);
    turn.now < grace
}

/// Right after a start nobody has looked at the machine: what was seen of it is neither confirmed nor over.
fn is_unseen(turn: &Transition<'_>) -> bool {
    let unseen = |machine: &MachineWatch| machine.seen.is_none() && !machine.gone;
    turn.record.standby().is_some() && turn.live.machine.as_deref().is_none_or(unseen)
}

/// A machine that never booted has written something after all.
fn is_refuted(turn: &Transition<'_>, latched: &Attention) -> bool {
    let seen = turn.live.machine.as_ref().and_then(|machine| machine.seen);
    latched.kind() == AttentionKind::NeverBooted && seen.is_some_and(|seen| seen.has_written)
}

/// A second outage was confirmed since the case was opened.
fn is_down_again(turn: &Transition<'_>) -> bool {
    match (&turn.record.watch, turn.record.incident()) {
        (Watch::Suspected { since, confirmed: true }, Some(incident)) => *since > incident.opened_at,
        (Watch::Suspected { .. } | Watch::Calm, _) => false,
    }
}
