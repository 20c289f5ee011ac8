//! What the real program asks of its ledger: every request, in order, with its precondition and its answer.

use std::time::Duration;

use failover::{
    domain::{
        Time,
        gate::WaitKind,
        ownership::{OnLedgerLoss, Session},
    },
    gate::timing::GatePace,
};
use uuid::Uuid;

use crate::house::{Case, FIRST, Habits, House, OWNER, RENEWS, SESSION, TTL, USUAL, case, pause, until};

/// It looks every 2.5 s, so that a slow start on a busy machine does not bring a renewal forward by a look.
const SLOW: Habits = Habits { ttl: Some(Duration::from_secs(24)), ..USUAL };

/// Since so many requests: what is the grant's is `owner`, and the session's object is `session`.
fn since(house: &House, number: usize) -> Vec<String> {
    let asked = house.store.asked();
    let line = |asked: &failover::sandbox::object_store::Asked| {
        let what = asked.what.replace(SESSION, "session").replace(OWNER, "owner");
        format!("{what}: {}", asked.answer.map_or("nothing".into(), |status| status.to_string()))
    };
    asked[number..].iter().map(line).collect()
}

async fn shows(house: &House, number: usize, what: &str, expected: &[&str]) {
    until(what, || format!("{:#?}", since(house, number)), || since(house, number).len() >= expected.len()).await;
    assert_eq!(since(house, number), expected, "{what}");
}

/// The bucket's generations: 1 is the first grant, 2 its session.
async fn start_look_renewal_stop_and_giving_back() {
    let house = House::new().await;
    let pod = house.pod("one", SLOW, &[]).await;
    let start = ["GET session: 200", "GET owner: 200", "POST session over 2: 200"];
    let look = ["GET session: 200"];
    let renewal = |over| [look[0], over];
    let (first, second) = (renewal("POST session over 3: 200"), renewal("POST session over 4: 200"));
    let running = [&start[..], &look, &first, &look, &second].concat();
    shows(&house, 0, "a start and two renewals", &running).await;
    pod.ends().await;
    let begun = running.len();
    shows(&house, begun, "asked to end", &["GET session: 200", "POST session over 5: 200"]).await;

    let (pod, begun) = (house.pod("one", SLOW, &[]).await, begun + 2);
    shows(&house, begun, "started again", &["GET session: 200", "GET owner: 200", "POST session over 6: 200"]).await;
    house.raise(FIRST + 1);
    pod.waits("its number was raised", WaitKind::Moving, "a promotion").await;
    let raised = ["GET session: 200", "GET session: 200", "POST session over 8: 200"];
    let waits = ["GET session: 200", "GET owner: 200"];
    shows(&house, begun + 3, "a look, and given back", &[&raised[..], &waits].concat()).await;
    pod.ends().await;
    shows(&house, begun + 8, "a gate that waits gives nothing back", &[]).await;

    // Another one holds it: the store is asked for its age once.
    let other = Session::free(FIRST, Uuid::new_v4());
    house.set_session(&other.held_by(Uuid::new_v4(), OnLedgerLoss::Stop, TTL, Time::now(), Uuid::new_v4()));
    let pod = house.pod("one", SLOW, &[]).await;
    pod.waits("the ledger is older than its notes", WaitKind::Ledger, "put back").await;
    pod.ends().await;
    let begun = house.store.asked().len();
    let pod = house.pod("other", SLOW, &[]).await;
    pod.waits("another holds it", WaitKind::Session, "another process").await;
    let waits = ["GET session: 200", "GET owner: 200"];
    shows(&house, begun, "waits", &[&waits[..], &["GET session metadata: 200"], &waits].concat()).await;
    pod.ends().await;
    pause(RENEWS * 2).await;
    assert_eq!(house.store.asked().len(), begun + 5, "nothing asks any more");
    house.never_two();

    // As above, a look is one read and a renewal one write.
    let pace = GatePace::of(Duration::from_secs(6 * 3600), Duration::from_secs(60));
    let in_an_hour = |each: Duration| 3600 / each.as_secs();
    let (reads, writes) = (in_an_hour(pace.look), in_an_hour(pace.renew));
    println!("with the default times {reads} reads and {writes} writes an hour");
    assert!(reads <= 130 && writes <= 12);
}

pub fn cases() -> Vec<Case> {
    vec![case("every request, in order", start_look_renewal_stop_and_giving_back())]
}
