//! A machine that never boots: its serial port is read, it is deleted, and another is tried on the next rung, a few
//! times and within the budget; then it is a human's question.
//!
//! **Invariants:** only a machine that has never written anything, not even its start-up script's first word, is given
//! up, and none that is retained, promoted or shows a signer; the next one is created only after a complete look has
//! shown that the last one is gone; what is given up stands in the record before anything is deleted, and is never
//! adopted again.

use super::{Draft, follow, recover};
use crate::domain::{
    Action, Doubt, GivenUp, Incident, Lines, Machine, Phase, Policy, PricedRung, Reason, Standby, Step, Time, Topic,
    Usd, Written, elapsed,
};

/// Right after a look at the machine: whether it is time to ask why it says nothing.
pub(super) fn after_look(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, written: &Written) {
    if *written == Written::Nothing && is_overdue(draft, standby) && draft.may_act() {
        let waited = elapsed(standby.since, draft.now);
        draft.say(Reason::NeverBooted { instance: standby.instance.clone(), waited });
        follow::ask(draft, incident, Step::Console, Action::Console(standby.instance.clone()));
    }
}

/// A placeholder of a machine never reports, and while home works again nothing is tried anew.
fn is_overdue(draft: &Draft<'_>, standby: &Standby) -> bool {
    let live = &draft.live;
    let heard = live.report.is_some() || live.unusable.is_some() || live.starting.is_some();
    let heard = heard || standby.spoke_at.is_some();
    if draft.policy.simulated || standby.retained || heard || draft.live.healthy_since.is_some() {
        return false;
    }
    // After a jump of our clock, or under another holder's, nobody knows how long the machine has had.
    let since = draft.live.clock_trusted_since.map_or(standby.since, |trusted| trusted.max(standby.since));
    let deadline = since.checked_add(draft.policy.boot_deadline).unwrap_or(Time::MAX);
    draft.now >= deadline
}

/// The serial port was read, or could not be: the evidence is safe, the machine may go.
pub(super) fn console_read(draft: &mut Draft<'_>, incident: &Incident, standby: &Standby, console: &str) {
    if !is_overdue(draft, standby) || !draft.may_act() {
        return;
    }
    let console = tail(console);
    let attempts = u32::try_from(incident.given_up.len()).unwrap_or(u32::MAX).saturating_add(1);
    if attempts >= draft.policy.max_boot_attempts || draft.policy.ladder.is_empty() {
        recover::doubt(draft, Some(standby.clone()), Doubt::NeverBooted { attempts, console });
        return;
    }
    let mut incident = incident.clone();
    incident.given_up.push(GivenUp {
        instance: standby.instance.clone(),
        rung: standby.rung.clone(),
        since: standby.since,
        gone_at: None,
    });
    // The next creation is another one, and not the same place twice if there is another.
    incident.creation += 1;
    incident.rung = (incident.rung + 1) % draft.policy.ladder.len();
    incident.failures = 0;
    incident.machine_since = None;
    draft.say(Reason::GivingUp { instance: standby.instance.clone() });
    draft.tell_never_booted(standby, &console);
    let delete = incident.next(Step::Delete, Action::GiveUp(standby.instance.clone()), draft.now);
    forget_machine(draft);
    draft.enter(Phase::Provisioning(incident, delete));
}

/// What was heard of one machine says nothing about the next.
pub(super) fn forget_machine(draft: &mut Draft<'_>) {
    let live = &mut draft.live;
    (live.report, live.unusable, live.starting, live.whole_since, live.stuck) = (None, None, None, None, None);
    (live.look_at, live.recheck_at) = (None, None);
    if draft.record.told.iter().any(|topic| matches!(topic, Topic::Standby(_))) {
        draft.record.to_mut().told.retain(|topic| !matches!(topic, Topic::Standby(_)));
    }
}

/// A complete look: the bill of those given up that it does not show has ended, and of those it shows it goes on, for an
/// earlier look that did not show them was behind.
pub(super) fn bill(incident: &mut Incident, machines: &[Machine], now: Time) {
    for gone in &mut incident.given_up {
        if machines.iter().any(|machine| machine.instance.id == gone.instance.id) {
            gone.gone_at = None;
        } else {
            gone.gone_at.get_or_insert(now);
        }
    }
}

/// What the machines that were given up have cost; `None` when the price of one is not known.
pub(super) fn sunk(incident: &Incident, policy: &Policy, now: Time) -> Option<Usd> {
    let cost = |gone: &GivenUp| {
        let same = |priced: &&PricedRung| priced.rung == gone.rung;
        let per_hour = policy.ladder.iter().find(same)?.per_hour?;
        Some(per_hour.0 * elapsed(gone.since, gone.gone_at.unwrap_or(now)).as_secs_f64() / 3600.0)
    };
    incident.given_up.iter().map(cost).sum::<Option<f64>>().map(Usd)
}

/// The last lines, without the sequences that colour a terminal. They are bounded by their type.
fn tail(console: &str) -> Lines {
    const LINES: usize = 10;
    let mut lines: Vec<String> = console.lines().rev().map(plain).filter(|line| !line.is_empty()).take(LINES).collect();
    lines.reverse();
    if lines.is_empty() {
        lines.push("its serial port has printed nothing".into());
    }
    lines.into_iter().collect()
}

/// One line without escape sequences and control characters.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' && rest.next_if_eq(&'[').is_some() {
            while rest.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
            rest.next();
        } else if !c.is_control() {
            text.push(c);
        }
    }
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::tail;

    #[test]
    fn the_last_lines_of_a_console_are_kept_without_colours_and_control_characters() {
        let text = "old\n".repeat(50) + "\u{1b}[0;32m  OK  \u{1b}[0m Started\r\n\u{7}bell\n\n";
        let lines: Vec<String> = tail(&text).iter().map(str::to_owned).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(&lines[8..], ["OK Started", "bell"]);
        assert_eq!(tail("").iter().collect::<Vec<_>>(), ["its serial port has printed nothing"]);
    }
}
