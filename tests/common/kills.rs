//! The watcher, killed with -9 at every write to the ledger and every request to the cloud of a recorded run.
//!
//! The real program runs as a process between fake far ends; one run is recorded, and then there is one run for each
//! of its requests and for each of two fates of that request: it is carried out although nobody hears the answer, or
//! it never arrives. The program is started again, and whatever happened, there is one standby and one mail of each
//! kind at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use failover::{
    domain::Time,
    sandbox::{
        Then,
        smtp::Received,
        stage::{OURS, Pace, Stage},
    },
};
use futures::{StreamExt as _, TryStreamExt as _};

/// Runs at a time. Each of them waits nearly always.
const SIDE_BY_SIDE: usize = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait for a request that is made again and again.
const COMES_ROUND: Duration = Duration::from_secs(2);

/// A request of the recorded run: what was asked for, "put validators/eth-0", and for the how manieth time.
type Point = (String, usize);

/// What the runs came to.
#[derive(Debug, Default)]
pub struct Sweep {
    /// How often the watcher was killed, by what it was asking for.
    pub killed_at: BTreeMap<String, usize>,
    /// Requests of the recorded run that another run did not make: two changes shared one write, for example.
    pub not_reached: Vec<String>,
    /// Mails that came twice with the same Message-ID, because the watcher died before it could note the delivery.
    pub repeated_mails: usize,
}

impl Sweep {
    /// How often the watcher was killed.
    pub fn kills(&self) -> usize {
        self.killed_at.values().sum()
    }
}

/// Records one run and kills in all the others.
///
/// # Errors
/// The first run that did not end with one standby and one mail of each kind, and how it ended instead.
pub async fn sweep(program: &Path) -> anyhow::Result<Sweep> {
    let recorded = run(program, None).await.context("the run without a kill")?;
    let points =
        points(&recorded.requests).into_iter().flat_map(|point| [(point.clone(), Then::Handle), (point, Then::Lose)]);
    let runs = points.map(|(point, then)| async move {
        let ended = run(program, Some((point.clone(), then))).await;
        ended.map(|run| (point.clone(), run)).with_context(|| format!("killed at {point:?}, {then:?}"))
    });
    let ended: Vec<(Point, Run)> = futures::stream::iter(runs).buffer_unordered(SIDE_BY_SIDE).try_collect().await?;
    let mut sweep = Sweep::default();
    for ((name, number), run) in ended {
        if run.killed {
            *sweep.killed_at.entry(name).or_default() += 1;
        } else {
            sweep.not_reached.push(format!("{name} #{number}"));
        }
        sweep.repeated_mails += run.repeated_mails;
    }
    Ok(sweep)
}

fn points(requests: &[String]) -> Vec<Point> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for request in requests {
        let count = counts.entry(request).or_default();
        *count += 1;
        points.push((request.clone(), *count));
    }
    points
}

struct Run {
    requests: Vec<String>,
    killed: bool,
    repeated_mails: usize,
}

/// Counts what matters, and kills once.
struct Trap {
    at: Option<(Point, Then)>,
    watcher: AtomicU32,
    sprung: AtomicBool,
    seen: Mutex<Vec<String>>,
}

impl Trap {
    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn sees(&self, request: String) -> Then {
        let mut seen = self.seen.lock().unwrap();
        seen.push(request);
        let Some(((name, number), then)) = &self.at else { return Then::Handle };
        let is_it = seen.last() == Some(name) && seen.iter().filter(|request| *request == name).count() == *number;
        if !is_it {
            return Then::Handle;
        }
        let pid = self.watcher.load(Ordering::SeqCst).to_string();
        assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        self.sprung.store(true, Ordering::SeqCst);
        *then
    }
}

async fn run(program: &Path, at: Option<(Point, Then)>) -> anyhow::Result<Run> {
    let mut stage = Stage::build(program, &Pace::quick()).await?;
    let trap =
        Arc::new(Trap { at, watcher: AtomicU32::new(0), sprung: AtomicBool::new(false), seen: Mutex::default() });
    set(&trap, &stage);
    start(&trap, &mut stage)?;
    let deadline = Instant::now() + PATIENCE;
    let (mut plug, mut ready_since) = (None, None);
    loop {
        if stage.watcher_has_ended() {
            stage.kill_watcher();
            start(&trap, &mut stage)?;
        }
        if let Some(status) = stage.status().await {
            let eth = &status.validators[0];
            let attests = eth.signals.iter().any(|signal| signal.source == "chain" && signal.verdict == "up");
            if plug.is_none() && attests {
                plug = Some(pull(&mut stage));
            }
            if eth.phase == "ready" && kinds(&stage.mail.mails()).len() >= 2 {
                let since = *ready_since.get_or_insert_with(Instant::now);
                // A request that comes round again may still be the one.
                if trap.at.is_none() || trap.sprung.load(Ordering::SeqCst) || since.elapsed() > COMES_ROUND {
                    break;
                }
            }
        }
        if Instant::now() > deadline {
            let log = std::fs::read_to_string(stage.log_path()).unwrap_or_default();
            let status = serde_json::to_string_pretty(&stage.status().await).unwrap_or_default();
            anyhow::bail!("not ready in time; requests: {:?}\nlog:\n{log}\nstatus: {status}", trap.seen());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    judge(&stage, &trap)
}

/// One standby, and one mail of each kind: "down" and "ready".
fn judge(stage: &Stage, trap: &Trap) -> anyhow::Result<Run> {
    let (machines, mails, requests) = (stage.cloud.machines(), stage.mail.mails(), trap.seen());
    ensure!(machines.len() == 1, "there are {} machines; requests: {requests:#?}", machines.len());
    let (kinds, subjects) = (kinds(&mails), mails.iter().map(Received::subject).collect::<BTreeSet<_>>());
    ensure!(kinds.len() == 2 && subjects.len() == 2, "there are these mails: {subjects:?}, {kinds:?}");
    let killed = trap.sprung.load(Ordering::SeqCst);
    Ok(Run { killed, repeated_mails: mails.len() - kinds.len(), requests })
}

/// Mails by Message-ID: the same id is the same mail, and a reader's mail program shows it once.
fn kinds(mails: &[Received]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.header("Message-ID").unwrap_or_default().to_owned()).collect()
}

fn set(trap: &Arc<Trap>, stage: &Stage) {
    let cloud = trap.clone();
    stage.cloud.on_request(Box::new(move |method, path| cloud.sees(format!("{method} {}", kind_of(path)))));
    let ledger = trap.clone();
    let bucket = stage.bucket.as_ref().expect("the quick stage has a bucket");
    bucket.on_request(Box::new(move |method, path| match method {
        "GET" => Then::Handle,
        "DELETE" => ledger.sees(format!("remove {}", path.rsplit("/o/").next().unwrap_or_default())),
        _ => ledger.sees(format!("put {}", object(path))),
    }));
}

/// "zones/…/instances/…/getGuestAttributes": names of zones, machines and operations are left out.
fn kind_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default().trim_start_matches("/compute/v1/projects/sandbox/");
    let words: Vec<&str> = path.split('/').map(|word| if word.contains('-') { "…" } else { word }).collect();
    words.join("/")
}

/// The name of the object that is uploaded. The random part of a name is left out.
fn object(path: &str) -> String {
    let name = url::form_urlencoded::parse(path.split('?').nth(1).unwrap_or_default().as_bytes())
        .find_map(|(key, value)| (key == "name").then(|| value.into_owned()))
        .unwrap_or_default();
    if name.starts_with("journal/") {
        "journal/…".to_owned()
    } else {
        name.split('/').take(2).collect::<Vec<_>>().join("/")
    }
}

fn start(trap: &Trap, stage: &mut Stage) -> anyhow::Result<()> {
    stage.start_watcher()?;
    trap.watcher.store(stage.watcher_pid().context("it runs")?, Ordering::SeqCst);
    Ok(())
}

/// The house is dark, and Alertmanager says so until somebody listens.
fn pull(stage: &mut Stage) -> tokio::task::JoinHandle<Vec<u16>> {
    stage.home.unplug();
    stage.chain.set_attesting(OURS, false);
    let alertmanager = stage.alertmanager.clone();
    tokio::spawn(async move { alertmanager.send("ValidatorDown", "eth-0", Time::now(), None).await })
}
