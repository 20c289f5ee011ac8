//! The real program after its ledger was lost, restored or taken away under it: the standby that serves is kept and is the
//! only one, and people are notified.

use std::{fs, path::Path, time::Duration};

use failover::{
    domain::Time,
    sandbox::stage::{OURS, Pace, Stage},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to the ledger of a watcher whose standby is ready. Files named `ledger.sqlite*` are the ledger.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Removed while nobody runs.
    Removed,
    /// What was copied before the outage is put back.
    Restored,
    /// Removed while the watcher runs; its service starts it again.
    RemovedWhileRunning,
}

fn ledger_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("ledger.sqlite")).collect()
}

fn remove_ledger(folder: &Path) {
    ledger_files(folder).iter().for_each(|path| fs::remove_file(path).unwrap());
}

/// As Alertmanager does: the alert that was in a lost ledger comes again.
fn repeat_the_alert(stage: &Stage) -> tokio::task::JoinHandle<()> {
    let (alertmanager, since) = (stage.alertmanager.clone(), Time::now());
    tokio::spawn(async move {
        loop {
            alertmanager.send("ValidatorDown", "eth-0", since, None).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
}

async fn round(loss: Loss) {
    let pace = Pace { bucket: false, ..Pace::quick() };
    let mut stage = Stage::build(Path::new(env!("CARGO_BIN_EXE_failover")), &pace).await.unwrap();
    let folder = stage.config_path().parent().unwrap().to_owned();
    let backup = tempfile::tempdir().unwrap();
    stage.start_watcher().unwrap();
    stage.until("it watches", PATIENCE, |status| status.validators[0].phase == "watching").await.unwrap();
    stage.kill_watcher();
    for file in ledger_files(&folder) {
        fs::copy(&file, backup.path().join(file.file_name().unwrap())).unwrap();
    }
    stage.start_watcher().unwrap();
    stage.until("it leads again", PATIENCE, |status| status.validators[0].phase == "watching").await.unwrap();
    stage.home.unplug().await;
    stage.chain.set_attesting(OURS, false);
    let alerting = repeat_the_alert(&stage);
    stage.until("a standby is ready", PATIENCE, |status| status.validators[0].phase == "ready").await.unwrap();
    let ids = |stage: &Stage| stage.cloud.machines().iter().map(|machine| machine.name.clone()).collect::<Vec<_>>();
    let before = ids(&stage);

    match loss {
        Loss::Removed => {
            stage.kill_watcher();
            remove_ledger(&folder);
        }
        Loss::Restored => {
            stage.kill_watcher();
            remove_ledger(&folder);
            for file in fs::read_dir(backup.path()).unwrap().map(|entry| entry.unwrap().path()) {
                fs::copy(&file, folder.join(file.file_name().unwrap())).unwrap();
            }
        }
        Loss::RemovedWhileRunning => {
            remove_ledger(&folder);
            let mut ended = stage.watcher_has_ended();
            let until = tokio::time::Instant::now() + PATIENCE;
            while !ended {
                assert!(tokio::time::Instant::now() < until, "it goes on without its ledger");
                tokio::time::sleep(Duration::from_millis(40)).await;
                ended = stage.watcher_has_ended();
            }
            let log = fs::read_to_string(stage.log_path()).unwrap();
            assert!(log.contains("removed or replaced while it was open"), "{log}");
            stage.kill_watcher();
        }
    }
    stage.start_watcher().unwrap();
    stage.until("the same standby is ready", PATIENCE, |status| status.validators[0].phase == "ready").await.unwrap();
    assert_eq!(ids(&stage), before, "{loss:?}");
    alerting.abort();
    assert_eq!(stage.cloud.inserts(), 1, "{loss:?}: nothing was created a second time");
    let mails = stage.mail.mails();
    let subjects: Vec<&str> = mails.iter().map(|mail| mail.subject()).collect();
    assert!(subjects.iter().any(|subject| subject.contains("there already")), "{loss:?}: {subjects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_standby_survives_the_loss_of_the_ledger() {
    round(Loss::Removed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ready_standby_survives_an_old_ledger_that_is_put_back() {
    round(Loss::Restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_whose_ledger_is_taken_away_ends_and_finds_its_standby_again() {
    round(Loss::RemovedWhileRunning).await;
}
