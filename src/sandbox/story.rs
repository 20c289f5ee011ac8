//! The stories that `failover sandbox` tells: what happens, and what has to come of it.
//!
//! Every story checks its own end; one that ends otherwise fails. The tests run the same stories.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use futures::future::{FutureExt as _, LocalBoxFuture};

use super::{
    Then,
    compute::{Fault, Method, RequestLine},
    stage::{OURS, Pace, Stage},
};
use crate::{
    domain::Time,
    runtime::status::{Status, ValidatorStatus},
};

mod narrator;

pub use narrator::Narrator;

#[derive(Clone, Copy, Debug)]
pub struct Story {
    pub name: &'static str,
    pub about: &'static str,
    run: for<'a> fn(&'a mut Stage, &'a Narrator) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// All of them; the first is what is told without a name.
pub const STORIES: &[Story] = &[
    Story {
        name: "outage",
        about: "the plug is pulled, a standby syncs, promotion is refused, home comes back",
        run: |stage, narrator| outage(stage, narrator).boxed_local(),
    },
    Story {
        name: "lost-reply",
        about: "the reply to the creation is lost: looked for, found, not created twice",
        run: |stage, narrator| lost_reply(stage, narrator).boxed_local(),
    },
    Story {
        name: "chain-sick",
        about: "the chain itself does not finalise: told, and nothing is created",
        run: |stage, narrator| chain_sick(stage, narrator).boxed_local(),
    },
    Story {
        name: "flap",
        about: "an alert that comes and goes while the validator attests: nothing is created",
        run: |stage, narrator| flap(stage, narrator).boxed_local(),
    },
    Story {
        name: "watcher-killed",
        about: "kill -9 in the middle of the creation: one standby and one mail",
        run: |stage, narrator| watcher_killed(stage, narrator).boxed_local(),
    },
];

/// Plenty for anything that the compressed policy does within seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// Tells one story and returns the stage as it is at the end.
///
/// # Errors
/// What did not come as it has to.
pub async fn play(name: &str, program: &Path, narrator: &Narrator) -> anyhow::Result<Stage> {
    let story = STORIES.iter().find(|story| story.name == name).with_context(|| {
        let names: Vec<&str> = STORIES.iter().map(|story| story.name).collect();
        format!("no story is called '{name}'; there are {}", names.join(", "))
    })?;
    narrator.title(story.about);
    narrator.aside(
        "Real program, real HTTP and SMTP on loopback; only the far ends are fake. Time is compressed: an epoch",
    );
    narrator.aside(
        "has 1.5 s instead of 6.4 min, the hold 2 s instead of 5 min, home has to attest for 3 s instead of 20 min.",
    );
    let mut stage = Stage::build(program, &Pace::story()).await?;
    stage.start_watcher()?;
    narrator.aside(&format!(
        "watcher {}  cloud {}  beacon node {}",
        stage.watcher_url,
        stage.cloud.url(),
        stage.beacon.url()
    ));
    (story.run)(&mut stage, narrator).await?;
    Ok(stage)
}

fn eth(status: &Status) -> &ValidatorStatus {
    &status.validators[0]
}

fn in_phase(phase: &'static str) -> impl Fn(&Status) -> bool {
    move |status| eth(status).phase == phase
}

fn says(status: &Status, source: &str) -> String {
    eth(status).signals.iter().find(|signal| signal.source == source).map_or_else(String::new, |s| s.verdict.clone())
}

async fn attesting(stage: &Stage, narrator: &Narrator) -> anyhow::Result<()> {
    narrator.chapter("The validator attests");
    let status = stage.until("the chain says up", PATIENCE, |status| says(status, "chain") == "up").await?;
    narrator.status(&status);
    Ok(())
}

/// The house is dark; a moment later Prometheus has noticed.
async fn pull_the_plug(stage: &mut Stage, narrator: &Narrator) -> Time {
    narrator.chapter("The plug is pulled");
    stage.home.unplug().await;
    stage.chain.set_attesting(OURS, false);
    let since = Time::now();
    let answers = stage.alertmanager.send("ValidatorDown", "eth-0", since, None).await;
    narrator.line("alertmanager", &format!("POST /webhook/alertmanager: ValidatorDown firing → {answers:?}"));
    since
}

async fn plug_in(stage: &mut Stage, narrator: &Narrator, since: Time) -> anyhow::Result<()> {
    narrator.chapter("Home comes back");
    stage.home.plug_in().await?;
    stage.chain.set_attesting(OURS, true);
    stage.alertmanager.send("ValidatorDown", "eth-0", since, Some(Time::now())).await;
    narrator.line("alertmanager", "ValidatorDown resolved (which alone undoes nothing)");
    Ok(())
}

/// Waits for a phase and tells what changes on the way: verdicts, reasons, and every request that changes something.
async fn follow(stage: &Stage, narrator: &Narrator, phase: &'static str) -> anyhow::Result<Status> {
    let mut requests = stage.cloud.subscribe();
    let status = stage
        .until(&format!("the phase {phase}"), PATIENCE, |status| {
            while let Ok(line) = requests.try_recv() {
                tell_request(narrator, &line);
            }
            narrator.status(status);
            in_phase(phase)(status)
        })
        .await?;
    Ok(status)
}

fn tell_request(narrator: &Narrator, line: &RequestLine) {
    if line.method == "GET" && !line.path.contains("/aggregated/") {
        return;
    }
    let path = line.path.trim_start_matches("/compute/v1/projects/sandbox/").split('?').next().unwrap_or_default();
    let status = if line.status == 0 { "connection lost".to_owned() } else { line.status.to_string() };
    narrator.line("cloud", &format!("{} {path} → {status}", line.method));
}

async fn mails(stage: &Stage, narrator: &Narrator, count: usize) -> anyhow::Result<()> {
    let mut arriving = stage.mail.subscribe();
    let enough = arriving.wait_for(|mails| distinct(mails).len() >= count);
    let mails = tokio::time::timeout(PATIENCE, enough).await.context("the mail has not come")??;
    if let Some(mail) = mails.last() {
        narrator.mail(mail.subject(), &mail.body);
    }
    Ok(())
}

/// Mails by what makes them the same mail: one whose delivery was not noted before a crash comes once more.
fn distinct(mails: &[super::smtp::Received]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.header("Message-ID").unwrap_or_default().to_owned()).collect()
}

async fn outage(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    attesting(stage, narrator).await?;
    let plan = stage.run(&["plan"]).await?;
    narrator.chapter("What would be created, and what it would cost (failover plan)");
    narrator.text(&String::from_utf8_lossy(&plan.stdout));
    stage.cloud.fault(Method::Insert, Fault::OutOfStock);
    let since = pull_the_plug(stage, narrator).await;
    narrator.chapter("Two independent signals, then the hold, then the cloud; the first zone is out of stock");
    follow(stage, narrator, "syncing").await?;
    narrator.chapter("The standby syncs");
    follow(stage, narrator, "ready").await?;
    narrator.end_of_bar();
    ensure!(stage.cloud.machines().len() == 1, "there is one machine");
    ensure!(stage.cloud.machines()[0].zone == super::stage::ZONES[1], "it is in the second zone");
    narrator.chapter("The mail, as it came over SMTP");
    mails(stage, narrator, 2).await?;
    narrator.chapter("Promotion is asked for, too early (failover promote eth-0)");
    let promote = stage.run(&["promote", "eth-0"]).await?;
    narrator.text(&String::from_utf8_lossy(&promote.stdout));
    narrator.text(&String::from_utf8_lossy(&promote.stderr));
    narrator.line("exit code", &promote.status.code().unwrap_or(-1).to_string());
    ensure!(promote.status.code() == Some(3), "promotion is refused with exit code 3");
    plug_in(stage, narrator, since).await?;
    follow(stage, narrator, "watching").await?;
    narrator.chapter("Released, and the bill");
    mails(stage, narrator, 3).await?;
    let journal = stage.run(&["journal"]).await?;
    narrator.chapter("What was decided, and why (failover journal)");
    narrator.text(&String::from_utf8_lossy(&journal.stdout));
    ensure!(String::from_utf8_lossy(&journal.stdout).contains("releasing → watching"), "the journal has it all");
    ensure!(stage.cloud.machines().is_empty(), "the machine is gone");
    ensure!(distinct(&stage.mail.mails()).len() == 3, "three mails: down, ready, recovered");
    Ok(())
}

async fn lost_reply(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    attesting(stage, narrator).await?;
    stage.cloud.fault(Method::Insert, Fault::LoseReply);
    pull_the_plug(stage, narrator).await;
    narrator.chapter("The machine is created, and the reply is lost");
    follow(stage, narrator, "ready").await?;
    narrator.end_of_bar();
    let inserts = stage.cloud.log().iter().filter(|line| line.method == "POST").count();
    narrator.line("cloud", &format!("{inserts} request to create, {} machine", stage.cloud.machines().len()));
    ensure!(inserts == 1, "it was looked for, not created again");
    ensure!(stage.cloud.machines().len() == 1, "there is one machine");
    Ok(())
}

async fn chain_sick(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    attesting(stage, narrator).await?;
    narrator.chapter("The chain stops finalising");
    stage.chain.stop_finalising(true);
    let sick = |status: &Status| status.chain.starts_with("not finalising");
    let status = stage.until("the chain is seen not to finalise", PATIENCE, sick).await?;
    narrator.line("chain", &status.chain);
    pull_the_plug(stage, narrator).await;
    narrator.chapter("Confirmed, but not home's outage alone");
    let held = |status: &Status| {
        narrator.status(status);
        eth(status).reason.contains("confirmed, but the chain itself has not finalised")
    };
    stage.until("the incident is held back", PATIENCE, held).await?;
    mails(stage, narrator, 1).await?;
    ensure!(stage.cloud.machines().is_empty(), "nothing is created");
    ensure!(stage.cloud.log().iter().all(|line| line.method == "GET"), "nothing is even tried");
    Ok(())
}

async fn flap(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    attesting(stage, narrator).await?;
    narrator.chapter("An alert comes and goes, the validator attests all the time");
    for round in 1..=3 {
        let since = Time::now();
        stage.alertmanager.send("ValidatorDown", "eth-0", since, None).await;
        let down = |status: &Status| {
            narrator.status(status);
            says(status, "alert") == "down"
        };
        stage.until("the alert is heard", PATIENCE, down).await?;
        stage.alertmanager.send("ValidatorDown", "eth-0", since, Some(Time::now())).await;
        let over = |status: &Status| {
            narrator.status(status);
            eth(status).phase == "watching"
        };
        stage.until("the suspicion is over", PATIENCE, over).await?;
        narrator.line("round", &format!("{round}: no incident"));
    }
    ensure!(stage.cloud.machines().is_empty() && stage.mail.mails().is_empty(), "nothing is created, nobody is woken");
    Ok(())
}

/// The hook runs inside the request that creates: the watcher dies before it has an answer, and the machine is made.
async fn watcher_killed(stage: &mut Stage, narrator: &Narrator) -> anyhow::Result<()> {
    attesting(stage, narrator).await?;
    let pid = stage.watcher_pid().context("the watcher runs")?;
    let armed = std::sync::atomic::AtomicBool::new(true);
    stage.cloud.on_request(Box::new(move |method, path| {
        if method == "POST" && path.contains("/instances") && armed.swap(false, std::sync::atomic::Ordering::SeqCst) {
            kill(pid);
        }
        Then::Handle
    }));
    pull_the_plug(stage, narrator).await;
    narrator.chapter("The watcher asks for a machine, and is killed with -9 at that moment");
    let until = std::time::Instant::now() + PATIENCE;
    while !stage.watcher_has_ended() {
        ensure!(std::time::Instant::now() < until, "the watcher never asked for a machine");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stage.kill_watcher();
    narrator.line("watcher", "killed; the machine may or may not have been made");
    narrator.chapter("It is started again: it looks before it acts");
    stage.start_watcher()?;
    follow(stage, narrator, "ready").await?;
    narrator.end_of_bar();
    mails(stage, narrator, 2).await?;
    ensure!(stage.cloud.machines().len() == 1, "there is one machine");
    ensure!(distinct(&stage.mail.mails()).len() == 2, "two mails: down, and ready");
    narrator.line("cloud", "one machine; two mails, each once");
    Ok(())
}

fn kill(pid: u32) {
    // The standard library can kill a child only through its handle, which the stage holds.
    let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
}
