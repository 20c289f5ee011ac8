//! What people are told, and when: each thing once, queued in the same record as the phase it is about.
//!
//! The words are [`crate::domain::notice`]'s.

use uuid::Uuid;

use super::Draft;
use crate::domain::{
    Bill, Block, ChainHealth, Closed, Delivery, Doubt, Failed, Held, Incident, IncidentId, Lines, Mode, Money, Notice,
    NoticeKind, Offer, OtherChain, OutboxState, Outgoing, Phase, Plan, PricedRung, Progress, Question, Rung, Span,
    Standby, Stuck, Text, Time, Topic, Usd, Verdict, elapsed, human,
};

/// Up to this many notices are kept. Beyond it, one that every recipient has refused goes first; without such a one the
/// new notice is not queued and the log has it: what waits is older and was promised.
const OUTBOX: usize = 64;

impl Draft<'_> {
    /// Tells people, once until the phase is `Watching` again. The topics that need more than the phase shows have
    /// functions of their own below.
    pub(super) fn tell(&mut self, topic: Topic) {
        let Some(kind) = self.compose(topic) else { return };
        self.tell_once(topic, kind);
    }

    pub(super) fn tell_blocked(&mut self, topic: Topic, block: &Block) {
        let evidence = self.evidence();
        let kind = match block {
            Block::ObserveMode | Block::Paused { .. } | Block::NoLadder => {
                NoticeKind::Confirmed { since: self.since(), evidence, plan: self.plan(0), opened_by: None }
            }
            Block::ChainNotFinalising { epochs } => {
                NoticeKind::ChainSick { why: format!("the last finalised epoch is {epochs} behind").into() }
            }
            Block::Slashed { .. } | Block::NoActiveKeys => return self.tell(Topic::Slashed),
            Block::Hands { why } => NoticeKind::Maintenance { why: why.to_string().into(), evidence },
            Block::Cooldown { until } => NoticeKind::HeldBack { rule: Held::Cooldown { until: *until }, evidence },
            Block::TooMany { limit } => {
                let limit = u32::try_from(*limit).unwrap_or(u32::MAX);
                NoticeKind::HeldBack { rule: Held::DailyLimit { limit }, evidence }
            }
            Block::OverIncidentBudget { limit, estimate } => {
                NoticeKind::Money(Money::OverIncidentBudget { estimate: *estimate, limit: *limit })
            }
            Block::OverMonthBudget { limit, estimate, spent } => {
                NoticeKind::Money(Money::OverMonthBudget { estimate: *estimate, spent: *spent, limit: *limit })
            }
            Block::PriceUnknown { rung } => NoticeKind::Money(Money::PriceUnknown { rung: rung.clone() }),
        };
        self.tell_once(topic, kind);
    }

    pub(super) fn tell_failure(&mut self, topic: Topic, said: &str, retry_at: Option<Time>) {
        let failed = match topic {
            Topic::Quota => Failed::Quota,
            Topic::OutOfStock => Failed::OutOfStock,
            Topic::TooSlow => Failed::TooSlow,
            Topic::Stuck => Failed::Delete,
            Topic::Refused
            | Topic::SuspectedTooLong
            | Topic::Confirmed
            | Topic::ChainSick
            | Topic::Partial
            | Topic::Slashed
            | Topic::Money
            | Topic::Ready
            | Topic::Flapping
            | Topic::Hands
            | Topic::FuseSoon
            | Topic::Standby(_) => Failed::Refused,
        };
        self.tell_once(topic, NoticeKind::Failure { failed, detail: said.into(), retry_at });
    }

    /// Every doubt is told: it is a question, and nothing goes on without the answer.
    pub(super) fn tell_doubt(&mut self, incident: &Incident, standby: Option<&Standby>, doubt: &Doubt) {
        let question = match doubt {
            Doubt::Vanished => Question::Vanished,
            Doubt::Stopped => Question::Stopped,
            Doubt::SignerSeen => Question::SignerSeen,
            Doubt::TtlEnded => Question::TtlEnded,
            Doubt::RecoveredButSilent => Question::RecoveredButSilent,
            Doubt::Untouchable(check) => Question::Untouchable(check.as_str().into()),
            Doubt::NeverBooted { attempts, console } => {
                Question::NeverBooted { attempts: *attempts, console: console.clone() }
            }
        };
        let kind = NoticeKind::DecisionNeeded {
            question,
            instance: standby.map(|standby| standby.instance.clone()),
            per_hour: self.per_hour(incident),
            evidence: self.evidence_with_progress(),
        };
        self.queue(&format!("doubt/{doubt:?}/{}", incident.steps), kind);
    }

    /// Each kind once for a machine: a sync that stumbles now and then is not worth a mail each time.
    pub(super) fn tell_stuck(&mut self, standby: &Standby, stuck: &Stuck) {
        let topic = Topic::Standby(stuck.kind());
        if self.record.told.contains(&topic) {
            return;
        }
        self.record.to_mut().told.insert(topic);
        let kind = NoticeKind::StandbyStuck {
            instance: standby.instance.clone(),
            why: stuck.to_string().into(),
            advice: stuck.kind().advice().into(),
            per_hour: self.record.phase.incident().and_then(|incident| self.per_hour(incident)),
            evidence: self.progress().into_iter().collect(),
        };
        self.queue(&format!("{topic:?}/{}", standby.instance.id), kind);
    }

    pub(super) fn tell_never_booted(&mut self, standby: &Standby, console: &Lines) {
        let waited = elapsed(standby.since, self.now);
        let (instance, console) = (standby.instance.clone(), console.clone());
        let about = format!("never-booted/{}", instance.id);
        self.queue(&about, NoticeKind::NeverBooted { instance, waited, console });
    }

    fn progress(&self) -> Vec<String> {
        let heard = self.live.report.as_ref();
        heard.map_or_else(Vec::new, |heard| Progress::of(heard, self.now).lines(self.now))
    }

    fn evidence_with_progress(&self) -> Lines {
        let heard = self.live.report.as_ref();
        let standby = heard.map(|heard| format!("the standby: {}", Progress::of(heard, self.now).line()).into());
        self.views().into_iter().chain(standby).collect()
    }

    pub(super) fn tell_recovered(&mut self, incident: &Incident, closed: &Closed, left: Lines) {
        let served = incident
            .machine_since
            .and_then(|since| Some((self.policy.ladder.get(incident.rung)?.rung.clone(), elapsed(since, self.now))));
        let given_up = incident.given_up.iter().map(|gone| {
            let ran = elapsed(gone.since, gone.gone_at.unwrap_or(self.now));
            (gone.rung.clone(), ran)
        });
        let mut machines: Vec<(Rung, Span)> = given_up.chain(served).collect();
        let last = machines.pop();
        let earlier = machines.iter().map(|(rung, ran)| format!("{rung}, ran {}", human(*ran))).collect();
        let standby = last.map(|(rung, ran)| Bill { rung, ran, earlier, cost: closed.cost, deleted: true });
        let kind = NoticeKind::Recovered {
            lasted: elapsed(incident.opened_at, self.now),
            how: closed.how.as_str().into(),
            standby,
            left,
        };
        self.queue("recovered", kind);
    }

    /// Takes in what became of a mail.
    pub(super) fn delivered(&mut self, notice: Uuid, delivery: &Delivery) {
        let now = self.now;
        let Some(index) = self.record.outbox.iter().position(|outgoing| outgoing.notice.id == notice) else { return };
        let outbox = &mut self.record.to_mut().outbox;
        match outbox[index].settle(delivery, now) {
            OutboxState::Delivered => {
                outbox.remove(index);
            }
            OutboxState::Waiting | OutboxState::Failed => {}
        }
    }

    fn tell_once(&mut self, topic: Topic, kind: NoticeKind) {
        if !self.record.told.contains(&topic) {
            self.record.to_mut().told.insert(topic);
            self.queue(&format!("{topic:?}"), kind);
        }
    }

    /// The notice's id is derived from what it is about, so that a decision repeated after a crash is the same mail.
    fn queue(&mut self, about: &str, kind: NoticeKind) {
        if self.policy.mail_to.is_empty() {
            return;
        }
        let incident = self.record.phase.incident().map(|incident| (incident.id, incident.opened_at));
        let anchor = incident.map_or_else(|| self.since(), |(_, opened_at)| opened_at);
        let id = IncidentId::notice(self.id, anchor, about);
        let notice =
            Notice { id, validator: self.id.clone(), incident: incident.map(|(id, _)| id), at: self.now, kind };
        let outgoing = Outgoing::new(notice, &self.policy.mail_to, self.now);
        let outbox = &mut self.record.to_mut().outbox;
        if outbox.len() >= OUTBOX {
            let Some(refused) = outbox.iter().position(|mail| mail.state() == OutboxState::Failed) else { return };
            outbox.remove(refused);
        }
        outbox.push(outgoing);
    }

    fn compose(&self, topic: Topic) -> Option<NoticeKind> {
        let evidence = self.evidence();
        Some(match topic {
            Topic::SuspectedTooLong => NoticeKind::SuspectedTooLong { since: self.since(), evidence },
            Topic::Confirmed => self.confirmed()?,
            Topic::Partial => {
                let (silent, of) = self.live.keys.as_ref().map_or((0, 0), |keys| (keys.silent, keys.active));
                let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
                NoticeKind::Partial { silent: number(silent), of: number(of), evidence }
            }
            Topic::Slashed => {
                let slashed = self.live.keys.as_ref()?.slashed.iter().map(ToString::to_string);
                NoticeKind::Slashed { keys: slashed.collect() }
            }
            Topic::Ready => self.ready()?,
            Topic::TooSlow => NoticeKind::Failure {
                failed: Failed::TooSlow,
                detail: "no machine yet; trying goes on".into(),
                retry_at: None,
            },
            Topic::ChainSick => NoticeKind::ChainSick {
                why: match self.world.chain.health {
                    ChainHealth::NotFinalising { epochs } => {
                        format!("the last finalised epoch is {epochs} behind").into()
                    }
                    ChainHealth::Finalising | ChainHealth::Unknown => Text::default(),
                },
            },
            Topic::FuseSoon => self.fuse_soon()?,
            Topic::Money
            | Topic::OutOfStock
            | Topic::Quota
            | Topic::Refused
            | Topic::Stuck
            | Topic::Flapping
            | Topic::Standby(_)
            | Topic::Hands => return None,
        })
    }

    fn confirmed(&self) -> Option<NoticeKind> {
        let incident = self.record.phase.incident()?;
        let plan = self.plan(incident.rung);
        if incident.site_outage {
            let down = self.world.unhealthy_names().map(ToString::to_string).collect();
            let of = u32::try_from(self.world.len()).unwrap_or(u32::MAX);
            return Some(NoticeKind::SiteOutage { down, of, plan });
        }
        let opened_by = incident.opened_by.as_ref().map(|who| Text::from(format!("{who}: {}", incident.cause)));
        let evidence = self.evidence();
        Some(NoticeKind::Confirmed { since: incident.suspected_at, evidence, plan, opened_by })
    }

    fn ready(&self) -> Option<NoticeKind> {
        let standby = self.record.phase.standby()?;
        let report = &self.live.report.as_ref()?.report;
        let health = match self.policy.other_chains.get(self.id) {
            Some(OtherChain::Probed) => vec!["its own probes say that it is well".to_owned()],
            None | Some(OtherChain::Read { .. }) => {
                vec![
                    format!("synced, {} peers", report.peers),
                    format!("its head is {} s old", report.head_age_seconds),
                ]
            }
        };
        let rest = [format!("its clock is off by {} ms", report.clock_offset_ms), "no signer is seen on it".to_owned()];
        let facts = health.into_iter().chain(rest);
        Some(NoticeKind::StandbyReady {
            instance: standby.instance.clone(),
            per_hour: self.record.phase.incident().and_then(|incident| self.per_hour(incident)),
            fuse_at: self.policy.fuse_at(standby.since),
            evidence: facts.collect(),
            simulated: self.policy.simulated,
        })
    }

    fn fuse_soon(&self) -> Option<NoticeKind> {
        let (incident, standby) = (self.record.phase.incident()?, self.record.phase.standby()?);
        let hours = elapsed(standby.since, self.now).as_secs_f64() / 3600.0;
        let rung = self.policy.ladder.get(incident.rung);
        Some(NoticeKind::Money(Money::FuseSoon {
            instance: standby.instance.clone(),
            fuse_at: self.policy.fuse_at(standby.since),
            so_far: rung.and_then(|rung| rung.per_hour).map(|usd| Usd(usd.0 * hours)),
            after_fuse_per_month: rung.and_then(|rung| rung.after_fuse_per_month),
        }))
    }

    fn plan(&self, rung: usize) -> Plan {
        let Some(PricedRung { rung: place, per_hour, until_fuse, after_fuse_per_month }) = self.policy.ladder.get(rung)
        else {
            return Plan::Nothing;
        };
        let offer = Offer {
            rung: place.clone(),
            alternatives: u32::try_from(self.policy.ladder.len() - rung - 1).unwrap_or(u32::MAX),
            per_hour: *per_hour,
            until_fuse: *until_fuse,
            fuse: self.policy.standby_ttl,
            after_fuse_per_month: *after_fuse_per_month,
            simulated: self.policy.simulated,
        };
        match self.policy.mode {
            Mode::Armed => Plan::Create(offer),
            Mode::Observe => Plan::WouldCreate(offer),
        }
    }

    fn per_hour(&self, incident: &Incident) -> Option<Usd> {
        incident.machine_since?;
        self.policy.ladder.get(incident.rung)?.per_hour
    }

    fn evidence(&self) -> Lines {
        self.views().into_iter().collect()
    }

    fn views(&self) -> Vec<Text> {
        let views = self.live.signals.views(self.now);
        let known = views.iter().filter(|view| view.verdict != Verdict::Unknown || !view.why.is_empty());
        known.map(|view| view.to_string().into()).collect()
    }

    /// When what people are told about began.
    fn since(&self) -> Time {
        match &self.record.phase {
            Phase::Suspected { since } => *since,
            Phase::Watching => self.now,
            Phase::Provisioning(incident, _)
            | Phase::Syncing(incident, _)
            | Phase::Ready(incident, _)
            | Phase::Releasing(incident, _)
            | Phase::NeedsHuman(incident, _, _) => incident.suspected_at,
        }
    }
}

/// How long before the fuse people are told: long enough for a night's sleep.
pub(super) const FUSE_WARNING: Span = Span::from_hours(12);
