//! What must hold after every event. Each message begins with PROPERTY and names what is broken.

use failover::domain::{
    Abandoned, Action, Attention, Command, CreateOutcome, Event, Evidence, Mode, NoticeKind, Notified, Outage, Outcome,
    Reason, Source, Span, Stage, Step, Time, TimeExt, Topic, Validator, ValidatorId, Verdict, Watch,
};

use super::{cloud::number, model::Model};

/// What a wake-up may be late by, and what a signal's end adds to it.
const SLACK: Span = Span::from_secs(2);

impl Model {
    /// Whether a deletion or a creation is forbidden, by what is in the record.
    pub fn is_blocked(&self, record: &Validator) -> bool {
        self.policy.mode == Mode::Observe
            || record.paused_at(self.now).is_some()
            || !record.slashed.is_empty()
            || is_a_humans(record)
    }

    pub fn check_action(&mut self, id: &ValidatorId, event: &Event, action: &Action) {
        let record = self.record(id).clone();
        let machines = &self.cloud.machines;
        match action {
            Action::Create(_) => {
                assert!(self.tracks[id].known_empty, "PROPERTY nothing is created before a complete look was empty");
                let follows = matches!(event, Event::Finished(_, _, Outcome::Found(found)) if found.is_empty())
                    || matches!(
                        event,
                        Event::Finished(
                            _,
                            _,
                            Outcome::Created(CreateOutcome::OutOfStock(_) | CreateOutcome::QuotaExceeded(_))
                        )
                    );
                assert!(follows, "PROPERTY a creation starts in the step of the search before it");
                assert!(!self.is_blocked(&record), "PROPERTY nothing is created while something forbids it");
                let Some(Stage::Provisioning(pending)) = record.case.as_ref().map(|case| &case.stage) else {
                    panic!("PROPERTY created only while provisioning: {:?}", record.phase())
                };
                assert_eq!(pending.action, *action, "PROPERTY the intent is in the record before the call");
                let incident = record.incident().unwrap();
                let left = incident.abandoned.iter().find(|gone| machines.contains_key(&number(&gone.instance.id)));
                assert!(left.is_none(), "PROPERTY the next one is created while one given up stands: {left:?}");
                let limit = usize::try_from(self.policy.max_boot_attempts).unwrap();
                assert!(incident.abandoned.len() < limit, "PROPERTY no more attempts than allowed");
                assert!(
                    incident.abandoned.iter().all(|gone| gone.gone_at.is_some()),
                    "PROPERTY the bills of those given up have ended"
                );
            }
            Action::Delete(instance) | Action::Abandon(instance) | Action::Reclaim(instance) => {
                assert!(!is_a_humans(&record), "PROPERTY nothing is deleted that is a human's: {:?}", record.case);
                let signer = self.tracks[id].signer_of.is_some_and(|of| record.incident().unwrap().id == of);
                assert!(
                    !signer,
                    "PROPERTY where a signer was seen nothing is deleted before its operator has answered"
                );
                assert_eq!(self.policy.mode, Mode::Armed, "PROPERTY observe deletes nothing");
                match &record.case.as_ref().unwrap().stage {
                    Stage::Releasing { pending, by } => {
                        assert_eq!(pending.action, *action, "PROPERTY a deletion is persisted before the call");
                        assert!(by.is_some() || !self.is_blocked(&record), "PROPERTY nothing is deleted in a pause");
                    }
                    Stage::Standing(standby) => {
                        assert_ne!(standby.instance.id, instance.id, "PROPERTY the ledger's machine stays");
                        assert!(!self.is_blocked(&record), "PROPERTY nothing is deleted in a pause");
                        let pending = standby.extra.as_ref().map(|extra| &extra.action);
                        assert_eq!(pending, Some(action), "PROPERTY a deletion is persisted before the call");
                    }
                    Stage::Provisioning(pending) => {
                        assert_eq!(pending.action, *action, "PROPERTY a deletion is persisted before the call");
                        assert!(!self.is_blocked(&record), "PROPERTY nothing is deleted in a pause");
                        let of = |gone: &Abandoned| gone.instance.id == instance.id;
                        let abandoned = record.incident().unwrap().abandoned.iter().any(of);
                        assert!(abandoned, "PROPERTY only those given up are deleted while provisioning");
                    }
                }
            }
            Action::Console(instance) => {
                assert!(record.standby().is_some_and(|standby| standby.instance == *instance));
                let spoke = machines.get(&number(&instance.id)).is_some_and(|real| real.spoke);
                assert!(!spoke, "PROPERTY a machine that has written is not given up as not booted");
                let known = self.tracks[id].known.get(&number(&instance.id)).copied().unwrap_or_default();
                self.has_lasted("boot_deadline", known.max(self.trusted), self.policy.boot_deadline);
            }
            Action::Disks => assert!(matches!(stage(&record), Some(Stage::Releasing { .. }))),
            Action::Find | Action::Observe(_) => {}
        }
    }

    /// No deadline passes by a step of the clock.
    fn has_lasted(&self, what: &str, since: Span, long: Span) {
        let lasted = self.lenient() - since;
        assert!(!self.timed || lasted >= long, "PROPERTY no deadline passes early: {what} {long:?} after {lasted:?}");
    }

    pub fn check(&mut self, id: &ValidatorId, event: &Event, before: &Validator) {
        let after = self.record(id).clone();
        self.check_opening(id, event, before, &after);
        self.check_stages(id, before, &after);
        self.check_notices(id, before, &after);
        self.check_pause(id, &after);
        self.check_polled(id, &after);
        let slashed = &self.tracks[id].slashed;
        assert!(slashed.iter().all(|key| after.slashed.contains(key)), "PROPERTY a slashed key stays");
        let unhealthy = self.world.unhealthy_names().count();
        assert_eq!(self.world.unhealthy(), unhealthy, "PROPERTY the number of unhealthy validators is kept up to date");
        if self.is_blocked(&after) {
            self.track(id).known_empty = false;
        }
    }

    /// Whatever has come in between, the answer to a creation counts: without it the ladder is not gone down, and
    /// nobody is notified of what the cloud says.
    pub fn check_answered(&self, event: &Event, before: &Validator, reasons: &[Reason]) {
        let Event::Finished(_, action_id, _) = event else { return };
        let provisioning = matches!(stage(before), Some(Stage::Provisioning(_)));
        let of_this = before.incident().is_some_and(|incident| incident.id == action_id.incident);
        if self.answering && action_id.step == Step::Create && provisioning && of_this {
            let late = reasons.iter().any(|reason| matches!(reason, Reason::Late { .. }));
            assert!(!late, "PROPERTY the answer to a creation counts: {action_id}");
        }
    }

    /// Without an operator, an incident needs two independent fresh *down* that have lasted.
    fn check_opening(&mut self, id: &ValidatorId, event: &Event, before: &Validator, after: &Validator) {
        let (None, Some(incident)) = (before.incident(), after.incident()) else { return };
        assert_eq!(self.policy.mode, Mode::Armed, "PROPERTY observe opens nothing");
        assert!(after.paused_at(self.now).is_none() && after.slashed.is_empty(), "PROPERTY nothing opens in a pause");
        self.track(id).known_empty = false;
        if matches!(event, Event::Requested(_, request) if request.command == Command::Open) {
            assert!(incident.opened_by.is_some());
            return;
        }
        assert!(incident.opened_by.is_none());
        let live = &self.world.get(id).unwrap().live;
        let downs: Vec<(Source, Evidence)> = live
            .signals
            .views(self.now)
            .iter()
            .filter(|view| view.verdict == Verdict::Down && view.source != Source::Process)
            .map(|view| (view.source, view.evidence))
            .collect();
        let independent = downs.iter().any(|a| downs.iter().any(|b| a.0 != b.0 && a.1 != b.1));
        assert!(independent, "PROPERTY two independent sources say down: {downs:?}");
        self.has_lasted("hold_down", self.trusted, self.policy.hold_down);
    }

    fn check_stages(&mut self, id: &ValidatorId, before: &Validator, after: &Validator) {
        let lenient = self.lenient();
        if let Some(standby) = after.standby() {
            let known = *self.track(id).known.entry(number(&standby.instance.id)).or_insert(lenient);
            let same = before.standby().filter(|before| before.instance == standby.instance);
            if standby.ready && same.is_none_or(|same| !same.ready) {
                self.has_lasted("ready_hold", known.max(self.trusted), self.policy.ready_hold);
            }
            if after.attention() == Some(&Attention::TtlEnded) && before.attention() != after.attention() {
                self.has_lasted("standby_ttl", known, self.policy.standby_ttl);
            }
        }
        if matches!(stage(after), Some(Stage::Releasing { by: None, .. }))
            && !matches!(stage(before), Some(Stage::Releasing { .. }))
        {
            self.has_lasted("healthy_delay", self.trusted, self.policy.healthy_delay);
            assert!(!self.is_blocked(after), "PROPERTY nothing is released while something forbids it");
        }
    }

    fn check_notices(&mut self, id: &ValidatorId, before: &Validator, after: &Validator) {
        let mut waited: Vec<_> = before.outbox.iter().map(|mail| mail.notice.id).collect();
        let mut new = Vec::new();
        for mail in &after.outbox {
            match waited.iter().position(|old| *old == mail.notice.id) {
                Some(index) => drop(waited.remove(index)),
                None => new.push(&mail.notice),
            }
        }
        let named = |record: &Validator| record.incident().map(|incident| incident.id);
        let begins = before.incident().is_none() && after.incident().is_some();
        if !begins && after.incident().is_some() && named(before) != named(after) {
            let notified = new.iter().any(|notice| notice.kind.topic() == Topic::from("taken_over"));
            assert!(notified, "PROPERTY a machine that is taken over with its incident's name is notified to people");
        }
        if let Some(incident) = after.incident().filter(|_| begins) {
            let of = new.iter().find(|notice| notice.kind.topic() == Topic::CONFIRMED);
            let kind = of.map(|notice| &notice.kind);
            assert!(
                matches!(kind, Some(NoticeKind::Outage(Outage::Confirmed { .. } | Outage::SiteOutage { .. }))),
                "PROPERTY an incident that opens is notified to people: {}",
                incident.id
            );
        }
        let notified = |topic: &str| after.notified.iter().any(|notified| notified.topic.as_str() == topic);
        if let Some(attention) = after.attention() {
            assert!(
                notified(&format!("decision_needed/{}", attention.kind().name())),
                "PROPERTY people know what to look at: {attention:?}"
            );
        }
        let shown = after.case.is_some() || after.watch != Watch::Calm;
        assert!(after.slashed.is_empty() || !shown || notified("slashed"), "PROPERTY people know of a slashed key");
        let (lenient, elapsed, remind) = (self.lenient(), self.elapsed, self.policy.remind_every);
        let timed = self.timed;
        let track = self.track(id);
        // What is forgotten in this very event and said again is news.
        if before.incident().map(|incident| incident.id) != after.incident().map(|incident| incident.id) {
            track.told.retain(|topic, _| [Topic::SLASHED, Topic::PARTIAL].contains(topic));
        }
        let machine = |record: &Validator| record.standby().map(|standby| standby.instance.id.clone());
        if machine(before) != machine(after) {
            track
                .told
                .retain(|topic, _| !["standby_", "failure/poll"].iter().any(|start| topic.as_str().starts_with(start)));
        }
        for notice in &new {
            let topic = notice.kind.topic();
            let last = track.told.insert(topic.clone(), lenient);
            track.told_at = Some(elapsed);
            // These are one for each machine or incident, whatever was said before.
            let each = ["never_booted", "recovered"].contains(&topic.as_str());
            let was = |notified: &&Notified| notified.topic == topic;
            let expired = before.notified.iter().find(was).is_some_and(|was| is_expired(was.last_at));
            if let Some(last) = last.filter(|_| timed && !each && !expired) {
                let since = lenient - last;
                // What has worked in between is news sooner.
                let least = if topic.as_str().starts_with("failure/") { remind / 4 } else { remind };
                assert!(since >= least, "PROPERTY no topic twice within its reminder: {topic:?} after {since:?}");
            }
        }
        track.told.retain(|topic, _| notified(topic.as_str()));
    }

    /// A pause ends when it was asked to, whatever the clock does.
    fn check_pause(&mut self, id: &ValidatorId, after: &Validator) {
        let Some(ends) = self.tracks[id].pause_ends.filter(|_| self.timed) else { return };
        let paused = after.paused_at(self.now).is_some();
        if self.lenient() < ends {
            assert!(paused, "PROPERTY a pause does not end early");
        } else if self.elapsed >= ends + self.behind {
            assert!(!paused, "PROPERTY a pause does not end late");
        }
    }

    /// Whatever holds, the machine is looked at; and what is not forbidden continues.
    fn check_polled(&mut self, id: &ValidatorId, after: &Validator) {
        let idle = self.tracks[id].under_way.is_none();
        let wake = self.wake.get(id).copied();
        let blocked = self.is_blocked(after);
        let every = self.policy.recheck_every;
        match stage(after) {
            Some(Stage::Standing(_)) if idle => {
                let soon = wake.is_some_and(|at| at <= self.now.plus(every));
                assert!(soon, "PROPERTY the machine is polled: wakes at {wake:?}, now {}", self.now);
                let idle_for = self.elapsed - self.tracks[id].idle_since;
                assert!(
                    !self.timed || idle_for <= every + SLACK,
                    "PROPERTY the machine is polled: idle for {idle_for:?}"
                );
            }
            Some(Stage::Provisioning(pending) | Stage::Releasing { pending, .. }) if idle => {
                let waits = blocked && (pending.action.deletes() || matches!(pending.action, Action::Create(_)));
                assert!(wake.is_some() || waits || !self.timed, "PROPERTY what is pending is started: {pending:?}");
            }
            Some(_) => {}
            None => {
                let elapsed = self.elapsed;
                self.track(id).idle_since = elapsed;
            }
        }
    }
}

pub fn stage(record: &Validator) -> Option<&Stage> {
    record.case.as_ref().map(|case| &case.stage)
}

/// A human has been asked, or holds the keys: automation deletes nothing.
pub fn is_a_humans(record: &Validator) -> bool {
    record.is_taken() || record.attention().is_some_and(Attention::is_latched)
}

/// The next notice was made due at once, as [`Time::MIN`] says even after many steps of the clock.
fn is_expired(last_at: Time) -> bool {
    last_at < Time::MIN.plus(Span::from_hours(24 * 366 * 100))
}
