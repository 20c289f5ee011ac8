//! What people are notified of, and when: what lasts once a day by its topic, what happens once as often as it happens;
//! queued in the same record as what it is about.
//!
//! The words are [`crate::domain::notice`]'s.

use uuid::Uuid;

use super::Transition;
use crate::domain::{
    Abandoned, About, Bill, Blocker, Closed, Delivery, DroppedNotice, Failed, Failure, InstanceRef, Lifetime, Lines,
    Mode, Notice, NoticeKind, Notified, Notifies, Offer, OtherChain, Outage, OutboxState, Outgoing, Over, Owner, Plan,
    PricedRung, Progress, Reason, Report, RunbookNotice, Rung, Span, Standby, StandbyNotice, Stuck, Text, Time,
    TimeExt, Topic, Usd, Verdict, elapsed, human, notice_id,
};

/// Up to this many notices are kept while the mail server does not take them.
const OUTBOX: usize = 64;
/// How long before the machine's own limit people are notified: long enough for a night's sleep.
pub(super) const FUSE_WARNING: Span = Span::from_hours(12);

impl Transition<'_> {
    /// Notifies people of what holds now, unless they were notified of it within
    /// [`crate::domain::Policy::remind_every`], or as its own table says; later it is a reminder. Called again at every event for as long as it
    /// holds. Returns whether it notified.
    pub(super) fn notify(&mut self, kind: NoticeKind) -> bool {
        let About { topic, lifetime, every, .. } = kind.about();
        let every = every.unwrap_or(self.policy.remind_every);
        let before = self.record.notified.iter().find(|notified| notified.topic == topic);
        let again_at = before.map(|before| before.last_at.plus(every));
        if let Some(again_at) = again_at.filter(|again_at| self.now < *again_at) {
            self.wake(again_at);
            return false;
        }
        let now = self.now;
        // What never reached anybody is news when it is said again.
        let first_at = before.map(|before| before.first_at).filter(|first_at| *first_at <= now);
        self.wake(now.plus(every));
        let notified = &mut self.record.to_mut().notified;
        notified.retain(|notified| notified.topic != topic);
        notified.push(Notified { topic, lifetime, first_at: first_at.unwrap_or(now), last_at: now });
        self.queue(first_at, kind);
        true
    }

    /// The same of what is about the house and not this validator: one of them says it for all.
    pub(super) fn notify_for_the_house(&mut self, kind: NoticeKind) -> bool {
        let topic = kind.topic();
        let after = self.now.minus(self.policy.remind_every);
        let said = |notified: &Notified| notified.topic == topic && notified.last_at > after;
        let another = |id| id != self.id;
        let by_another = self.world.iter().any(|(id, it)| another(id) && it.record.notified.iter().any(said));
        !by_another && self.notify(kind)
    }

    /// Forgets that people were notified of what ends with these: the next time it is news.
    pub(super) fn forget_notified(&mut self, ended: &[Lifetime]) {
        if self.record.notified.iter().any(|notified| ended.contains(&notified.lifetime)) {
            self.record.to_mut().notified.retain(|notified| !ended.contains(&notified.lifetime));
        }
    }

    /// The next notice of this topic is due at once, as a reminder.
    pub(super) fn expire(&mut self, topic: &Topic) {
        for notified in self.record.to_mut().notified.iter_mut().filter(|notified| notified.topic == *topic) {
            notified.last_at = Time::MIN;
        }
    }

    /// Notifies people why a confirmed outage opens no incident.
    pub(super) fn notify_of_blocker(&mut self, blocker: &Blocker) -> bool {
        match blocker.notifies() {
            Notifies::OfOutage => self.notify_of_outage(),
            Notifies::OfBlocker => self.notify(NoticeKind::Blocked(blocker.clone())),
            Notifies::Nobody => false,
        }
    }

    pub(super) fn notify_of_failure(&mut self, failed: Failed, said: &str, retry_at: Option<Time>) -> bool {
        self.notify(NoticeKind::Failure(Failure { failed, detail: said.into(), retry_at }))
    }

    pub(super) fn notify_of_stuck(&mut self, stuck: &Stuck) {
        let Some(instance) = self.record.standby().map(|standby| standby.instance.clone()) else { return };
        let progress =
            self.live.report().map_or_else(Vec::new, |history| Progress::of(history, self.now).lines(self.now));
        self.notify(NoticeKind::Standby(StandbyNotice::Stuck {
            instance,
            stuck: stuck.clone(),
            per_hour: self.per_hour(),
            progress: progress.into_iter().collect(),
        }));
    }

    pub(super) fn notify_of_boot(&mut self, standby: &Standby, console: &Lines) {
        let waited = elapsed(standby.since, self.now);
        let (instance, console) = (standby.instance.clone(), console.clone());
        self.queue(None, NoticeKind::Standby(StandbyNotice::NeverBooted { instance, waited, console }));
    }

    pub(super) fn notify_of_recovery(&mut self, closed: &Closed, standby: Option<Bill>, left: Lines) {
        let lasted = elapsed(closed.opened_at, self.now);
        let how = closed.how.as_str().into();
        self.queue(None, NoticeKind::Over(Over { lasted, how, standby, kept: false, left }));
    }

    /// The incident's machines, the last one first, and what all of them have cost as far as the price table knows;
    /// `None` if there was none.
    pub(super) fn bill(&self, deleted: bool) -> Option<Bill> {
        let incident = self.record.incident()?;
        let place = |index: usize| self.policy.ladder.get(index).map(|rung| rung.rung.clone());
        let served = incident.machine_since.and_then(|since| Some((place(incident.rung)?, elapsed(since, self.now))));
        let ran = |gone: &Abandoned| (gone.rung.clone(), elapsed(gone.since, gone.gone_at.unwrap_or(self.now)));
        let mut machines: Vec<(Rung, Span)> = incident.abandoned.iter().map(ran).chain(served).collect();
        let cost = machines.iter().map(|(rung, ran)| self.policy.cost(rung, *ran)).sum::<Option<f64>>().map(Usd);
        let (rung, ran) = machines.pop()?;
        let earlier = machines.iter().map(|(rung, ran)| format!("{rung}, ran {}", human(*ran))).collect();
        Some(Bill { rung, ran, earlier, cost, deleted })
    }

    /// Once there is a grant, the runbook is mailed, and again when it is not what was mailed last. Only the newest waits.
    pub(super) fn mail_runbook(&mut self) {
        let Some(runbook) = self.policy.runbooks.get(self.id) else { return };
        if self.record.owner == Owner::Unknown || self.record.runbook.as_ref() == Some(&runbook.digest) {
            return;
        }
        let record = self.record.to_mut();
        record.runbook = Some(runbook.digest.clone());
        record.outbox.retain(|mail| mail.notice.kind.topic() != RunbookNotice::TOPIC);
        self.queue(None, NoticeKind::Runbook(RunbookNotice { text: runbook.lines.clone().into() }));
    }

    /// Takes in what became of a mail.
    pub(super) fn delivered(&mut self, notice: Uuid, delivery: &Delivery) {
        let now = self.now;
        let Some(index) = self.record.outbox.iter().position(|outgoing| outgoing.notice.id == notice) else { return };
        let outgoing = &mut self.record.to_mut().outbox[index];
        let topic = outgoing.notice.kind.topic();
        let before = outgoing.obstacle().cloned();
        let given_up = outgoing.settle(delivery, now);
        if let Some(refusal) = outgoing.obstacle().filter(|refusal| before.as_ref() != Some(refusal)).cloned() {
            self.say(Reason::MailRefused { topic: topic.clone(), refusal });
        }
        for refusal in given_up {
            self.dropped(&topic, refusal.to_string().into());
        }
        match self.record.outbox[index].state() {
            OutboxState::Waiting => {}
            OutboxState::Delivered => {
                let notice = self.record.to_mut().outbox.remove(index).notice;
                // What is announced counts from when somebody can have read it.
                if notice.kind.about().lifetime == Lifetime::Orphan {
                    let is_first = |known: &&mut Notified| notice.first_at.is_none() || known.first_at > now;
                    let notified = self.record.to_mut().notified.iter_mut().filter(|known| known.topic == topic);
                    notified.filter(is_first).for_each(|known| known.first_at = now);
                }
            }
            OutboxState::Lost => {
                self.record.to_mut().outbox.remove(index);
                self.not_announced(&topic);
            }
        }
    }

    /// Follows a correction of `mail.to`, which a restart brings.
    pub(super) fn readdress(&mut self) {
        let (to, now) = (&self.policy.mail_to, self.now);
        if to.is_empty() || !self.record.outbox.iter().any(|outgoing| outgoing.is_misaddressed(to)) {
            return;
        }
        let outbox = &mut self.record.to_mut().outbox;
        outbox.iter_mut().filter(|outgoing| outgoing.is_misaddressed(to)).for_each(|mail| mail.readdress(to, now));
        outbox.retain(|outgoing| outgoing.state() == OutboxState::Waiting);
    }

    /// **Invariant:** a machine that no incident claims is not deleted on an announcement that nobody has.
    fn not_announced(&mut self, topic: &Topic) {
        let notified = &mut self.record.to_mut().notified;
        let is_it = |known: &&mut Notified| known.topic == *topic && known.lifetime == Lifetime::Orphan;
        notified.iter_mut().filter(is_it).for_each(|known| known.first_at = Time::MAX);
    }

    /// A copy of a notice goes nowhere any more. It is counted, and the journal keeps the reason.
    fn dropped(&mut self, topic: &Topic, why: Text) {
        let dropped = &mut self.record.to_mut().dropped;
        dropped.count = dropped.count.saturating_add(1);
        dropped.last = Some(DroppedNotice { at: self.now, topic: topic.clone(), why: why.clone() });
        self.say(Reason::NoticeDropped { topic: topic.clone(), why });
    }

    /// Queues a notice, and makes room for it if too much waits: what is said again by a later notice goes first, then the
    /// oldest that is not urgent, nor an announcement without which nothing happens.
    pub(super) fn queue(&mut self, first_at: Option<Time>, kind: NoticeKind) {
        if self.policy.mail_to.is_empty() {
            return;
        }
        let (validator, incident) = (self.id.clone(), self.record.incident().map(|incident| incident.id));
        let About { topic, evidence, .. } = kind.about();
        let id = notice_id(self.id, self.now, topic.as_str());
        let evidence = if evidence { self.evidence() } else { Lines::default() };
        let notice = Notice { id, validator, incident, at: self.now, first_at, kind, evidence };
        let outgoing = Outgoing::new(notice, &self.policy.mail_to, self.now);
        if self.record.outbox.len() >= OUTBOX {
            self.make_room(&topic);
        }
        self.record.to_mut().outbox.push(outgoing);
    }

    fn make_room(&mut self, topic: &Topic) {
        let outbox = &mut self.record.to_mut().outbox;
        let repeated = outbox.iter().position(|mail| mail.notice.kind.topic() == *topic);
        let matters = |about: About| about.urgent || about.lifetime == Lifetime::Orphan;
        let lesser = || outbox.iter().position(|mail| !matters(mail.notice.kind.about()));
        let index = repeated.or_else(lesser).unwrap_or(0);
        let gone = outbox.remove(index);
        let gone_topic = gone.notice.kind.topic();
        let said = gone.obstacle().map_or_else(|| "nothing yet".to_owned(), |refusal| refusal.why.to_string());
        self.dropped(&gone_topic, format!("{OUTBOX} notices wait; the server says: {said}").into());
        self.not_announced(&gone_topic);
    }

    /// An outage is confirmed: what is known, and what is done about it.
    pub(super) fn notify_of_outage(&mut self) -> bool {
        self.notify(NoticeKind::Outage(self.outage()))
    }

    fn outage(&self) -> Outage {
        let since = self.since();
        let Some(incident) = self.record.incident() else {
            return Outage::Confirmed { since, plan: self.plan(0), opened_by: None };
        };
        let plan = match self.record.standby() {
            Some(standby) => Plan::Standing(standby.instance.clone()),
            None => self.plan(incident.rung),
        };
        if incident.site_outage {
            let down = self.world.unhealthy_names().map(ToString::to_string).collect();
            let of = u32::try_from(self.world.len()).unwrap_or(u32::MAX);
            return Outage::SiteOutage { down, of, plan };
        }
        let opened_by = incident.opened_by.as_ref().map(|who| Text::from(format!("{who}: {}", incident.cause)));
        Outage::Confirmed { since, plan, opened_by }
    }

    pub(super) fn notify_of_ready(&mut self, instance: InstanceRef, report: &Report, since: Time) {
        let mut facts = match self.policy.other_chains.get(self.id) {
            Some(OtherChain::Probed) => vec!["its own probes say that it is well".to_owned()],
            None | Some(OtherChain::Read { .. }) => {
                let (peers, age) = (report.peers, report.head_age_seconds);
                vec![format!("synced, {peers} peers"), format!("its head is {age} s old")]
            }
        };
        facts.push(format!("its clock is off by {} ms", report.clock_offset_ms));
        facts.push("no signer is seen on it".to_owned());
        self.notify(NoticeKind::Standby(StandbyNotice::Ready {
            instance,
            per_hour: self.per_hour(),
            expires_at: self.policy.expires_at(since),
            report: facts.into_iter().collect(),
            simulated: self.policy.simulated,
        }));
    }

    pub(super) fn notify_of_end(&mut self, instance: InstanceRef, since: Time) {
        let hours = elapsed(since, self.now).as_secs_f64() / 3600.0;
        let rung = self.record.incident().and_then(|incident| self.policy.ladder.get(incident.rung));
        self.notify(NoticeKind::Standby(StandbyNotice::ExpiresSoon {
            instance,
            expires_at: self.policy.expires_at(since),
            so_far: rung.and_then(|rung| rung.per_hour).map(|usd| Usd(usd.0 * hours)),
            stopped_per_month: rung.and_then(|rung| rung.stopped_per_month),
        }));
    }

    fn plan(&self, rung: usize) -> Plan {
        let Some(PricedRung { rung: place, per_hour, at_most, stopped_per_month }) = self.policy.ladder.get(rung)
        else {
            return Plan::Nothing;
        };
        let offer = Offer {
            rung: place.clone(),
            alternatives: u32::try_from(self.policy.ladder.len() - rung - 1).unwrap_or(u32::MAX),
            per_hour: *per_hour,
            at_most: *at_most,
            max_run_duration: self.policy.standby_ttl,
            stopped_per_month: *stopped_per_month,
            simulated: self.policy.simulated,
        };
        match self.policy.mode {
            Mode::Armed => Plan::Create(offer),
            Mode::Observe => Plan::WouldCreate(offer),
        }
    }

    /// What the incident's machine costs while it runs.
    pub(super) fn per_hour(&self) -> Option<Usd> {
        let incident = self.record.incident()?;
        incident.machine_since?;
        self.policy.ladder.get(incident.rung)?.per_hour
    }

    /// What each source says, and the standby of itself.
    fn evidence(&self) -> Lines {
        let views = self.live.signals.views(self.now);
        let known = views.iter().filter(|view| view.verdict != Verdict::Unknown || !view.why.is_empty());
        let progress = self.live.report().map(|history| Progress::of(history, self.now).line());
        let standby = progress.map(|line| format!("the standby: {line}"));
        known.map(ToString::to_string).chain(standby).collect()
    }

    /// When what people are notified of began.
    fn since(&self) -> Time {
        let suspected = self.record.watch.since();
        suspected.or(self.record.incident().map(|incident| incident.suspected_at)).unwrap_or(self.now)
    }
}

#[cfg(test)]
mod tests;
