//! The real program while its session is deleted, put back or raised, or an old grant is replayed.

use std::time::{Duration, Instant};

use failover::{
    domain::{gate::WaitKind, ownership::Session},
    sandbox::object_store::Asked,
};
use uuid::Uuid;

use crate::house::{
    Case, FIRST, GRACE, Habits, House, OWNER, Pod, RENEWS, SESSION, TTL, USUAL, at_home, case, grant, pause, signed,
    until,
};

async fn running() -> (House, Pod) {
    let house = House::new().await;
    let pod = house.pod("one", USUAL, &[]).await;
    pod.runs("at first").await;
    house.renews("it renews").await;
    house.clients(1, "a command runs").await;
    (house, pod)
}

fn writes(asked: &[Asked]) -> usize {
    asked.iter().filter(|asked| asked.what.starts_with("POST")).count()
}

/// Once by a backup that is put back in time, then for good.
async fn deleted_while_it_runs() {
    let (house, pod) = running().await;
    let newest = house.store.get(SESSION).unwrap();
    house.store.forget(SESSION);
    pause(RENEWS + Duration::from_millis(500)).await;
    house.store.set(SESSION, newest);
    house.renews("the session is there again").await;
    assert_eq!(house.seen().all.len(), 1, "the same command ran on");

    house.store.forget(SESSION);
    let ended = house.clients(0, "a session that is missing is no answer, so its time runs").await;
    let ran = ended.duration_since(house.renewed().0);
    println!("deleted: ended {:.2} s after the last renewal", ran.as_secs_f64());
    assert!(ran + Duration::from_secs(1) >= TTL - GRACE && ran < TTL, "{ran:?}");
    pod.waits("deleted", WaitKind::Ledger, "the ledger is damaged").await;
    pause(RENEWS).await;
    assert_eq!((house.seen().all.len(), house.store.get(SESSION)), (1, None), "it makes none");
    pod.ends().await;
    assert_eq!(house.store.get(SESSION), None);
    house.never_two();
}

async fn deleted_before_the_start() {
    let house = House::new().await;
    let session = house.session();
    house.store.forget(SESSION);
    let pod = house.pod("one", USUAL, &[]).await;
    pod.waits("deleted", WaitKind::Ledger, "there is a grant and no session").await;
    pause(RENEWS).await;
    assert_eq!((house.seen().all.len(), writes(&house.store.asked())), (0, 0), "it makes none");
    house.set_session(&session);
    pod.runs("the session is there again").await;
    pod.ends().await;
    house.never_two();
}

/// Copies of session and grant from before a promotion that was ended, in every order of their age.
async fn put_back_while_it_runs() {
    let (house, pod) = running().await;
    // Its own session, as it was some renewals ago: nobody else can have had it since.
    let (own, first) = (house.store.get(SESSION).unwrap(), house.store.get(OWNER).unwrap());
    house.renews("it renews").await;
    house.store.set(SESSION, own.clone());
    house.renews("its own older session").await;
    assert_eq!(house.seen().all.len(), 1, "the same command ran on");

    house.raise(FIRST + 1);
    house.clients(0, "a promotion began").await;
    pod.waits("a promotion", WaitKind::Moving, "above grant 8").await;
    house.store.set(OWNER, signed(grant(FIRST + 1, at_home())));
    pod.runs("it was ended").await;
    house.renews("it renews").await;

    // The grant of before is not even read, the session of before has its id, and another number.
    house.store.set(OWNER, first.clone());
    house.store.set(SESSION, own);
    house.renews("an older session of its own").await;
    assert_eq!(house.seen().all.len(), 2, "the same command ran on");
    // One that nobody holds: somebody may have taken it back since.
    house.set_session(&Session::free(FIRST, Uuid::new_v4()));
    house.clients(0, "a free session stops what runs").await;
    pod.waits("put back", WaitKind::Ledger, "the ledger was put back").await;
    pause(RENEWS).await;
    assert_eq!((house.seen().all.len(), house.session().holder), (2, None));
    pod.ends().await;

    // At a start, by the notes.
    let pod = house.pod("one", USUAL, &[]).await;
    pod.waits("put back", WaitKind::Ledger, "a grant of number 9 was seen here, and the ledger has 8").await;
    pause(RENEWS).await;
    assert_eq!((house.seen().all.len(), house.session().holder), (2, None));
    house.store.set(OWNER, signed(grant(FIRST + 2, at_home())));
    pod.runs("a new grant").await;
    pod.ends().await;
    house.never_two();
}

/// With the default times; the raise comes directly after a look.
async fn raised(habits: Habits, most: Duration) {
    let house = House::new().await;
    let pod = house.pod("one", habits, &[]).await;
    pod.runs("at first").await;
    house.clients(1, "a command runs").await;
    house.raise(FIRST + 1);
    let raised = Instant::now();
    // Longer than anything else here is waited for.
    pause(Duration::from_secs(20)).await;
    let ended = house.clients(0, "its number was raised").await.duration_since(raised);
    println!("number raised, {habits:?}: no command is left after {:.1} s", ended.as_secs_f64());
    assert!(ended <= most, "{ended:?}");
    until("given back", || pod.log(), || house.session().holder.is_none()).await;
    assert_eq!((house.session().number, house.seen().all.len()), (FIRST + 1, 1));
    pod.waits("raised", WaitKind::Moving, "a promotion is under way").await;
    pod.ends().await;
    house.never_two();
}

pub fn cases() -> Vec<Case> {
    let usual = Habits { ttl: None, ..USUAL };
    let ignores = Habits { ignores: true, ..usual };
    vec![
        case("its number was raised", raised(usual, Duration::from_secs(45))),
        case("raised, with one that ignores SIGTERM", raised(ignores, Duration::from_secs(31) + GRACE)),
        case("the session is deleted while it runs", deleted_while_it_runs()),
        case("the session is deleted before the start", deleted_before_the_start()),
        case("the ledger is put back", put_back_while_it_runs()),
    ]
}
