//! What an operator states in place of a proof: that nothing at home can sign.

use std::process::Stdio;

use failover::domain::{
    LedgerKey, Time,
    ownership::{OnLedgerLoss, Session},
};
use uuid::Uuid;

use super::rig::{Office, eth};
use crate::cli::rig::program;

const WORDS: &str = "node-3 is off, and its disk is destroyed";

fn held(number: u64, on_loss: OnLedgerLoss) -> Session {
    let ttl = std::time::Duration::from_hours(6);
    Session::free(number, Uuid::nil()).held_by(Uuid::from_u128(7), on_loss, ttl, Time::now(), Uuid::from_u128(8))
}

#[tokio::test]
async fn a_session_of_run_whose_gate_is_gone_is_freed_by_it_at_once_and_the_grant_says_so() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    let lost = held(1, OnLedgerLoss::Run);
    office.set_session(&lost).await;
    let ended = office.signs("adopt", "bob", &["--statement", WORDS]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("the session is freed by your statement"), "{}", ended.out);
    let (grant, session) = (office.grant().await.grant, office.session().await);
    assert_eq!(grant.number, 2);
    assert_eq!((session.number, session.holder, session.held), (2, None, lost.held));
    assert!(grant.reason.starts_with("a test; ") && grant.reason.ends_with(WORDS), "{}", grant.reason);
    assert_eq!(office.house.run(&["grants", "eth-0"]).code, 0);
}

#[tokio::test]
async fn a_missing_session_that_nobody_can_prove_free_is_made_by_it_alone() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    office.remove(&LedgerKey::session(&eth())).await;
    let before = office.dump().await;
    let refused = office.signs("adopt", "ann", &["--longest-ttl", "run"]);
    assert!(refused.code == 3 && refused.err.contains("`--statement`"), "{}{}", refused.out, refused.err);
    assert_eq!(office.dump().await, before);
    let ended = office.signs("adopt", "ann", &["--longest-ttl", "run", "--statement", WORDS]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert_eq!((office.grant().await.grant.number, office.session().await.number), (2, 2));
    assert_eq!(office.session().await.holder, None);
}

/// Not even where the validator's name comes through the pipe.
#[tokio::test]
async fn nobody_states_anything_through_a_pipe_without_yes() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    office.set_session(&held(1, OnLedgerLoss::Run)).await;
    let before = office.dump().await;
    let mut command = program();
    command.args(["adopt", "eth-0", "--reason", "x", "--statement", WORDS, "--key"]).arg(office.key("ann"));
    command.arg("--config").arg(office.house.config());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may have ended before it is read.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"eth-0\n");
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains("a statement needs a terminal"), "{err}");
    let empty = office.signs("adopt", "ann", &["--statement", ""]);
    assert_eq!(empty.code, 2, "{}", empty.err);
    assert_eq!(office.dump().await, before);
}

#[tokio::test]
async fn a_grant_signed_elsewhere_has_to_have_the_same_statement() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    office.set_session(&held(1, OnLedgerLoss::Run)).await;
    let print = office.path("grant.json").display().to_string();
    let first = ["adopt", "eth-0", "--by", "ann@example.org", "--reason", "x", "--statement", WORDS];
    assert_eq!(office.house.run(&[&first[..], &["--print", &print]].concat()).code, 0);
    let signature = super::rig::sign(&office.key("ann"), "failover-grant", &std::fs::read(&print).unwrap());
    std::fs::write(format!("{print}.sig"), signature).unwrap();
    let before = office.dump().await;
    let with =
        |statement: &str| office.house.run(&["adopt", "eth-0", "--yes", "--signed", &print, "--statement", statement]);
    let other = with("all is well");
    assert!(other.code == 1 && other.err.contains("its statement is another"), "{}{}", other.out, other.err);
    assert_eq!(office.dump().await, before);
    let same = with(WORDS);
    assert_eq!(same.code, 0, "{}{}", same.out, same.err);
    assert_eq!((office.grant().await.grant.number, office.session().await.holder), (2, None));
}

/// The number is raised, and two end while they wait, as when the laptop is closed.
#[tokio::test]
async fn adoptions_that_end_halfway_twice_leave_a_session_that_the_third_one_reaches() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    office.set_session(&held(1, OnLedgerLoss::Stop).raised_to(2, Uuid::from_u128(9))).await;
    for _ in 0..2 {
        let mut command = program();
        command.args(["adopt", "eth-0", "--yes", "--renew", "--reason", "x", "--key"]).arg(office.key("ann"));
        command.arg("--config").arg(office.house.config()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().contains("the session is held; free in")), "it waits");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((office.session().await.number, office.grant().await.grant.number), (2, 1));
    }
    let back = office.session().await.given_back(Time::now(), Uuid::from_u128(10));
    office.set_session(&back).await;
    let ended = office.signs("adopt", "bob", &["--renew"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert_eq!((office.session().await.number, office.grant().await.grant.number), (2, 2), "home may start");
}
