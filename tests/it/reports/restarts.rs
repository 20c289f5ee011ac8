//! What a start of the watcher does to a standby that was ready.

use failover::domain::Span;

use super::Watcher;

#[tokio::test]
async fn a_ready_standby_stays_ready_over_a_restart_until_something_is_seen_to_be_missing() {
    type Seen = (&'static str, fn(&mut Watcher));
    const MISSING: [Seen; 3] = [
        ("it follows another chain", |watcher| watcher.world.chain.genesis_root = Some("0xbeef".into())),
        ("its start-up script says: start", |watcher| {
            // The machine has booted again, and what it wrote before is gone.
            let name = watcher.instance().name;
            watcher.rig.fake.forget_guest_attribute(&name, "report");
            watcher.rig.fake.guest_attribute(&name, "boot", "start");
        }),
        ("it cannot be read", |watcher| {
            watcher.rig.fake.guest_attribute(&watcher.instance().name, "report", "x");
        }),
    ];
    for (words, change) in MISSING {
        let mut watcher = Watcher::with_a_standby().await;
        watcher.becomes_ready(1).await;
        watcher.restarts();
        watcher.passes(Span::from_secs(1)).await;
        watcher.reports(20, |_| {}).await;
        assert_eq!(watcher.phase(), "ready", "{}", watcher.says());
        change(&mut watcher);
        watcher.passes(Span::from_secs(30)).await;
        assert!(watcher.phase() == "syncing" && watcher.says().contains(words), "{words}: {}", watcher.says());
        // The same, seen by one that has heard nothing before.
        let mut watcher = Watcher::with_a_standby().await;
        watcher.becomes_ready(1).await;
        change(&mut watcher);
        let chain = watcher.world.chain.clone();
        watcher.restarts();
        watcher.world.chain = chain;
        watcher.passes(Span::from_secs(1)).await;
        assert_eq!(watcher.phase(), "syncing", "{words}: {}", watcher.says());
    }
}

#[tokio::test]
async fn a_ready_standby_whose_chain_nobody_knows_for_long_after_a_restart_is_ready_no_longer() {
    let mut watcher = Watcher::with_a_standby().await;
    watcher.becomes_ready(1).await;
    watcher.restarts();
    for counter in 20..38 {
        watcher.reports(counter, |_| {}).await;
        assert_eq!(watcher.phase(), "ready", "{}", watcher.says());
    }
    for counter in 38..41 {
        watcher.reports(counter, |_| {}).await;
    }
    assert_eq!(watcher.phase(), "syncing");
    assert!(watcher.says().contains("not known here which chain"), "{}", watcher.says());
}
