//! A machine that never boots: its serial port is read, it is deleted, and another is tried on the next rung, a few
//! times and within the budget; then it is a human's question.
//!
//! **Invariants:** only a machine that has never written anything, not even its start-up script's first word, is given
//! up, and none that is retained, promoted or shows a signer; the next one is created only after a complete look has
//! shown that the last one is gone; what is abandoned is in the record before anything is deleted, and is never
//! adopted again.

use super::{Transition, attention};
use crate::domain::{
    Abandoned, Action, Attention, Incident, Machine, Policy, Reason, Stage, Time, TimeExt, Usd, Written, console_tail,
    elapsed,
};

/// Right after a look at the machine: whether it is time to ask why it says nothing.
pub(super) fn after_poll(turn: &mut Transition<'_>, written: &Written) {
    let Some(standby) = turn.record.standby() else { return };
    if *written == Written::Nothing && is_overdue(turn) && turn.record.attention().is_none() {
        let (instance, waited) = (standby.instance.clone(), elapsed(standby.since, turn.now));
        if turn.may_act() {
            turn.say(Reason::NeverBooted { instance: instance.clone(), waited });
            turn.ask(Action::Console(instance));
        }
    }
}

/// A placeholder of a machine never reports, and while home works again nothing is tried again.
fn is_overdue(turn: &Transition<'_>) -> bool {
    let (Some(standby), Some(machine)) = (turn.record.standby(), &turn.live.machine) else { return false };
    let seen = machine.report.is_some() || machine.boot_status.is_some() || machine.unusable.is_some();
    let spoke = standby.spoke_at.is_some() || seen;
    if turn.policy.simulated || machine.is_kept() || machine.gone || spoke || turn.live.healthy_since.is_some() {
        return false;
    }
    // After a jump of our clock, or under another holder's, nobody knows how long the machine has had.
    let since = turn.live.trusted_since.map_or(standby.since, |trusted| trusted.max(standby.since));
    turn.now >= since.plus(turn.policy.boot_deadline)
}

/// The serial port was read, or could not be: the evidence is safe, the machine may go.
pub(super) fn console_read(turn: &mut Transition<'_>, console: &str) {
    if !is_overdue(turn) || !turn.may_act() {
        return;
    }
    let (console, policy) = (console_tail(console), turn.policy);
    let (Some(standby), Some(incident)) = (turn.record.standby().cloned(), turn.record.incident()) else { return };
    let attempts = u32::try_from(incident.abandoned.len()).unwrap_or(u32::MAX).saturating_add(1);
    if attempts >= policy.max_boot_attempts || policy.ladder.is_empty() {
        attention::raise(turn, Attention::NeverBooted { attempts, console });
        return;
    }
    let now = turn.now;
    turn.say(Reason::Abandoning { instance: standby.instance.clone() });
    turn.notify_of_boot(&standby, &console);
    let (instance, rung, since) = (standby.instance.clone(), standby.rung, standby.since);
    let incident = turn.incident();
    incident.abandoned.push(Abandoned { instance, rung, since, gone_at: None });
    // The next creation is another one, and not the same place twice if there is another.
    incident.creation += 1;
    incident.rung = (incident.rung + 1) % policy.ladder.len();
    incident.machine_since = None;
    let delete = incident.next(Action::Abandon(standby.instance), now);
    turn.case().stage = Stage::Provisioning(delete);
    turn.forget_machine();
}

impl Transition<'_> {
    /// A complete search: the bill of those abandoned that it does not show has ended, and of those it shows it
    /// continues, for an earlier search that did not show them was behind.
    pub(super) fn bill_abandoned(&mut self, machines: &[Machine]) {
        let now = self.now;
        let is_listed = |gone: &Abandoned| machines.iter().any(|machine| machine.instance.id == gone.instance.id);
        let agrees = |gone: &Abandoned| gone.gone_at.is_none() == is_listed(gone);
        if self.record.incident().is_some_and(|incident| !incident.abandoned.iter().all(agrees)) {
            for gone in &mut self.incident().abandoned {
                gone.gone_at = if is_listed(gone) { None } else { gone.gone_at.or(Some(now)) };
            }
        }
    }
}

/// What the abandoned machines have cost; `None` when the price of one is not known.
pub(super) fn sunk(incident: &Incident, policy: &Policy, now: Time) -> Option<Usd> {
    let cost = |gone: &Abandoned| policy.cost(&gone.rung, elapsed(gone.since, gone.gone_at.unwrap_or(now)));
    incident.abandoned.iter().map(cost).sum::<Option<f64>>().map(Usd)
}
