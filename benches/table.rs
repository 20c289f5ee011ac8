//! `make bench`: one table. Absolute numbers are this machine's; what counts is the ratio within one run.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::{
    fs,
    hint::black_box,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use failover::{
    adapters::{http, ledger_sqlite::LedgerSqlite},
    domain::{
        CreateOutcome, Event, Evidence, InstanceRef, Interval, Mode, Outcome, Policy, PricedRung, Reading, Rung,
        Source, Span, Time, Validator, ValidatorId, Verdict, World, step,
    },
    ports::Ledger,
};

fn main() {
    println!("{:58} {:>16}  goal", "", "measured");
    let (ten, thousand) = (step_rate(10), step_rate(1000));
    row("step, calls a second (10 validators)", &format!("{:.2} M", ten / 1e6), "> 1 M");
    row("step, calls a second (1000 validators)", &format!("{:.2} M", thousand / 1e6), "> 1 M");
    row("cost of one event, 1000 validators : 10", &format!("{:.2}", ten / thousand), "flat (1)");
    row("simulated incidents a second", &format!("{:.0}", incident_rate()), "> 50 000");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    runtime.block_on(webhook());
    runtime.block_on(process());
}

fn row(what: &str, measured: &str, goal: &str) {
    println!("{what:58} {measured:>16}  {goal}");
}

fn start() -> Time {
    Time::constant(1_767_225_600, 0)
}

fn world(validators: usize) -> (World, Vec<ValidatorId>) {
    let ids: Vec<ValidatorId> = (0..validators).map(|n| ValidatorId::new(&format!("eth-{n}")).unwrap()).collect();
    (World::new(ids.iter().map(|id| (id.clone(), Validator::default()))), ids)
}

fn reading(verdict: Verdict, evidence: Evidence, at: Time) -> Reading {
    let fresh_until = at + Span::from_hours(1);
    Reading { verdict, evidence, about: Interval { from: at, to: at }, fresh_until, why: "measured".into() }
}

fn step_rate(validators: usize) -> f64 {
    let (mut world, ids) = world(validators);
    let policy = Policy::default();
    let calls = 400_000;
    let events: Vec<Event> = ids
        .iter()
        .map(|id| Event::Observed(id.clone(), Source::Chain, reading(Verdict::Up, Evidence::Chain, start())))
        .collect();
    let since = Instant::now();
    for call in 0..calls {
        let event = &events[call % events.len()];
        let mut decision = step(&world, event, start(), &policy).unwrap();
        world.commit(event.validator(), &mut decision);
        black_box(&decision);
    }
    calls as f64 / since.elapsed().as_secs_f64()
}

/// From two signals to a machine and back to nothing.
fn incident_rate() -> f64 {
    let policy = Policy {
        mode: Mode::Armed,
        hold_down: Span::ZERO,
        ladder: vec![PricedRung {
            rung: Rung { zone: "us-central1-a".into(), machine_type: "n2-standard-8".into() },
            per_hour: None,
            until_fuse: None,
            after_fuse_per_month: None,
        }],
        ..Policy::default()
    };
    let incidents = 20_000;
    let since = Instant::now();
    for number in 0..incidents {
        let (mut world, ids) = world(1);
        let id = &ids[0];
        let now = start() + Span::from_secs(number);
        let mut under_way = None;
        let mut happen = |event: Event| {
            let mut decision = step(&world, &event, now, &policy).unwrap();
            let action = decision.actions.pop().map(|(action, _)| action);
            world.commit(Some(id), &mut decision);
            under_way = action.or(under_way);
            under_way
        };
        happen(Event::Observed(id.clone(), Source::Alert, reading(Verdict::Down, Evidence::Process, now)));
        let find = happen(Event::Observed(id.clone(), Source::Chain, reading(Verdict::Down, Evidence::Chain, now)));
        let create = happen(Event::Finished(id.clone(), find.unwrap(), Outcome::Found(Vec::new())));
        let machine = InstanceRef { zone: "us-central1-a".into(), name: "fo".into(), id: 1 };
        let created = Outcome::Created(CreateOutcome::Created(machine));
        black_box(happen(Event::Finished(id.clone(), create.unwrap(), created)));
    }
    incidents as f64 / since.elapsed().as_secs_f64()
}

struct Watcher(Child);

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn config(folder: &Path, port: u16, validators: usize) -> String {
    let mut text = format!(
        "site: bench\nledger: {{sqlite: {{path: {}/ledger.sqlite}}}}\nhttp: {{listen: '127.0.0.1:{port}'}}\n\
         alertmanager: {{auth: none}}\nvalidators:\n",
        folder.display()
    );
    for number in 0..validators {
        text += &format!(
            "  - {{name: eth-{number}, kind: ethereum, public_keys: ['0x{number:096x}'], \
             alerts: [{{matchers: '{{validator=\"eth-{number}\"}}', evidence: process}}]}}\n"
        );
    }
    text
}

async fn serve(folder: &Path, validators: usize) -> (Watcher, String, Duration) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = folder.join("failover.yaml");
    fs::write(&file, config(folder, port, validators)).unwrap();
    let client = http::client(Duration::from_secs(5)).unwrap();
    let since = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_failover"))
        .args(["serve", "--config"])
        .arg(&file)
        .env("RUST_LOG", "error")
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (watcher, url) = (Watcher(child), format!("http://127.0.0.1:{port}"));
    for _ in 0..2000 {
        if client.get(format!("{url}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return (watcher, url, since.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("not ready: {}", fs::read_to_string(folder.join("log")).unwrap());
}

fn message(validator: usize, number: usize) -> String {
    format!(
        r#"{{"version":"4","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"A","validator":"eth-{validator}"}},"annotations":{{}},"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"{number:016x}"}}]}}"#
    )
}

/// 64 connections, every request a new alert; then kill -9, and everything that was acknowledged is there.
async fn webhook() {
    let folder = tempfile::tempdir().unwrap();
    let bare = fsync_cost(folder.path());
    let (mut watcher, url, _) = serve(folder.path(), 10).await;
    let (connections, each) = (64, 300);
    let since = Instant::now();
    let tasks = (0..connections).map(|connection| {
        let url = format!("{url}/webhook/alertmanager");
        tokio::spawn(async move {
            let client = http::client(Duration::from_secs(30)).unwrap();
            let mut took = Vec::with_capacity(each);
            for number in 0..each {
                let body = message(connection % 10, connection * each + number);
                let since = Instant::now();
                let answer = client.post(&url).header("content-type", "application/json").body(body).send().await;
                assert_eq!(answer.unwrap().status(), 200);
                took.push(since.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await.unwrap());
    }
    let rate = took.len() as f64 / since.elapsed().as_secs_f64();
    watcher.0.kill().unwrap();
    watcher.0.wait().unwrap();
    took.sort();
    let ledger: Arc<dyn Ledger> = Arc::new(LedgerSqlite::open(&folder.path().join("ledger.sqlite")).unwrap());
    let kept = ledger.list("alerts/", None).await.unwrap().len();
    assert_eq!(kept, took.len(), "everything that was acknowledged survives kill -9");
    row("one fsync on this disk", &format!("{:.2} ms", bare.as_secs_f64() * 1e3), "");
    row("webhook: durable acknowledgements a second", &format!("{rate:.0}"), ">= 5 000 at 0.1 ms");
    let millis = |at: usize| format!("{:.1} ms", took[took.len() * at / 100].as_secs_f64() * 1e3);
    row("webhook: p50 / p99", &format!("{} / {}", millis(50), millis(99)), "");
    row("webhook: kept after kill -9", &format!("{kept} of {}", took.len()), "all");
}

fn fsync_cost(folder: &Path) -> Duration {
    let mut file = fs::File::create(folder.join("fsync")).unwrap();
    let times = 100;
    let since = Instant::now();
    for _ in 0..times {
        file.write_all(&[0; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    since.elapsed() / times
}

async fn process() {
    let folder = tempfile::tempdir().unwrap();
    let (watcher, _, ready) = serve(folder.path(), 100).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = fs::read_to_string(format!("/proc/{}/status", watcher.0.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim();
    let kilobytes: f64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    row("resident, idle, 100 validators", &format!("{:.1} MB", kilobytes / 1024.0), "<= 20 MB");
    row("start to ready, 100 validators", &format!("{:.0} ms", ready.as_secs_f64() * 1e3), "< 100 ms");
    let size = fs::metadata(env!("CARGO_BIN_EXE_failover")).unwrap().len();
    row("binary, as built here", &format!("{:.1} MB", size as f64 / 1e6), "<= 20 MB");
}
