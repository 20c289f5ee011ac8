//! Signs of a human at work: they hold an incident back, are told, and hold nothing back once they are gone.

use failover::domain::{
    Blocker, Decision, Event, Evidence, Interval, Maintenance, Policy, Reading, Reason, Source, Span, Validator, World,
    step,
};

use super::*;

struct Machine {
    world: World,
    id: ValidatorId,
    policy: Policy,
    now: Time,
}

impl Machine {
    fn new() -> Self {
        let id = ValidatorId::new("eth-0").unwrap();
        let world = World::new([(id.clone(), Validator::default())]);
        let policy = Policy { mode: failover::domain::Mode::Armed, ladder: Vec::new(), ..Policy::default() };
        Self { world, id, policy, now: "2026-11-21T07:00:00Z".parse().unwrap() }
    }

    fn happen(&mut self, event: &Event) -> Decision {
        let mut decision = step(&self.world, event, self.now, &self.policy).unwrap();
        let copy = Decision { reasons: decision.reasons.clone(), wake_at: decision.wake_at, ..Decision::default() };
        self.world.commit(Some(&self.id), &mut decision);
        copy
    }

    /// Alert and chain say down, for as long as it takes to be sure.
    fn confirmed(&mut self, minutes: i64) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for _ in 0..minutes {
            for (source, evidence) in [(Source::Alert, Evidence::Host), (Source::Chain, Evidence::Chain)] {
                let about = Interval { from: self.now, to: self.now };
                let fresh_until = self.now + Span::from_mins(2);
                let reading = Reading { verdict: Verdict::Down, evidence, about, fresh_until, why: "silent".into() };
                reasons.extend(self.happen(&Event::Observed(self.id.clone(), source, reading)).reasons);
            }
            self.now += Span::from_mins(1);
        }
        reasons
    }

    fn maintenance(&mut self, fresh: Option<Span>) {
        let maintenance =
            fresh.map(|fresh| Maintenance { why: "it was scaled to zero".into(), fresh_until: self.now + fresh });
        self.happen(&Event::MaintenanceSeen(self.id.clone(), maintenance));
    }

    fn told(&self, topic: &str) -> bool {
        self.world.get(&self.id).unwrap().record.notified.iter().any(|notified| notified.topic.as_str() == topic)
    }
}

fn blocked_by_maintenance(reasons: &[Reason]) -> bool {
    reasons.iter().any(|reason| matches!(reason, Reason::Blocked { block: Blocker::Maintenance { .. }, .. }))
}

#[test]
fn a_confirmed_outage_that_a_human_made_is_told_and_opens_nothing() {
    let mut machine = Machine::new();
    machine.maintenance(Some(Span::from_hours(1)));
    let reasons = machine.confirmed(10);
    assert!(blocked_by_maintenance(&reasons), "{reasons:?}");
    assert!(machine.told("maintenance"));
    assert!(machine.world.get(&machine.id).unwrap().record.incident().is_none());
}

#[test]
fn signs_of_a_human_that_are_gone_or_stale_hold_nothing_back() {
    for gone in [None, Some(Span::from_secs(60))] {
        let mut machine = Machine::new();
        machine.maintenance(Some(Span::from_hours(1)));
        machine.maintenance(gone);
        let reasons = machine.confirmed(10);
        assert!(!blocked_by_maintenance(&reasons), "{reasons:?}");
        // The next rule in line holds it back: there is no place to create anything.
        assert!(reasons.iter().any(|reason| matches!(reason, Reason::Blocked { block: Blocker::NoLadder, .. })));
    }
}
