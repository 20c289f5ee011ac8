//! Two processes on one ledger: one decides, the other waits and says so.

use std::time::{Duration, Instant};

use super::rig::House;

#[tokio::test]
async fn the_one_that_waits_is_alive_not_ready_and_takes_no_webhook() {
    let house = House::new("");
    let first = house.serve("first");
    first.until("/readyz", 200).await;
    let second = house.serve("second");
    second.until("/healthz", 200).await;
    second.until("/readyz", 503).await;
    assert_eq!((first.alert(1).await, second.alert(2).await), (200, 503));
}

#[tokio::test]
async fn a_clean_stop_hands_over_within_a_second_and_an_open_incident_with_it() {
    let house = House::new("");
    let mut first = house.serve("first");
    first.until("/readyz", 200).await;
    let second = house.serve("second");
    second.until("/healthz", 200).await;
    first.signal("-TERM");
    let since = Instant::now();
    let handed_over = second.until("/readyz", 200).await;
    let ended = first.child.wait().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(handed_over < Duration::from_secs(2), "{handed_over:?}, all in all {:?}", since.elapsed());
}

#[tokio::test]
async fn after_kill_9_the_other_takes_over_when_the_lease_has_run_out() {
    let house = House::new("");
    let first = house.serve("first");
    first.until("/readyz", 200).await;
    let second = house.serve("second");
    second.until("/healthz", 200).await;
    assert_eq!(first.alert(1).await, 200);
    first.signal("-KILL");
    second.until("/readyz", 200).await;
    assert_eq!(second.alert(2).await, 200);
}

#[tokio::test]
async fn a_request_is_taken_by_whoever_watches_and_answered_on_the_command_line() {
    let house = House::new("");
    let watcher = house.serve("watcher");
    watcher.until("/readyz", 200).await;
    let paused = house.run(&["pause", "eth-0", "--for", "1h", "--reason", "new UPS", "--json"]);
    assert_eq!(paused.code, 0, "{}", paused.err);
    let resumed = house.run(&["resume", "eth-0", "--reason", "it is in"]);
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    let closed = house.run(&["close", "eth-0", "--reason", "nothing is open"]);
    assert_eq!(closed.code, 3, "{}{}", closed.out, closed.err);
    let journal = house.run(&["journal", "eth-0"]);
    assert!(journal.out.contains("asked to pause until") && journal.out.contains("new UPS"), "{}", journal.out);
}
