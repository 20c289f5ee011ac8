//! Leadership: the time from taking the records over to the loss of the lease, with the world in memory and what is
//! done for each batch of events.
//!
//! Step, commit in memory, persist, act, in this order. It knows nothing of how the lease was obtained.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Deps, Engine, EngineConfig, Input, LedgerTroubles, Step,
    engine::{BATCH, executor},
    journal,
    last_observations::LastObservations,
    lease::Lease,
    status::{self, Status},
    store::{Store, StoreError},
    timers::Timers,
};
use crate::domain::{Action, ActionId, Context, Decision, Event, Reason, Span, Time, ValidatorId, World, render, step};

/// What a clean stop spends on what need not end; a successor is to lead within a second.
const A_MOMENT: Duration = Duration::from_millis(300);

pub(super) struct Leadership {
    config: EngineConfig,
    deps: Deps,
    sender: mpsc::Sender<Input>,
    steps: broadcast::Sender<Step>,
    lease: Lease,
    store: Store,
    world: World,
    observations: LastObservations,
    troubles: LedgerTroubles,
    timers: Timers,
    running: JoinSet<()>,
    sending: HashSet<Uuid>,
    now: Time,
    anchor: (Time, Instant),
    /// Home is back, and waits for the lease.
    hands_over: bool,
}

impl Leadership {
    pub(super) fn new(
        engine: &Engine,
        lease: Lease,
        store: Store,
        world: World,
        observations: LastObservations,
    ) -> Self {
        let now = engine.deps.clock.now();
        Self {
            config: engine.config.clone(),
            deps: engine.deps.clone(),
            sender: engine.sender.clone(),
            steps: engine.steps.clone(),
            lease,
            store,
            world,
            observations,
            troubles: engine.troubles.clone(),
            timers: Timers::default(),
            running: JoinSet::new(),
            sending: HashSet::new(),
            now,
            anchor: (now, Instant::now()),
            hands_over: false,
        }
    }

    pub(super) async fn run(
        &mut self,
        inputs: &mut mpsc::Receiver<Input>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        // What was observed while waiting is known from the start, and whatever was under way is taken up again at
        // once.
        let all: Vec<Event> = self.world.iter().map(|(id, _)| Event::Due(id.clone())).collect();
        let again = self.observations.again();
        self.handle(again.into_iter().chain(all).map(Input::Event).collect()).await?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.timers.next();
            let sleep = async {
                match wake {
                    Some(at) => self.deps.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.lease.lost() => return Err(StoreError::OutOfTime { key: self.lease.key().clone() }),
                _ = inputs.recv_many(&mut batch, BATCH) => {}
                () = sleep => {}
                Some(_) = self.running.join_next() => continue,
            }
            self.handle(std::mem::take(&mut batch)).await?;
            if self.hands_over {
                tracing::info!("home's watcher is back: the lease is given back to it");
                return Ok(());
            }
        }
    }

    /// One turn: the clock first, then the events, then the validators that are due.
    async fn handle(&mut self, inputs: Vec<Input>) -> Result<(), StoreError> {
        let mut turn = Turn::default();
        self.tick(&mut turn);
        for input in inputs {
            match input {
                Input::Event(event) => {
                    // A request is carried out or refused here; it is not kept for another leadership.
                    if !matches!(event, Event::Requested(..)) {
                        self.observations.apply(&event, self.now);
                    }
                    self.step(&event, &mut turn);
                }
                Input::Acknowledged(event, answer) => {
                    let known = event.validator().is_none_or(|id| self.world.get(id).is_some());
                    self.step(&event, &mut turn);
                    if known {
                        turn.answers.push(answer);
                    }
                }
                Input::Show(answer) => turn.shows.push(answer),
                Input::HandOver => self.hands_over = true,
            }
        }
        for id in self.timers.due(self.now) {
            self.step(&Event::Due(id), &mut turn);
        }
        self.persist_then_act(turn).await
    }

    /// Time goes forwards only. A wall clock that does not agree with the time that has passed has jumped (or the
    /// machine has slept), and then nobody knows how long anything has lasted.
    fn tick(&mut self, turn: &mut Turn) {
        let wall = self.deps.clock.now();
        let (wall_before, instant_before) = self.anchor;
        let passed = Span::try_from(instant_before.elapsed()).unwrap_or(Span::ZERO);
        let difference = wall.duration_since(wall_before) - passed;
        self.anchor = (wall, Instant::now());
        let limit = Span::try_from(self.config.clock_jump).unwrap_or(Span::MAX);
        if difference.abs() > limit {
            tracing::warn!(jump = %format!("{difference:#}"), "the wall clock jumped: every hold starts again");
            self.now = wall;
            let all: Vec<ValidatorId> = self.world.iter().map(|(id, _)| id.clone()).collect();
            for id in all {
                self.step(&Event::ClockJumped(id, difference), turn);
            }
        }
        self.now = self.now.max(wall);
    }

    fn step(&mut self, event: &Event, turn: &mut Turn) {
        let mut decision = match step(&self.world, event, self.now, &self.config.policy) {
            Ok(decision) => decision,
            Err(rejected) => return tracing::warn!(%rejected, "event rejected"),
        };
        let id = event.validator();
        let before = id.and_then(|id| self.world.get(id)).map(|subject| subject.record.phase());
        if let Event::MailSettled(_, notice, _) = event {
            self.sending.remove(notice);
        }
        let changed = decision.record.is_some();
        self.world.commit(id, &mut decision);
        let Some(id) = id else { return };
        if changed {
            turn.dirty.insert(id.clone());
        }
        self.schedule(id, &decision, turn);
        if let (Some(before), Some(subject)) = (before, self.world.get(id)) {
            let author = journal::Author { site: self.config.lease.about.name(), token: self.lease.token() };
            let after = subject.record.phase();
            turn.journal.extend(journal::entry(&author, self.now, event, before, after, &decision));
        }
        let incident = self.world.get(id).and_then(|subject| subject.record.incident()).map(|open| open.id);
        for reason in decision.reasons {
            say(id, &reason);
            turn.steps.push(Step { validator: id.clone(), incident, reason, at: self.now });
        }
        turn.actions.extend(decision.actions.into_iter().map(|(action_id, action)| (id.clone(), action_id, action)));
    }

    /// The next wake-up: the decision's, or that of the next try to send mail.
    fn schedule(&mut self, id: &ValidatorId, decision: &Decision, turn: &mut Turn) {
        let Some(subject) = self.world.get(id) else { return };
        let mut wake_at = decision.wake_at;
        for outgoing in &subject.record.outbox {
            if self.sending.contains(&outgoing.notice.id) || outgoing.waiting_for.is_empty() {
                continue;
            }
            if outgoing.is_due(self.now) {
                turn.mails.insert(id.clone());
            } else {
                wake_at = Some(wake_at.map_or(outgoing.next_try_at, |at| at.min(outgoing.next_try_at)));
            }
        }
        self.timers.set(id, wake_at);
    }

    async fn persist_then_act(&mut self, turn: Turn) -> Result<(), StoreError> {
        if !turn.dirty.is_empty() {
            let record = |id: &ValidatorId| self.world.get(id).map(|subject| (id.clone(), subject.record.clone()));
            let records = turn.dirty.iter().filter_map(record).collect();
            self.store.put_all(records, self.now).await?;
        }
        for step in turn.steps {
            // Nobody may be listening, and nobody has to.
            let _ = self.steps.send(step);
        }
        for answer in turn.answers {
            let _ = answer.send(());
        }
        for entry in turn.journal {
            self.running.spawn(journal::write(self.deps.ledger.clone(), journal::key(&entry), entry));
        }
        for (id, action_id, action) in turn.actions {
            self.start(id, action_id, action);
        }
        for id in &turn.mails {
            self.send_mail(id);
        }
        if !turn.shows.is_empty() {
            let mut status = status::of_world(&self.world, &self.config.site, &self.config.policy, self.now);
            (status.unreadable, status.warnings) = (self.troubles.unreadable(), self.troubles.of_the_whole());
            for show in turn.shows {
                let _ = show.send(status.clone());
            }
        }
        Ok(())
    }

    fn start(&mut self, validator: ValidatorId, id: ActionId, action: Action) {
        let Some(executor) = executor(&self.config, &self.deps, &self.lease, self.store.identity()) else {
            tracing::error!(%validator, action = %id, "there is no cloud to act in");
            return;
        };
        let sender = self.sender.clone();
        self.running.spawn(async move {
            let outcome = executor.carry_out(&validator, id, &action).await;
            tracing::debug!(%validator, action = %id, ?outcome, "action ended");
            let _ = sender.send(Input::Event(Event::Finished(validator, id, outcome))).await;
        });
    }

    /// A mail goes out only after the record that holds it is in the ledger, so none is lost; its id is derived from
    /// what it is about, so one that is sent twice after a crash can be known as one.
    fn send_mail(&mut self, id: &ValidatorId) {
        let (Some(notifier), Some(subject)) = (self.deps.notifier.clone(), self.world.get(id)) else { return };
        for outgoing in &subject.record.outbox {
            let notice = &outgoing.notice;
            if !outgoing.is_due(self.now) || !self.sending.insert(notice.id) {
                continue;
            }
            let message = render(notice, &Context { site: &self.config.site, cli: &self.config.cli });
            let (notifier, sender) = (notifier.clone(), self.sender.clone());
            let (id, notice_id, to) = (id.clone(), notice.id, outgoing.due(self.now));
            self.running.spawn(async move {
                let delivery = notifier.send(&message, notice_id, &to).await;
                let _ = sender.send(Input::Event(Event::MailSettled(id, notice_id, delivery))).await;
            });
        }
    }

    /// Lets what runs end: at least for as long as a change may be under way, and a moment for mail and journal.
    pub(super) async fn finish(mut self, changes_end_in: Duration) -> LastObservations {
        let all = async { while self.running.join_next().await.is_some() {} };
        // A mail that is cut off is sent again by the successor under the same id.
        let _ = tokio::time::timeout(changes_end_in.max(A_MOMENT), all).await;
        self.observations
    }
}

/// What one turn has to persist and then to do.
#[derive(Default)]
struct Turn {
    dirty: HashSet<ValidatorId>,
    actions: Vec<(ValidatorId, ActionId, Action)>,
    journal: Vec<journal::Entry>,
    mails: HashSet<ValidatorId>,
    answers: Vec<oneshot::Sender<()>>,
    shows: Vec<oneshot::Sender<Status>>,
    steps: Vec<Step>,
}

fn say(id: &ValidatorId, reason: &Reason) {
    match reason {
        Reason::Late { .. } => tracing::debug!(validator = %id, "{reason}"),
        Reason::KeepsFailing { .. } | Reason::MailRefused { .. } | Reason::NoticeDropped { .. } => {
            tracing::warn!(validator = %id, "{reason}");
        }
        _ => tracing::info!(validator = %id, "{reason}"),
    }
}
