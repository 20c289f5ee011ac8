//! What must hold once nothing happens any more but time, and the cloud answers or continues failing.

use failover::domain::{Phase, Span, Stage, Step, Validator, ValidatorId};

use super::{
    checks::stage,
    model::Model,
    ops::{Case, Sources},
};

/// How long after a reminder is due it may come: the pauses between two tries, and a watcher's clock that was ahead.
const SLACK: Span = Span::from_mins(30);

impl Model {
    pub fn settle(&mut self, case: &Case) {
        let hours = i64::from(case.hours);
        // Signals are fresh for twenty minutes.
        for _ in 0..hours * 4 {
            for id in self.ids.clone() {
                match case.sources {
                    Sources::Silent => {}
                    Sources::Down => self.down(&id),
                    Sources::Up => self.up(&id),
                }
            }
            self.serve(Span::from_mins(15));
        }
        for id in self.ids.clone() {
            let record = self.record(&id).clone();
            self.one_machine_is_kept(&id, &record);
            if self.timed && case.hours > 24 {
                self.every_wait_ends(&id, &record);
                if case.sources == Sources::Up {
                    self.every_incident_ends(&id, &record);
                }
            }
        }
        let armed = case.armed || case.ops.iter().any(|op| matches!(op, super::ops::Op::Mode(true)));
        assert!(armed || self.cloud.machines.is_empty(), "PROPERTY observe creates nothing");
    }

    /// Where a human was asked, or asked for quiet, or a key is slashed, nothing is touched any more, so nothing is
    /// claimed.
    fn one_machine_is_kept(&mut self, id: &ValidatorId, record: &Validator) {
        let works =
            [Step::Find, Step::Delete].iter().all(|step| !self.cloud.broken.iter().any(|(kind, _)| kind == step));
        if let Some(Stage::Standing(_)) = stage(record)
            && works
            && self.timed
            && !self.is_blocked(record)
        {
            let incident = record.incident().unwrap().id.to_string();
            let kept = self.cloud.of(id, &incident);
            let untouchable = self.cloud.machines.values().filter(|real| real.is_untouchable()).count();
            assert!(kept <= 1 + untouchable, "PROPERTY one machine is kept: {kept}");
        }
    }

    fn every_wait_ends(&self, id: &ValidatorId, record: &Validator) {
        let quiet_for = self.tracks[id].told_at.map_or(self.elapsed, |at| self.elapsed - at);
        let notified = quiet_for <= self.policy.remind_every + SLACK;
        if notified || record.phase() == Phase::Watching {
            return;
        }
        let why = self.may_be_silent(id, record);
        assert!(why.is_some(), "PROPERTY every wait ends or is told of: {} silent for {quiet_for:?}", record.phase());
    }

    /// Home has been back for a day. What is still open is a human's, or cannot be looked at or deleted.
    fn every_incident_ends(&self, id: &ValidatorId, record: &Validator) {
        let Some(incident) = record.incident() else { return };
        let live = &self.world.get(id).unwrap().live;
        let kept = live.machine.as_ref().is_some_and(|machine| machine.kept == Some(true));
        let excused = record.phase() == Phase::NeedsHuman
            || self.is_blocked(record)
            || incident.opened_while_up
            || kept
            || !self.cloud.broken.is_empty();
        assert!(excused, "PROPERTY home is back and the incident ends: {}", record.phase());
    }

    /// The states that wait in silence, and why that is right.
    fn may_be_silent(&self, id: &ValidatorId, record: &Validator) -> Option<&'static str> {
        let live = &self.world.get(id).unwrap().live;
        if record.case.is_none() && live.keys.as_ref().is_some_and(|keys| keys.active == 0) {
            return Some("keys that have no duties are nobody's outage");
        }
        if record.owner.may_be_cloud() && !matches!(stage(record), Some(Stage::Standing(_))) {
            return Some("a promotion is a human's work, and its session tells of itself");
        }
        if live.machine.as_ref().is_some_and(|machine| machine.kept == Some(true)) {
            return Some("the operator keeps the machine, and home is not back");
        }
        None
    }
}
