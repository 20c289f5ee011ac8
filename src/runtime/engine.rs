//! The loop: one task owns the world; everybody else only sends events.
//!
//! For each batch of events: step, commit in memory, persist, act. Nothing that a decision asks for is started before
//! its record is in the ledger; while the ledger does not answer, the loop waits, and when the lease runs out it drops
//! everything it knew.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    executor::Executor,
    handle::{Handle, Input, STEPS, Step},
    lease::{self, Keeper, Lease, LeaseConfig, LeaseError},
    requests,
    status::{self, Status},
    store::{Store, StoreError},
    sweep,
    timers::Timers,
};
use crate::{
    domain::{
        Action, ActionId, Context, Decision, Event, Policy, Reason, Span, Time, ValidatorId, World, render, step,
    },
    ports::{Clock, Cloud, Ledger, Notifier},
};

/// How many events are taken at once at the most; one batch is persisted together.
const BATCH: usize = 256;

/// Everything the loop needs to know of its surroundings.
#[derive(Clone)]
pub struct EngineConfig {
    /// Which home.
    pub site: String,
    /// The validators it watches.
    pub validators: Vec<ValidatorId>,
    /// The thresholds.
    pub policy: Policy,
    /// The lease.
    pub lease: LeaseConfig,
    /// How often requests are looked for.
    pub requests_every: Duration,
    /// How long one call to the cloud that changes something may take.
    pub call_timeout: Duration,
    /// A difference between the wall clock and time passed larger than this is a jump.
    pub clock_jump: Duration,
    /// How the operator calls this program; stands in mails.
    pub cli: String,
}

/// The outside as the loop sees it.
#[derive(Clone)]
pub struct Outside {
    /// State.
    pub ledger: Arc<dyn Ledger>,
    /// Machines; without it nothing is created.
    pub cloud: Option<Arc<dyn Cloud>>,
    /// Mail; without it nobody is told.
    pub notifier: Option<Arc<dyn Notifier>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The loop, not yet running.
pub struct Engine {
    config: EngineConfig,
    outside: Outside,
    inputs: mpsc::Receiver<Input>,
    sender: mpsc::Sender<Input>,
    leads: tokio::sync::watch::Sender<bool>,
    steps: broadcast::Sender<Step>,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The lease could not be asked for.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}

impl Engine {
    /// A loop and the way to it.
    #[must_use]
    pub fn new(config: EngineConfig, outside: Outside) -> (Self, Handle) {
        let (sender, inputs) = mpsc::channel(4 * BATCH);
        let (leads, leading) = tokio::sync::watch::channel(false);
        let steps = broadcast::Sender::new(STEPS);
        let handle = Handle { inputs: sender.clone(), leads: leading, steps: steps.clone() };
        (Self { config, outside, inputs, sender, leads, steps }, handle)
    }

    /// Leads whenever the lease can be had, until told to stop. Stopping lets what runs end, then gives the lease back.
    ///
    /// # Errors
    /// [`EngineError`] when the ledger cannot be used at all.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), EngineError> {
        loop {
            let taken = lease::acquire(&self.outside.ledger, &self.config.lease, &shutdown).await;
            let (lease, keeper) = match taken {
                Ok(taken) => taken,
                Err(LeaseError::Shutdown) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            tracing::info!(token = lease.token(), "this watcher holds the lease");
            self.lead(lease, keeper, &shutdown).await;
            let _ = self.leads.send(false);
            // What was sent while leading is about a world that is gone.
            while self.inputs.try_recv().is_ok() {}
            if shutdown.is_cancelled() {
                return Ok(());
            }
            tracing::warn!("this watcher no longer holds the lease");
        }
    }

    async fn lead(&mut self, lease: Lease, keeper: Keeper, shutdown: &CancellationToken) {
        let mut store = Store::new(self.outside.ledger.clone(), lease.clone());
        let mut unreadable = Vec::new();
        let mut records = Vec::new();
        for id in &self.config.validators {
            match store.take_over(id).await {
                Ok(record) => records.push((id.clone(), record)),
                // One record that cannot be read must not keep the others from being watched; it is left as it is.
                Err(StoreError::Record(error)) => {
                    tracing::error!(validator = %id, %error, "nothing is done for this validator");
                    unreadable.push(error.to_string());
                }
                Err(error) => {
                    tracing::warn!(%error, "the records could not be taken over");
                    keeper.release().await;
                    // Whoever is next may have more luck; trying again at once would only load the ledger.
                    tokio::time::sleep(self.config.lease.ttl / 3).await;
                    return;
                }
            }
        }
        let stop = CancellationToken::new();
        let watch =
            requests::watch(self.outside.ledger.clone(), self.config.requests_every, self.sender.clone(), stop.clone());
        let requests = tokio::spawn(watch);
        let sweeper = self.sweeper(&lease, &stop);
        let mut term = Term::new(self, lease, store, World::new(records), unreadable);
        let _ = self.leads.send(true);
        let ended = term.run(&mut self.inputs, shutdown).await;
        stop.cancel();
        if let Err(error) = &ended {
            tracing::error!(%error, "stepping down");
        }
        let idle = term.finish().await;
        requests.abort();
        if let Some(sweeper) = sweeper {
            // A deletion under way ends by its own time-out, and within what the lease has left.
            sweeper.abort();
        }
        if ended.is_ok() && idle { keeper.release().await } else { keeper.abandon() }
    }
}

impl Engine {
    fn sweeper(&self, lease: &Lease, stop: &CancellationToken) -> Option<tokio::task::JoinHandle<()>> {
        if self.config.policy.mode != crate::domain::Mode::Armed {
            return None;
        }
        let executor = executor(&self.config, &self.outside, lease)?;
        let every = self.config.policy.recheck_every.try_into().unwrap_or(Duration::MAX);
        let handle = Handle { inputs: self.sender.clone(), leads: self.leads.subscribe(), steps: self.steps.clone() };
        Some(tokio::spawn(sweep::watch(executor, handle, every, stop.clone())))
    }
}

/// What carries out actions under this lease; `None` without a cloud.
fn executor(config: &EngineConfig, outside: &Outside, lease: &Lease) -> Option<Executor> {
    Some(Executor {
        cloud: outside.cloud.clone()?,
        ledger: outside.ledger.clone(),
        lease: lease.clone(),
        call_timeout: config.call_timeout,
        action_timeout: config.policy.action_timeout.try_into().unwrap_or(Duration::MAX),
    })
}

/// One time of leading: from taking the records over to the loss of the lease.
struct Term {
    config: EngineConfig,
    outside: Outside,
    sender: mpsc::Sender<Input>,
    steps: broadcast::Sender<Step>,
    lease: Lease,
    store: Store,
    world: World,
    unreadable: Vec<String>,
    timers: Timers,
    running: JoinSet<()>,
    sending: HashSet<Uuid>,
    now: Time,
    anchor: (Time, Instant),
}

impl Term {
    fn new(engine: &Engine, lease: Lease, store: Store, world: World, unreadable: Vec<String>) -> Self {
        let now = engine.outside.clock.now();
        Self {
            config: engine.config.clone(),
            outside: engine.outside.clone(),
            sender: engine.sender.clone(),
            steps: engine.steps.clone(),
            lease,
            store,
            world,
            unreadable,
            timers: Timers::default(),
            running: JoinSet::new(),
            sending: HashSet::new(),
            now,
            anchor: (now, Instant::now()),
        }
    }

    async fn run(
        &mut self,
        inputs: &mut mpsc::Receiver<Input>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        // Whatever was under way is taken up again at once.
        let all: Vec<Event> = self.world.iter().map(|(id, _)| Event::Due(id.clone())).collect();
        self.handle(all.into_iter().map(Input::Event).collect()).await?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.timers.next();
            let sleep = async {
                match wake {
                    Some(at) => self.outside.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = self.lease.lost() => return Err(StoreError::OutOfTime { key: lease::KEY.into() }),
                _ = inputs.recv_many(&mut batch, BATCH) => {}
                () = sleep => {}
                Some(_) = self.running.join_next() => continue,
            }
            self.handle(std::mem::take(&mut batch)).await?;
        }
    }

    /// One turn: the clock first, then the events, then whoever is due.
    async fn handle(&mut self, inputs: Vec<Input>) -> Result<(), StoreError> {
        let mut turn = Turn::default();
        self.tick(&mut turn);
        for input in inputs {
            match input {
                Input::Event(event) => self.step(&event, &mut turn),
                Input::Acknowledged(event, answer) => {
                    let known = event.validator().is_none_or(|id| self.world.get(id).is_some());
                    self.step(&event, &mut turn);
                    if known {
                        turn.answers.push(answer);
                    }
                }
                Input::Show(answer) => turn.shows.push(answer),
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
        let wall = self.outside.clock.now();
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
                self.step(&Event::ClockJumped(id), turn);
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
        if let Event::Told(_, notice, _) = event {
            self.sending.remove(notice);
        }
        let changed = decision.record.is_some();
        self.world.commit(id, &mut decision);
        let Some(id) = id else { return };
        if changed {
            turn.dirty.insert(id.clone());
        }
        self.schedule(id, &decision, turn);
        let incident = self.world.get(id).and_then(|subject| subject.record.phase.incident()).map(|open| open.id);
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
            self.store.put_all(records).await?;
        }
        for step in turn.steps {
            // Nobody may be listening, and nobody has to.
            let _ = self.steps.send(step);
        }
        for answer in turn.answers {
            let _ = answer.send(());
        }
        for (id, action_id, action) in turn.actions {
            self.start(id, action_id, action);
        }
        for id in &turn.mails {
            self.send_mail(id);
        }
        if !turn.shows.is_empty() {
            let mut status = status::of_world(&self.world, &self.config.site, &self.config.policy, self.now);
            status.unreadable.clone_from(&self.unreadable);
            for show in turn.shows {
                let _ = show.send(status.clone());
            }
        }
        Ok(())
    }

    fn start(&mut self, validator: ValidatorId, id: ActionId, action: Action) {
        let Some(executor) = executor(&self.config, &self.outside, &self.lease) else {
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
        let (Some(notifier), Some(subject)) = (self.outside.notifier.clone(), self.world.get(id)) else { return };
        for outgoing in &subject.record.outbox {
            let notice = &outgoing.notice;
            if !outgoing.is_due(self.now) || !self.sending.insert(notice.id) {
                continue;
            }
            let message = render(notice, &Context { site: &self.config.site, cli: &self.config.cli });
            let (notifier, sender) = (notifier.clone(), self.sender.clone());
            let (id, notice_id, to) = (id.clone(), notice.id, outgoing.waiting_for.clone());
            self.running.spawn(async move {
                let delivery = notifier.send(&message, notice_id, &to).await;
                let _ = sender.send(Input::Event(Event::Told(id, notice_id, delivery))).await;
            });
        }
    }

    /// Lets what runs end, for a while. Whether everything has.
    async fn finish(mut self) -> bool {
        let patience = self.config.call_timeout;
        let all = async { while self.running.join_next().await.is_some() {} };
        tokio::time::timeout(patience, all).await.is_ok()
    }
}

/// What one turn has to persist and then to do.
#[derive(Default)]
struct Turn {
    dirty: HashSet<ValidatorId>,
    actions: Vec<(ValidatorId, ActionId, Action)>,
    mails: HashSet<ValidatorId>,
    answers: Vec<oneshot::Sender<()>>,
    shows: Vec<oneshot::Sender<Status>>,
    steps: Vec<Step>,
}

fn say(id: &ValidatorId, reason: &Reason) {
    match reason {
        Reason::Late { .. } => tracing::debug!(validator = %id, "{reason}"),
        _ => tracing::info!(validator = %id, "{reason}"),
    }
}
