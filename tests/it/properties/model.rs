//! A watcher of three validators with its cloud and its clock, the truth beside what the watcher knows.

use std::collections::{BTreeMap, BTreeSet};

use failover::domain::{
    Action, ActionId, Delivery, Event, IncidentId, Mode, OtherChain, Outcome, Policy, PricedRung, PublicKey, Request,
    Rung, Span, Time, TimeExt, Topic, Usd, Validator, ValidatorId, World, explain, step,
};

use super::{
    cloud::Cloud,
    ops::{Case, Chain, Fate, Start},
    script::{CHAIN, ROOT, Script, time},
};

/// What is known of one validator beside the watcher.
#[derive(Default)]
pub struct Track {
    pub under_way: Option<(ActionId, Action)>,
    /// Outcomes of this process, to be repeated.
    outcomes: Vec<(ActionId, Outcome)>,
    /// The last complete look was empty, nothing may have been created since, and nothing held a creation back since.
    pub known_empty: bool,
    /// Since when nothing is under way, in true time.
    pub idle_since: Span,
    /// When a notice of each topic was queued last, in lenient time.
    pub told: BTreeMap<Topic, Span>,
    /// When any notice was queued last, in true time.
    pub told_at: Option<Span>,
    /// When each machine was first known, in lenient time.
    pub known: BTreeMap<u64, Span>,
    /// When the pause ends, in lenient time; `None` while there is none.
    pub pause_ends: Option<Span>,
    /// When its record was written last, by the clock of its writer.
    written_at: Time,
    pub slashed: BTreeSet<PublicKey>,
    /// The incident on whose machine a signer was seen, until its operator closes it.
    pub signer_of: Option<IncidentId>,
}

pub struct Model {
    pub ids: Vec<ValidatorId>,
    /// By the watcher's clock.
    pub now: Time,
    /// True time since the start.
    pub elapsed: Span,
    /// By how much later watchers' clocks were ahead of earlier ones', together. Nobody can know of that, so deadlines
    /// pass earlier by it. True time and this together are *lenient* time.
    pub ahead: Span,
    /// By how much they were behind, together: deadlines pass later by it.
    pub behind: Span,
    /// When our clock began to be trusted, in lenient time: a start or a step.
    pub trusted: Span,
    pub world: World,
    pub policy: Policy,
    pub tracks: BTreeMap<ValidatorId, Track>,
    pub wake: BTreeMap<ValidatorId, Time>,
    pub cloud: Cloud,
    pub script: Script,
    /// Whether time can be counted at all: near the ends of what can be written it stands still.
    pub timed: bool,
    /// Whether mail is delivered.
    delivers: bool,
    /// The event is the first answer to what is under way, and not a repeated one.
    pub answering: bool,
    pub last_request: Option<(ValidatorId, Request, String)>,
    pub requests: u32,
}

impl Model {
    pub fn new(case: &Case) -> Self {
        let ids: Vec<ValidatorId> = ["eth-0", "eth-1", "eth-2"].map(|name| ValidatorId::new(name).unwrap()).into();
        let policy = policy(case, &ids);
        let mut script = Script::new(&ids, &policy);
        let start = match case.start {
            Start::Normal => Time::constant(1_767_225_600, 0),
            Start::Last => Time::MAX.minus(Span::from_hours(24)),
            Start::First => Time::MIN.plus(Span::from_hours(24)),
        };
        if case.start != Start::Normal {
            script.note(&format!("the clock begins at {start}"));
        }
        let mut world = World::new(ids.iter().map(|id| (id.clone(), Validator::default())));
        world.chain.genesis_root = Some(ROOT.into());
        let track = || Track { written_at: start, ..Track::default() };
        Self {
            tracks: ids.iter().map(|id| (id.clone(), track())).collect(),
            ids,
            now: start,
            elapsed: Span::ZERO,
            ahead: Span::ZERO,
            behind: Span::ZERO,
            trusted: Span::ZERO,
            world,
            policy,
            wake: BTreeMap::new(),
            cloud: Cloud::default(),
            script,
            timed: case.start == Start::Normal,
            delivers: true,
            answering: false,
            last_request: None,
            requests: 0,
        }
    }

    /// The mail server takes nothing.
    pub fn without_mail(case: &Case) -> Self {
        Self { delivers: false, ..Self::new(case) }
    }

    pub fn record(&self, id: &ValidatorId) -> &Validator {
        &self.world.get(id).unwrap().record
    }

    pub fn track(&mut self, id: &ValidatorId) -> &mut Track {
        self.tracks.get_mut(id).unwrap()
    }

    /// No earlier than any watcher can believe.
    pub fn lenient(&self) -> Span {
        self.elapsed + self.ahead
    }

    /// One event, exactly as the runtime handles it; then everything that must hold.
    pub fn happen(&mut self, event: Event) {
        let id = event.validator().cloned();
        let before = id.as_ref().map(|id| self.record(id).clone());
        let mut decision = step(&self.world, &event, self.now, &self.policy).expect("every validator is known");
        let (Some(id), Some(before)) = (id, before) else {
            self.world.commit(None, &mut decision);
            return;
        };
        if let Some(record) = &decision.record {
            let json = serde_json::to_vec(record).unwrap();
            let back: Validator = serde_json::from_slice(&json).unwrap();
            assert_eq!(&back, record, "PROPERTY the ledger gives back what it was given");
            assert!(json.len() < 200_000, "PROPERTY a record stays small: {} bytes", json.len());
            self.track(&id).written_at = self.now;
        }
        self.world.commit(Some(&id), &mut decision);
        match decision.wake_at {
            Some(at) => {
                assert!(at > self.now, "PROPERTY a wake-up leads somewhere");
                self.wake.insert(id.clone(), at);
            }
            None => drop(self.wake.remove(&id)),
        }
        for (action_id, action) in decision.actions {
            assert!(self.track(&id).under_way.is_none(), "PROPERTY one action at a time");
            self.check_action(&id, &event, &action);
            self.track(&id).under_way = Some((action_id, action));
        }
        self.check_answered(&event, &before, &decision.reasons);
        self.check(&id, &event, &before);
        let _ = explain(&self.world, &id, self.now, &self.policy).map(|reason| reason.to_string());
        if self.delivers {
            self.deliver(&id);
        }
    }

    fn deliver(&mut self, id: &ValidatorId) {
        let waiting: Vec<_> = self.record(id).outbox.iter().map(|mail| mail.notice.id).collect();
        for notice in waiting {
            let delivery = Delivery { accepted: self.policy.mail_to.clone(), ..Delivery::default() };
            self.happen(Event::MailSettled(id.clone(), notice, delivery));
        }
    }

    pub fn all(&mut self, event: impl Fn(ValidatorId) -> Event) {
        for id in self.ids.clone() {
            self.happen(event(id));
        }
    }

    pub fn say(&mut self, statement: &str) {
        self.script.at(self.elapsed, statement);
    }

    /// Time stands still an hour before its end, because what cannot be written cannot be a clock's either.
    pub fn bounded(at: Time) -> Time {
        at.clamp(Time::MIN.plus(Span::from_hours(1)), Time::MAX.minus(Span::from_hours(1)))
    }

    /// Time passes, and anyone who asked for it is woken.
    pub fn pass(&mut self, span: Span) {
        let (until, ends) = (Self::bounded(self.now.plus(span)), self.elapsed + span);
        for turn in 0.. {
            assert!(turn < 100_000, "PROPERTY it does not wake itself without end");
            let Some((id, at)) = self.next_wake().filter(|(_, at)| *at <= until) else { break };
            self.wake.remove(&id);
            if at > self.now {
                self.elapsed += at.duration_since(self.now);
                self.now = at;
            }
            self.happen(Event::Due(id));
        }
        (self.now, self.elapsed) = (until, ends);
    }

    fn next_wake(&self) -> Option<(ValidatorId, Time)> {
        self.wake.iter().min_by_key(|(_, at)| **at).map(|(id, at)| (id.clone(), *at))
    }

    /// Time passes while the cloud answers everything as well as it can.
    pub fn serve(&mut self, span: Span) {
        let until = Self::bounded(self.now.plus(span));
        let ends = self.elapsed + span;
        for turn in 0.. {
            assert!(turn < 100_000, "PROPERTY it does not ask without end");
            let asked = self.ids.iter().find(|id| self.tracks[*id].under_way.is_some()).cloned();
            if let Some(id) = asked {
                self.answer(&id, Fate::Works);
            } else if let Some((_, at)) = self.next_wake().filter(|(_, at)| *at <= until) {
                self.pass(at.duration_since(self.now).max(Span::ZERO));
            } else {
                break;
            }
        }
        self.pass(ends - self.elapsed);
    }

    pub fn answer(&mut self, id: &ValidatorId, fate: Fate) {
        let Some((action_id, action)) = self.track(id).under_way.take() else { return };
        let first = self.policy.ladder[0].rung.clone();
        let answer = self.cloud.answer(id, action_id, &action, fate, &first, self.now);
        if !answer.exact {
            self.script.note("the language cannot say all of the next report");
        }
        self.say(&format!("answer {id} {}", answer.words));
        let elapsed = self.elapsed;
        let track = self.track(id);
        track.idle_since = elapsed;
        match &answer.outcome {
            Outcome::Found(_) => track.known_empty = answer.empty,
            Outcome::Created(failover::domain::CreateOutcome::Created(_))
            | Outcome::Created(failover::domain::CreateOutcome::Unknown(_)) => track.known_empty = false,
            Outcome::Observed(Some(seen)) if seen.written.report().is_some_and(|report| report.signer_seen) => {
                track.signer_of = Some(action_id.incident);
            }
            _ => {}
        }
        track.outcomes.push((action_id, answer.outcome.clone()));
        if track.outcomes.len() > 8 {
            track.outcomes.remove(0);
        }
        self.answering = true;
        self.happen(Event::Finished(id.clone(), action_id, answer.outcome));
        self.answering = false;
    }

    pub fn repeat(&mut self, id: &ValidatorId, which: usize) {
        let Some((action_id, outcome)) = self.tracks[id].outcomes.get(which).cloned() else { return };
        // A creation keeps its name when it is repeated, and then this is its answer.
        if self.tracks[id].under_way.as_ref().is_some_and(|(under_way, _)| *under_way == action_id) {
            return;
        }
        let before = self.record(id).incident().map(|incident| incident.creation);
        self.script.write(&format!("# an outcome of {id} a second time: {action_id}"));
        self.happen(Event::Finished(id.clone(), action_id, outcome));
        let after = self.record(id).incident().map(|incident| incident.creation);
        assert_eq!(before, after, "PROPERTY a repeated outcome is not the answer to anything");
    }

    /// A crash, or another watcher whose clock differs by so much. What was under way happens or not, and nobody hears
    /// of it.
    pub fn restart(&mut self, happens: bool, down_for: Span, skew: i64) {
        self.say("restart");
        let Self { tracks, cloud, .. } = self;
        for (id, track) in tracks {
            track.outcomes.clear();
            if let Some((action_id, action)) = track.under_way.take() {
                cloud.abandoned(id, action_id, &action, happens);
            }
            // The number of a creation under way may be used a second time.
            track.known_empty = false;
        }
        self.elapsed += down_for;
        let skew = Span::from_secs(skew);
        self.now = Self::bounded(self.now.plus(down_for).plus(skew));
        if !down_for.is_zero() {
            self.script.note("until the next line nobody has watched");
            self.say("restart");
        }
        if skew.is_negative() {
            self.behind += skew.abs()
        } else {
            self.ahead += skew
        }
        self.trusted = self.lenient();
        let mut records = Vec::new();
        for id in &self.ids {
            let mut record = self.record(id).clone();
            let track = self.tracks.get_mut(id).unwrap();
            let by = self.now.duration_since(track.written_at);
            if by.is_negative() {
                record.shift(by);
            }
            (track.written_at, track.idle_since) = (self.now, self.elapsed);
            records.push((id.clone(), record));
        }
        let chain = self.world.chain.clone();
        self.world = World::new(records);
        self.world.trust_clock_since(self.now);
        self.world.chain = chain;
        self.wake.clear();
        if !skew.is_zero() {
            self.script.note("the clock of the watcher that leads now differs; nearest:");
            self.say(&format!("clock-jump {}", time(skew)));
        }
        self.all(Event::Due);
    }

    /// The scenario so far, ending with what holds.
    pub fn scenario(&self, property: &str) -> String {
        let mut script = self.script.clone();
        script.write(&format!("# {}", property.lines().next().unwrap_or_default()));
        for id in &self.ids {
            script.at(self.elapsed, &format!("expect {id} phase {}", self.record(id).phase()));
        }
        script.text
    }
}

fn policy(case: &Case, ids: &[ValidatorId]) -> Policy {
    let rung = |zone: &str| PricedRung {
        rung: Rung { zone: zone.into(), machine_type: "n2-standard-8".into() },
        per_hour: Some(Usd(0.75)),
        at_most: Some(Usd(54.0)),
        stopped_per_month: Some(Usd(200.0)),
    };
    let chains = ids.iter().zip(case.chains).filter_map(|(id, chain)| {
        let other = match chain {
            Chain::Ours => return None,
            Chain::Probed => OtherChain::Probed,
            Chain::Read => OtherChain::Read { chain_id: Some(CHAIN.into()) },
        };
        Some((id.clone(), other))
    });
    Policy {
        mode: if case.armed { Mode::Armed } else { Mode::Observe },
        hold_down: Span::from_mins(2),
        healthy_delay: Span::from_mins(2),
        cooldown: Span::from_mins(1),
        ready_hold: Span::from_mins(2),
        boot_deadline: Span::from_mins(5),
        stuck_after: Span::from_mins(5),
        remind_every: Span::from_hours(4),
        standby_ttl: Span::from_hours(16),
        observe_every: Span::from_mins(3),
        simulated: case.simulated,
        budget_per_incident: case.budget.then_some(Usd(60.0)),
        budget_per_month: case.budget.then_some(Usd(120.0)),
        ladder: vec![rung("us-central1-a"), rung("us-central1-b"), rung("europe-west4-a")],
        mail_to: vec!["operator@example.org".into()],
        other_chains: chains.collect(),
        ..Policy::default()
    }
}
