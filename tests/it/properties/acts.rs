//! What may happen, done to the model and written down in the language of scenarios.

use failover::domain::{
    ChainHealth, ChainView, Command, Event, Evidence, IncidentId, Interval, KeyStates, Listed, Maintenance, Mode,
    Owner, PublicKey, REQUEST_LIFETIME, Reading, Request, Source, Span, Time, TimeExt, ValidatorId, Verdict,
};
use failover::simulate::GateSays;
use strum::IntoEnumIterator as _;

use super::{
    model::Model,
    ops::{About, Asked, Op},
    script::{self, ROOT, time},
};

impl Model {
    fn of(&self, number: u8) -> ValidatorId {
        self.ids[usize::from(number) % self.ids.len()].clone()
    }

    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Wait(seconds) => self.pass(Span::from_secs(i64::from(*seconds))),
            Op::Serve(seconds) => self.serve(Span::from_secs(i64::from(*seconds))),
            Op::Signal(of, source, verdict, evidence, about) => {
                self.signal(&self.of(*of), *source, *verdict, *evidence, *about, Span::from_mins(20));
            }
            Op::Down(of) => self.down(&self.of(*of)),
            Op::Up(of) => self.up(&self.of(*of)),
            Op::Keys { of, active, slashed } => {
                let id = self.of(*of);
                self.say(&format!("keys {id} active={active} slashed={slashed}"));
                let slashed: Vec<_> = (0..*slashed).map(|key| PublicKey::new([key; 48])).collect();
                self.track(&id).slashed.extend(&slashed);
                let keys = KeyStates { active: usize::from(*active), slashed, ..KeyStates::default() };
                self.happen(Event::KeysSeen(id, keys));
            }
            Op::ChainStuck(stuck) => {
                let health = if *stuck { ChainHealth::NotFinalising { epochs: 9 } } else { ChainHealth::Finalising };
                self.say(if *stuck { "chain-stuck 9" } else { "chain-finalises" });
                self.happen(Event::ChainSeen(ChainView { health, genesis_root: Some(ROOT.into()) }));
                self.all(Event::Due);
            }
            Op::Maintenance(of, seen) => {
                let id = self.of(*of);
                let fresh_until = self.now.plus(Span::from_hours(1));
                let maintenance = seen.then(|| Maintenance { why: "it was scaled to zero".into(), fresh_until });
                let words = if *seen { "\"it was scaled to zero\" fresh=1h" } else { "none" };
                self.say(&format!("maintenance {id} {words}"));
                self.happen(Event::MaintenanceSeen(id, maintenance));
            }
            Op::Gate(of, says) => {
                let id = self.of(*of);
                let says = GateSays::iter().nth(usize::from(*says)).unwrap();
                self.say(&format!("gate {id} {} fresh=1h", <&str>::from(says)));
                self.happen(Event::GateSeen(id, says.sight(Span::from_hours(1), self.now)));
            }
            Op::Owner(of, owner) => {
                let id = self.of(*of);
                let (owner, word) = match owner {
                    0 => (Owner::Cloud { number: 2, instance: 101.into(), boot: "first".into() }, "cloud"),
                    1 => (Owner::Moving { number: 2 }, "moving"),
                    2 => (Owner::Unknown, "unknown"),
                    _ => (Owner::Home, "home"),
                };
                self.say(&format!("owner {id} {word}"));
                self.happen(Event::OwnerSeen(id, owner));
            }
            Op::Ask(of, asked) => self.ask(&self.of(*of), *asked),
            Op::AskAgain => {
                if let Some((id, request, words)) = self.last_request.clone() {
                    self.say(&words);
                    self.happen(Event::Requested(id, request));
                }
            }
            Op::Answer(of, fate) => {
                let id = self.of(*of);
                let asked = |id: &&ValidatorId| self.tracks[*id].under_way.is_some();
                if let Some(id) = Some(&id).filter(asked).or_else(|| self.ids.iter().find(asked)).cloned() {
                    self.answer(&id, *fate);
                }
            }
            Op::Repeat(of, which) => self.repeat(&self.of(*of), usize::from(*which)),
            Op::Restart { down_for, happens } => self.restart(*happens, Span::from_secs(i64::from(*down_for)), 0),
            Op::Lease(seconds) => self.restart(true, Span::ZERO, i64::from(*seconds)),
            Op::Mode(armed) => {
                self.policy.mode = if *armed { Mode::Armed } else { Mode::Observe };
                self.say(&format!("policy mode {}", script::mode(self.policy.mode)));
                self.all(Event::Due);
                self.restart(true, Span::ZERO, 0);
            }
            Op::ClockStep(seconds) => {
                let before = self.now;
                self.now = Self::bounded(self.now.plus(Span::from_secs(i64::from(*seconds))));
                let by = self.now.duration_since(before);
                self.say(&format!("clock-jump {}", time(by)));
                self.trusted = self.lenient();
                self.all(|id| Event::ClockJumped(id, by));
            }
            Op::Break(kind, failing) => {
                self.script.write(&format!("# from here on {kind:?} fails: {failing:?}"));
                self.cloud.broken.retain(|(broken, _)| broken != kind);
                self.cloud.broken.push((*kind, *failing));
            }
            Op::Repair => self.cloud.broken.clear(),
            Op::Hanging(hangs) => self.cloud.hanging = *hangs,
            Op::List(of, ours) => {
                let id = self.of(*of);
                let (machines, words) = self.cloud.list(&id, &self.policy.ladder[0].rung, self.now);
                self.say(&format!("{} {id}{words}", if *ours { "machines" } else { "foreign-machines" }));
                let listed = machines.into_iter().map(|machine| Listed { machine, ours: *ours }).collect();
                self.happen(Event::MachinesListed(id, listed));
            }
            Op::Machine(of, what) => {
                let id = self.of(*of);
                self.script.write(&format!("# a machine of {id}: {what:?}"));
                self.cloud.happens(&id, *what);
            }
        }
    }

    fn signal(
        &mut self,
        id: &ValidatorId,
        source: Source,
        verdict: Verdict,
        evidence: Evidence,
        about: About,
        fresh: Span,
    ) {
        let now = self.now;
        let (from, to, fresh_until) = match about {
            About::Near(seconds) => {
                let to = now.plus(Span::from_secs(i64::from(seconds)));
                (to.minus(Span::from_secs(30)), to, now.plus(fresh))
            }
            About::First => (Time::MIN, Time::MIN, Time::MIN),
            About::Always => (Time::MIN, now, Time::MAX),
            About::Last => (Time::MAX, Time::MAX, Time::MAX),
        };
        let offset = |at: Time| time(at.duration_since(now));
        self.say(&format!(
            "{source} {id} {verdict} evidence={} about={}..{} fresh={}",
            format!("{evidence:?}").to_lowercase(),
            offset(from),
            offset(to),
            offset(fresh_until)
        ));
        let reading = Reading { verdict, evidence, about: Interval { from, to }, fresh_until, why: "random".into() };
        self.happen(Event::Observed(id.clone(), source, reading));
    }

    /// Two independent sources say down.
    pub fn down(&mut self, id: &ValidatorId) {
        for (source, evidence) in [(Source::Alert, Evidence::Process), (Source::Kube, Evidence::Kube)] {
            self.signal(id, source, Verdict::Down, evidence, About::Near(0), Span::from_mins(20));
        }
    }

    /// The chain shows it at work, and so does its process; nothing says down any more.
    pub fn up(&mut self, id: &ValidatorId) {
        for (source, evidence) in [
            (Source::Alert, Evidence::Process),
            (Source::Kube, Evidence::Kube),
            (Source::Process, Evidence::Process),
            (Source::Chain, Evidence::Chain),
        ] {
            self.signal(id, source, Verdict::Up, evidence, About::Near(0), Span::from_mins(20));
        }
    }

    fn ask(&mut self, id: &ValidatorId, asked: Asked) {
        self.requests += 1;
        let name = format!("r{}", self.requests);
        let open = self.record(id).incident().map(|incident| incident.id);
        let another = IncidentId::try_from("deadbeef".to_owned()).unwrap();
        let in_time = self.now.plus(REQUEST_LIFETIME);
        let late = self.now.minus(Span::from_hours(24)).plus(REQUEST_LIFETIME);
        let (command, incident, expires_at, words) = match asked {
            Asked::Open => (Command::Open, open, in_time, "open".to_owned()),
            Asked::Close => (Command::Close, open, in_time, "close".into()),
            Asked::Pause { minutes } => {
                let span = Span::from_mins(i64::from(minutes));
                (Command::Pause { until: self.now.plus(span) }, open, in_time, format!("pause for={}", time(span)))
            }
            Asked::Resume => (Command::Resume, open, in_time, "resume".into()),
            Asked::Retain => (Command::Retain, open, in_time, "retain".into()),
            Asked::CloseAnother => (Command::Close, Some(another), in_time, "close incident=deadbeef".into()),
            Asked::OpenLate => (Command::Open, open, late, "open written=-24h".into()),
        };
        let request = Request {
            id: name.clone(),
            validator: id.clone(),
            by: "operator".into(),
            reason: "as the scenario says".into(),
            command,
            incident,
            expires_at: Some(expires_at),
        };
        let words = format!("request {id} {words} id={name}");
        self.say(&words);
        self.last_request = Some((id.clone(), request.clone(), words));
        if let Asked::Pause { minutes } = asked
            && self.now.plus(Span::from_mins(1)) > self.now
        {
            self.track(id).pause_ends = Some(self.lenient() + Span::from_mins(i64::from(minutes)));
        }
        if matches!(asked, Asked::Close) {
            self.track(id).signer_of = None;
        }
        if matches!(asked, Asked::Resume) {
            self.track(id).pause_ends = None;
        }
        self.happen(Event::Requested(id.clone(), request));
    }
}
