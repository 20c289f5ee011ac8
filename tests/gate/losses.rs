//! The real program while its ledger is refused, hangs, or answers with old data: for a while, and for longer than its time.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use failover::{domain::gate::WaitKind, sandbox::object_store::Answers};

use crate::house::{Case, GRACE, Habits, House, Pod, RENEWS, TTL, USUAL, case, pause};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// Connections are refused.
    Down,
    Forbidden,
    Unavailable,
    /// It takes requests and does not answer.
    Hangs,
    /// Reads show the session as it was before the gate took it: free.
    OldFree,
    /// Reads show it as it is when this begins.
    OldOwn,
}

use Loss::{Down, Forbidden, Hangs, OldFree, OldOwn, Unavailable};

const LOSSES: [Loss; 6] = [Down, Forbidden, Unavailable, Hangs, OldFree, OldOwn];
const IGNORES: Habits = Habits { ignores: true, ..USUAL };
const RUN: Habits = Habits { on_loss: "run", ..USUAL };

/// A home of two pods, one of which runs and has renewed once.
struct Stage {
    house: House,
    free: Answers,
    one: Pod,
    other: Pod,
}

impl Stage {
    async fn new(habits: Habits) -> Self {
        let house = House::new().await;
        let free = Answers::Old(house.store.past());
        let one = house.pod("one", habits, &[]).await;
        one.runs("the first pod").await;
        let other = house.pod("other", habits, &[]).await;
        other.waits("the second pod", WaitKind::Session, "another process at home").await;
        house.renews("it renews").await;
        house.clients(1, "a command runs").await;
        Self { house, free, one, other }
    }

    async fn begins(&self, loss: Loss) {
        match loss {
            Down => self.house.store.down().await,
            Forbidden => self.house.store.answers(Answers::Status(StatusCode::FORBIDDEN)),
            Unavailable => self.house.store.answers(Answers::Status(StatusCode::SERVICE_UNAVAILABLE)),
            Hangs => self.house.store.answers(Answers::Never),
            OldFree => self.house.store.answers(self.free.clone()),
            OldOwn => self.house.store.answers(Answers::Old(self.house.store.past())),
        }
    }

    async fn is_over(&self) {
        self.house.store.answers(Answers::AsUsual);
        self.house.store.up().await.unwrap();
    }

    /// At most one command ever ran, and the session is given back by who has it.
    async fn ends(self) {
        self.other.ends().await;
        self.one.ends().await;
        self.house.clients(0, "nothing is left").await;
        assert_eq!(self.house.session().holder, None);
        self.house.never_two();
    }
}

/// Shorter than what is left of its time.
async fn for_a_while(loss: Loss, habits: Habits) {
    let stage = Stage::new(habits).await;
    stage.begins(loss).await;
    pause(RENEWS + Duration::from_millis(500)).await;
    stage.is_over().await;
    stage.house.renews(&format!("{loss:?}: it renews again")).await;
    assert_eq!(stage.house.seen().all.len(), 1, "{loss:?}: the command ran on, and no other one");
    stage.ends().await;
}

/// Until its command has ended, and on.
async fn for_good(loss: Loss, habits: Habits) {
    let stage = Stage::new(habits).await;
    stage.begins(loss).await;
    let ended = stage.house.clients(0, &format!("{loss:?}: its time is over")).await;
    let (renewed, _) = stage.house.renewed();
    let ran = ended.duration_since(renewed);
    let expected = if habits.ignores { TTL } else { TTL - GRACE };
    println!("{loss:?}: {:.2} s after the last renewal, expected {} s", ran.as_secs_f64(), expected.as_secs());
    // It counts from before the request, which a busy machine brings to the bucket later.
    let (early, late) = (Duration::from_millis(1000), Duration::from_millis(1500));
    assert!(ran + early >= expected && ran <= expected + late, "{loss:?}: {ran:?}, {expected:?}");
    pause(RENEWS).await;
    assert_eq!(stage.house.seen().all.len(), 1, "{loss:?}: nothing starts by a ledger that is away");
    let back = Instant::now();
    stage.is_over().await;
    let started = stage.house.clients(1, &format!("{loss:?}: it starts again by itself")).await;
    println!("{loss:?}: starts {:.2} s after the ledger is back", started.duration_since(back).as_secs_f64());
    stage.house.renews(&format!("{loss:?}: it renews again")).await;
    assert_eq!(stage.house.seen().all.len(), 2, "{loss:?}");
    stage.ends().await;
}

/// Longer than `gate_ttl`, for one that says it continues.
async fn with_run(loss: Loss) {
    let stage = Stage::new(RUN).await;
    stage.begins(loss).await;
    pause(TTL + Duration::from_secs(1)).await;
    stage.house.clients(1, "it runs on").await;
    stage.is_over().await;
    stage.house.renews(&format!("{loss:?}: it renews again")).await;
    assert_eq!(stage.house.seen().all.len(), 1, "{loss:?}: the command ran on, and no other one");
    stage.ends().await;
}

pub fn cases() -> Vec<Case> {
    let short = LOSSES.map(|loss| case(format!("{loss:?} for a while"), for_a_while(loss, USUAL)));
    let long = LOSSES.map(|loss| case(format!("{loss:?} for good"), for_good(loss, USUAL)));
    let ignoring =
        [Down, Hangs].map(|loss| case(format!("{loss:?} with one that ignores SIGTERM"), for_good(loss, IGNORES)));
    let run = [Down, Hangs, OldFree].map(|loss| case(format!("{loss:?} with run"), with_run(loss)));
    short.into_iter().chain(long).chain(ignoring).chain(run).collect()
}
