//! Ways to switch a rule off from outside: by what the machine is told, or by the policy it is given.

use failover::{
    domain::{
        Command, Event, IncidentId, Listed, Machine, OtherChain, Outcome, Policy, Reading, Request, Seen, Source, Span,
        Time, ValidatorId, Verdict, Written,
    },
    simulate::Tamper,
};

/// A rule switched off, from outside: by what the machine is told, or by the policy it is given.
pub(super) enum Off {
    Policy(fn(&mut Policy)),
    Event(fn(Event) -> Option<Event>),
}

impl Tamper for Off {
    fn policy(&self, policy: &mut Policy) {
        if let Self::Policy(change) = self {
            change(policy);
        }
    }
    fn event(&self, event: Event) -> Option<Event> {
        match self {
            Self::Policy(_) => Some(event),
            Self::Event(change) => change(event),
        }
    }
}

pub(super) fn reading(event: Event, change: impl Fn(Source, &mut Reading)) -> Option<Event> {
    Some(match event {
        Event::Observed(id, source, mut reading) => {
            change(source, &mut reading);
            Event::Observed(id, source, reading)
        }
        other => other,
    })
}

pub(super) fn outcome(event: Event, change: impl Fn(Outcome) -> Outcome) -> Option<Event> {
    Some(match event {
        Event::Finished(id, action, outcome) => Event::Finished(id, action, change(outcome)),
        other => other,
    })
}

/// Taking what a probe says for what another source says.
pub(super) fn probe_as(event: Event, other: Source) -> Option<Event> {
    Some(match event {
        Event::Observed(id, Source::Probe, reading) => Event::Observed(id, other, reading),
        other => other,
    })
}

/// The incident that a scenario opens after five minutes of its time.
pub(super) fn first_incident(id: &ValidatorId) -> IncidentId {
    IncidentId::derive(id, Time::constant(1_767_225_600 + 300, 0))
}

pub(super) fn no_unknown(event: Event) -> Option<Event> {
    reading(event, |_, reading| {
        if reading.verdict == Verdict::Unknown {
            reading.verdict = Verdict::Down;
            reading.fresh_until = reading.about.to + Span::from_hours(24);
        }
    })
}

pub(super) fn never_stale(event: Event) -> Option<Event> {
    reading(event, |_, reading| reading.fresh_until = reading.about.to + Span::from_hours(240))
}

pub(super) fn ignore_keys(event: Event) -> Option<Event> {
    (!matches!(event, Event::KeysSeen(..))).then_some(event)
}

pub(super) fn ignore_requests(event: Event) -> Option<Event> {
    (!matches!(event, Event::Requested(..))).then_some(event)
}

pub(super) fn no_budget(policy: &mut Policy) {
    policy.budget_per_incident = None;
    policy.budget_per_month = None;
}

/// An incomplete look taken for an empty one.
pub(super) fn trust_every_look(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Failed(_) => Outcome::Found(Vec::new()),
        other => other,
    })
}

/// As if the machine had never written anything.
pub(super) fn unwritten(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(mut seen)) => {
            seen.written = Written::Nothing;
            Outcome::Observed(Some(seen))
        }
        other => other,
    })
}

/// As if a look answered only where there is a report.
pub(super) fn unanswered_but_reports(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(seen)) if seen.written.report().is_none() => Outcome::Failed("no answer".into()),
        other => other,
    })
}

/// Every node that is read, judged as one whose own probes say all.
pub(super) fn by_its_word(policy: &mut Policy) {
    policy.other_chains.values_mut().for_each(|chain| *chain = OtherChain::Probed);
}

pub(super) fn nothing_is_gone(event: Event) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(None) => Outcome::Failed("taken for a bad poll".into()),
        other => other,
    })
}

pub(super) fn no_jumps(event: Event) -> Option<Event> {
    (!matches!(event, Event::ClockJumped(..))).then_some(event)
}

/// What one source says, said by a node's own probe: that shows both the work and the process.
pub(super) fn probe_or(event: Event, from: Source) -> Option<Event> {
    Some(match event {
        Event::Observed(id, source, reading) if source == from && reading.verdict == Verdict::Up => {
            Event::Observed(id, Source::Probe, reading)
        }
        other => other,
    })
}

pub(super) fn request(event: Event, change: impl Fn(&ValidatorId, &mut Request)) -> Option<Event> {
    Some(match event {
        Event::Requested(id, mut request) => {
            change(&id, &mut request);
            Event::Requested(id, request)
        }
        other => other,
    })
}

pub(super) fn seen(event: Event, change: impl Fn(&mut Seen)) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(mut seen)) => {
            change(&mut seen);
            Outcome::Observed(Some(seen))
        }
        other => other,
    })
}

pub(super) fn found(event: Event, change: impl Fn(&mut Machine)) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Found(mut machines) => {
            machines.iter_mut().for_each(&change);
            Outcome::Found(machines)
        }
        other => other,
    })
}

pub(super) fn believe(event: Event, change: impl Fn(&mut failover::domain::Report)) -> Option<Event> {
    outcome(event, |outcome| match outcome {
        Outcome::Observed(Some(mut seen)) => {
            if let Written::Report(report) = &mut seen.written {
                change(report);
            }
            Outcome::Observed(Some(seen))
        }
        other => other,
    })
}

/// One kind of request is never heard.
pub(super) fn no_request(event: Event, command: Command) -> Option<Event> {
    (!matches!(&event, Event::Requested(_, request) if request.command == command)).then_some(event)
}

/// The chain never shows it at work.
pub(super) fn no_work(event: Event) -> Option<Event> {
    (!matches!(&event, Event::Observed(_, Source::Chain, reading) if reading.verdict == Verdict::Up)).then_some(event)
}

/// The regular list of all machines, changed.
pub(super) fn listed(mut event: Event, change: fn(&mut Listed)) -> Option<Event> {
    if let Event::MachinesListed(_, listed) = &mut event {
        listed.iter_mut().for_each(change);
    }
    Some(event)
}
