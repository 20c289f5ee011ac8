//! The whole watcher beside a cluster: opinions reach the loop, annotations become pauses, steps become events.

use failover::{
    assembly::Watcher,
    config::{self, Checks},
    runtime::Handle,
};

use super::*;

const KEY: &str = "0x93247f2209abcacf57b75a51dafae777f9dd38bc7053d1af526f220a7489a6d3a2753e5f3e8b1cfe39b56f43611df74a";

/// A watcher that runs; ends with the test.
struct Running {
    handle: Handle,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

impl Running {
    async fn start(api: &FakeApiServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        api.kubeconfig(folder.path()).unwrap();
        let text = format!(
            "site: home\nledger: {{sqlite: {{path: ledger.sqlite}}}}\nhttp: {{listen: '127.0.0.1:0'}}\n\
             kubernetes: {{kubeconfig: kubeconfig.yaml}}\nvalidators:\n  - name: eth-0\n    kind: ethereum\n    \
             public_keys: [\"{KEY}\"]\n    kubernetes: {{namespace: eth, statefulset: vc}}\n"
        );
        let checks = Checks { base: folder.path().to_owned(), ..Checks::default() };
        let (config, _) = config::parse(&text, "failover.yaml", &checks).unwrap();
        let watcher = Watcher::build(&config).await.unwrap();
        let (handle, stop) = (watcher.handle().clone(), CancellationToken::new());
        let task = tokio::spawn(watcher.run(stop.clone()));
        Self { handle, stop, task, _folder: folder }
    }

    /// Waits until the status shows this.
    async fn shows(&self, words: &str) -> String {
        let mut last = String::new();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(45);
        while tokio::time::Instant::now() < deadline {
            if let Some(status) = self.handle.status().await {
                last = serde_json::to_string(&status).unwrap();
                if last.contains(words) {
                    return last;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{words:?} is not shown: {last}");
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.task).await.expect("it ends").unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cluster_shows_stands_in_the_status_and_a_written_pause_is_kept_and_told_once() {
    let api = cluster().await;
    let running = Running::start(&api).await;
    running.shows("pod vc-0 runs and is ready on node attic").await;
    crash(&api);
    running.shows("crashes again and again").await;
    let until = (Time::now() + failover::domain::Span::from_hours(2)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    api.change("statefulsets", "eth", "vc", |set| {
        set["metadata"]["annotations"] =
            json!({"failover.dev/pause-until": until, "failover.dev/pause-reason": "new disk"});
    });
    let status = running.shows("new disk").await;
    assert!(status.contains("the annotation failover.dev/pause-until"), "{status}");
    let events = async {
        loop {
            let events = api.objects("events");
            if !events.is_empty() {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let events = tokio::time::timeout(LIMIT, events).await.unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["reason"], "FailoverPaused");
    assert!(events[0]["note"].as_str().unwrap().contains("new disk"));
    let asked: Vec<String> =
        api.requests().into_iter().filter(|one| !one.starts_with("list") && !one.starts_with("watch")).collect();
    assert_eq!(asked, ["create eth/events"], "nothing else is ever changed");
    running.end().await;
}
