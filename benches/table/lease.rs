//! How long nobody leads: after a clean stop, and after kill -9.

use std::time::Duration;

use failover::sandbox::object_store::FakeObjectStore;

use super::{
    pair::{LEASE, Ledger, Scene},
    row,
};

const ROUNDS: usize = 5;

/// Over both ledgers, the worst of some rounds. A kill counts from the moment on at which the lease, had it been renewed
/// right before, would have run out; what is left is what the successor itself adds.
pub(super) async fn take_over() {
    let store = FakeObjectStore::start().await.unwrap();
    for (name, ledger) in [("file", Ledger::File), ("bucket", Ledger::Bucket(store.url().to_owned()))] {
        let scene = Scene::on(ledger).await;
        let (mut graceful, mut killed) = (Duration::ZERO, Duration::ZERO);
        let mut holder = scene.watcher("0").await;
        holder.until("/readyz", 200).await;
        for round in 0..ROUNDS {
            let mut next = scene.watcher(&format!("{round}-next")).await;
            holder.signal("-TERM");
            graceful = graceful.max(next.until("/readyz", 200).await);
            holder.ended_well();
            let last = scene.watcher(&format!("{round}-last")).await;
            next.signal("-KILL");
            killed = killed.max(last.until("/readyz", 200).await.saturating_sub(LEASE));
            next = last;
            holder = next;
        }
        let millis = |span: Duration| format!("{} ms", span.as_millis());
        row(&format!("take-over after a clean stop, {name}, worst of {ROUNDS}"), &millis(graceful), "< 1 s");
        let what = format!("take-over after kill -9 beyond the lease, {name}, worst of {ROUNDS}");
        row(&what, &millis(killed), "< 1 s");
    }
}
