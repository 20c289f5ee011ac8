//! Home is back: the only thing beside the operator that ends an incident. A resolved alert does not.

use super::Draft;
use crate::domain::{Action, Doubt, Phase, Reason, Standby, Step, Time, elapsed};

/// Whether home has worked for long enough *and* its own process is seen. Attestations alone could be anybody's; a
/// generic node that is probed shows both by itself.
pub(super) fn is_back(draft: &mut Draft<'_>, opened_at: Time) -> bool {
    if !draft.live.signals.working_after(opened_at, draft.now) {
        draft.live.healthy_since = None;
        return false;
    }
    let first = draft.live.healthy_since.is_none();
    let since = *draft.live.healthy_since.get_or_insert(draft.now);
    let until = since.checked_add(draft.policy.healthy_delay).unwrap_or(Time::MAX);
    let process_seen = draft.live.signals.process_seen(draft.now);
    if first {
        draft.say(Reason::RecoveryWaits { left: until.duration_since(draft.now), process_seen });
    }
    if draft.now < until {
        draft.wake(until);
        return false;
    }
    process_seen && draft.may_act()
}

/// Lets the machine go because home is back.
pub(super) fn release_recovered(draft: &mut Draft<'_>) {
    let since = draft.live.healthy_since.unwrap_or(draft.now);
    draft.say(Reason::HomeIsBack { working_for: elapsed(since, draft.now) });
    release(draft);
}

/// Lets the incident's machine go. What is deleted is decided by what is found, not by what is remembered.
pub(super) fn release(draft: &mut Draft<'_>) {
    let Some(mut incident) = draft.record.phase.incident().cloned() else { return };
    incident.failures = 0;
    let pending = incident.next(Step::Find, Action::Find, draft.now);
    draft.enter(Phase::Releasing(incident, pending));
}

/// Stops deciding: only a human goes on from here.
pub(super) fn doubt(draft: &mut Draft<'_>, standby: Option<Standby>, doubt: Doubt) {
    let Some(incident) = draft.record.phase.incident().cloned() else { return };
    draft.say(Reason::InDoubt { doubt: doubt.clone() });
    draft.tell_doubt(&incident, standby.as_ref(), &doubt);
    // Whoever was asked sees what it does; whether it is ready or stuck is not judged any more.
    (draft.live.whole_since, draft.live.stuck) = (None, None);
    draft.enter(Phase::NeedsHuman(incident, standby, doubt));
}
