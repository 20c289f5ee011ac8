//! `adopt`, `regrant` and `grants`, as people run them.

use std::{fs, process::Stdio};

use failover::{
    domain::{
        LedgerKey, Time,
        ownership::{GrantPlace, OnLedgerLoss, Session},
    },
    sandbox::object_store::FakeObjectStore,
};
use serde_json::Value;
use uuid::Uuid;

use super::rig::{Office, can_sign, cloud, eth, grant, home, sign};
use crate::cli::rig::program;

#[tokio::test]
async fn the_first_grant_makes_a_free_session_of_the_same_number_and_a_second_run_changes_nothing() {
    let Some(office) = Office::new() else { return };
    let ended = office.signs("adopt", "ann", &[]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let signed = office.grant().await;
    let words = (signed.grant.number, &signed.grant.previous, &signed.grant.owner, signed.grant.by.as_str());
    assert_eq!(words, (1, &None, &home(), "ann@example.org"));
    let session = office.session().await;
    assert_eq!((session.number, session.holder), (1, None));
    let before = office.dump().await;
    let again = office.signs("adopt", "bob", &[]);
    assert!(again.code == 0 && again.out.contains("by grant 1: nothing to do"), "{}{}", again.out, again.err);
    assert_eq!(office.dump().await, before);

    let shown = office.house.run(&["grants", "eth-0", "--json"]);
    let said: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!((shown.code, &said["owner"], &said["problems"]), (0, &"home".into(), &serde_json::json!([])), "{said}");
    assert_eq!(office.house.run(&["ledger", "verify"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_bucket_it_is_the_same() {
    if !can_sign() {
        return;
    }
    let bucket = FakeObjectStore::start().await.unwrap();
    let ledger = format!("{{gcs: {{bucket: ledger, endpoint: '{}', credentials: anonymous}}}}", bucket.url());
    let office = Office::over(&ledger, "");
    let ended = tokio::task::block_in_place(|| office.signs("adopt", "ann", &[]));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let ended = tokio::task::block_in_place(|| office.signs("adopt", "bob", &["--renew"]));
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let keys: Vec<_> = bucket.dump().into_keys().collect();
    assert_eq!(keys, ["owners/eth-0", "owners/eth-0/1", "sessions/eth-0"]);
    let shown = tokio::task::block_in_place(|| office.house.run(&["grants", "eth-0"]));
    assert!(shown.code == 0 && shown.out.contains("who may sign: home\n"), "{}{}", shown.out, shown.err);
    bucket.refuse(Some(403));
    let blind = tokio::task::block_in_place(|| office.house.run(&["grants", "eth-0"]));
    assert_eq!(blind.code, 2, "{}{}", blind.out, blind.err);
}

#[tokio::test]
async fn a_new_signer_takes_over_without_stopping_what_runs() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    let first = office.grant().await;
    let now = Time::now();
    let ttl = std::time::Duration::from_secs(21_600);
    let held = office.session().await.held_by(Uuid::from_u128(7), OnLedgerLoss::Stop, ttl, now, Uuid::from_u128(8));
    office.set_session(&held).await;
    let ended = office.signs("adopt", "bob", &["--renew"]);
    assert!(ended.code == 0 && ended.out.contains("what runs at home continues"), "{}{}", ended.out, ended.err);
    let second = office.grant().await.grant;
    let words = (second.number, second.previous, second.by.as_str());
    assert_eq!(words, (2, Some(first.grant.digest()), "bob@example.org"));
    assert_eq!(office.session().await, held, "the session is not touched");
    let dump = office.dump().await;
    let copy = dump.iter().find(|(key, _)| *key == *LedgerKey::owner_history(&eth(), 1)).unwrap();
    assert_eq!(copy.1, first.bytes());
}

/// A key that is not allowed, somebody else's name, another purpose, another chain's grant, one that was edited.
#[tokio::test]
async fn what_a_gate_would_refuse_is_never_written() {
    let Some(office) = Office::new() else { return };
    let before = office.dump().await;
    let print = office.path("grant.json").display().to_string();
    let with_signature = |namespace: &str, name: &str| {
        let _ = fs::remove_file(&print);
        let ended =
            office.house.run(&["adopt", "eth-0", "--by", "ann@example.org", "--reason", "x", "--print", &print]);
        assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
        let bytes = fs::read(&print).unwrap();
        fs::write(format!("{print}.sig"), sign(&office.key(name), namespace, &bytes)).unwrap();
        bytes
    };
    let signed = || office.house.run(&["adopt", "eth-0", "--yes", "--signed", &print]);
    let refused = |ended: crate::cli::rig::Ended, words: &str| {
        assert!(ended.code == 1 && ended.err.contains(words), "{words}: {} {}{}", ended.code, ended.out, ended.err);
    };
    refused(office.signs("adopt", "eve", &[]), "is not in allowed_signers");
    refused(office.signs("adopt", "eve", &["--by", "ann@example.org"]), "is not in allowed_signers");
    refused(
        office.signs("adopt", "ann", &["--by", "bob@example.org"]),
        "the key that you name is allowed for ann@example.org",
    );
    refused(office.house.run(&["adopt", "eth-0", "--yes", "--reason", "x"]), "--key is missing");
    let missing = office.path("nothing").display().to_string();
    refused(
        office.house.run(&["adopt", "eth-0", "--yes", "--reason", "x", "--key", &missing]),
        "cannot be read as a key",
    );
    with_signature("git", "ann");
    refused(signed(), "the signature is refused, so no grant was written");
    with_signature("failover-grant", "eve");
    refused(signed(), "allowed_signers does not name");
    let bytes = with_signature("failover-grant", "ann");
    fs::write(&print, String::from_utf8(bytes.clone()).unwrap().replace("\"number\":1", "\"number\": 1")).unwrap();
    refused(signed(), "was changed since");
    fs::write(&print, String::from_utf8(bytes.clone()).unwrap().replace("0x91", "0x92")).unwrap();
    refused(signed(), "the ledger has changed since");
    fs::write(&print, String::from_utf8(bytes.clone()).unwrap().replace("\"reason\":\"x\"", "\"reason\":\"y\""))
        .unwrap();
    refused(signed(), "the signature is refused, so no grant was written");
    fs::write(&print, vec![b' '; 1 << 20]).unwrap();
    refused(signed(), "larger than");
    assert_eq!(office.dump().await, before, "nothing was written");

    fs::write(&print, bytes).unwrap();
    assert_eq!(signed().code, 0);
    assert_eq!(office.grant().await.grant.reason, "x");
}

/// Home would be stopped for six hours for a slip of the pen.
#[tokio::test]
async fn nothing_is_raised_for_a_key_that_cannot_sign() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    let locked = office.path("locked");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "secret", "-C", "", "-f"])
        .arg(&locked)
        .status();
    assert!(made.unwrap().success());
    // The public half of a key that nobody has.
    fs::copy(office.path("bob.pub"), office.path("absent.pub")).unwrap();
    fs::remove_file(office.path("bob")).unwrap();
    let before = office.dump().await;
    for (name, words) in
        [("mistyped", "cannot be read as a key"), ("eve", "not in allowed"), ("absent.pub", "does not sign")]
    {
        let by: &[&str] = &["--number", "41"];
        let ended = office.signs("adopt", name, by);
        assert!(ended.code == 1 && ended.err.contains(words), "{name}: {} {}{}", ended.code, ended.out, ended.err);
        assert_eq!(office.dump().await, before, "{name}: nothing is raised");
    }
    // One with a passphrase is not tried out, which is said; it asks when the session is free.
    office.allow(&["ann", "locked"]);
    let mut command = program();
    // No terminal is asked, should there be one.
    command.env("SSH_ASKPASS_REQUIRE", "force").env("SSH_ASKPASS", "false");
    command.args(["adopt", "eth-0", "--yes", "--reason", "x", "--number", "41", "--key"]).arg(&locked);
    let ended = command.arg("--config").arg(office.house.config()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("it is asked for when the waiting ends"), "{said}");
    assert!(ended.status.code() == Some(1) && said.contains("repeat the same command with `--renew`"), "{said}");
    assert_eq!(office.session().await.number, 42);
    let again = office.signs("adopt", "ann", &["--renew"]);
    assert_eq!(again.code, 0, "{}{}", again.out, again.err);
}

#[tokio::test]
async fn a_name_on_two_lines_is_one_and_a_print_that_fails_leaves_no_file() {
    let Some(office) = Office::new() else { return };
    let line = |name: &str| format!("ann@example.org namespaces=\"failover-grant\" {}", office.public(name));
    fs::write(office.path("allowed_signers"), line("ann") + &line("bob")).unwrap();
    let print = office.path("grant.json").display().to_string();
    let ended = office.house.run(&["adopt", "eth-0", "--reason", "x", "--print", &print]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    fs::remove_file(&print).unwrap();
    office.allow(&["ann", "bob"]);
    let ended = office.house.run(&["adopt", "eth-0", "--reason", "x", "--print", &print]);
    assert!(ended.code == 1 && ended.err.contains("Say it with --by"), "{}{}", ended.out, ended.err);
    assert!(!fs::exists(&print).unwrap());
}

/// A key that was rotated out.
#[tokio::test]
async fn a_signer_who_has_left_is_a_note_at_what_was_replaced() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    assert_eq!(office.signs("adopt", "bob", &["--renew"]).code, 0);
    office.allow(&["bob"]);
    let ended = office.house.run(&["grants", "eth-0"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("signer not listed any more") && !ended.out.contains("PROBLEM"), "{}", ended.out);
    // A copy that somebody has changed is a problem as before.
    let copy = LedgerKey::owner_history(&eth(), 1);
    let text = String::from_utf8(office.ledger_bytes(&copy).await).unwrap();
    office.set(&copy, text.replace("a test", "a text").into_bytes()).await;
    let ended = office.house.run(&["grants", "eth-0"]);
    assert!(ended.code == 1 && ended.out.contains("PROBLEM"), "{}", ended.out);
}

#[tokio::test]
async fn a_regrant_writes_over_no_file() {
    let Some(office) = Office::new() else { return };
    office.put(cloud(101, 1), 5).await;
    let save = office.path("precious");
    fs::write(&save, "precious").unwrap();
    let (before, boot) = (office.dump().await, Uuid::from_u128(2).to_string());
    let ended = office.signs("regrant", "bob", &["--boot-id", &boot, "--save", &save.display().to_string()]);
    assert!(ended.code == 1 && ended.err.contains("is there already"), "{}{}", ended.out, ended.err);
    assert_eq!((fs::read(&save).unwrap().as_slice(), office.dump().await), (&b"precious"[..], before));
}

#[tokio::test]
async fn the_validators_name_has_to_be_typed() {
    let Some(office) = Office::new() else { return };
    let run = |typed: &str| {
        let mut command = program();
        let key = office.key("ann");
        command.args(["adopt", "eth-0", "--reason", "x", "--key"]).arg(key).arg("--config").arg(office.house.config());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        child.wait().unwrap().code()
    };
    let before = office.dump().await;
    for typed in ["yes\n", "eth-1\n", "", "\n"] {
        assert_eq!(run(typed), Some(3), "{typed:?}");
    }
    assert_eq!(office.dump().await, before);
    assert_eq!(run("eth-0\n"), Some(0));
}

#[tokio::test]
async fn only_the_next_boot_of_the_same_machine_is_granted_again() {
    let Some(office) = Office::new() else { return };
    let boot = Uuid::from_u128(2).to_string();
    let save = office.path("carried").display().to_string();
    let again = |boot: &str| office.signs("regrant", "bob", &["--boot-id", boot, "--save", &save]);
    assert!(again(&boot).err.contains("there is no grant"));
    office.put(home(), 4).await;
    let refused = again(&boot);
    assert!(refused.code == 3 && refused.err.contains("is home's"), "{}{}", refused.out, refused.err);
    let first = office.put(cloud(101, 1), 5).await;
    assert_eq!(again("not-a-boot").code, 3);
    let ended = again(&boot);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("add-metadata 101") && ended.out.contains("failover-grant="), "{}", ended.out);
    let second = office.grant().await;
    assert_eq!((second.grant.number, &second.grant.owner), (6, &cloud(101, 2)));
    assert_eq!(second.grant.previous, Some(first.grant.digest()));
    assert_eq!(fs::read(&save).unwrap(), second.bytes(), "the machine gets what is in force");
    let dump = office.dump().await;
    assert!(again(&boot).out.contains("names this boot already"));
    assert_eq!(office.dump().await, dump);
    office.set_session(&Session::free(7, Uuid::new_v4())).await;
    let moving = again(&Uuid::from_u128(3).to_string());
    assert!(moving.code == 3 && moving.err.contains("on its way elsewhere"), "{}", moving.err);
}

/// Ends with 1 whatever is wrong with the chain, and says where.
#[tokio::test]
async fn a_chain_that_does_not_verify_is_shown_with_what_is_wrong() {
    let Some(office) = Office::new() else { return };
    for command in ["adopt", "adopt", "adopt"] {
        let more: &[&str] = if office.dump().await.is_empty() { &[] } else { &["--renew"] };
        assert_eq!(office.signs(command, "ann", more).code, 0);
    }
    let shown = |words: &str| {
        let (ended, verified) = (office.house.run(&["grants", "eth-0"]), office.house.run(&["ledger", "verify"]));
        assert!(ended.code == 1 && ended.out.contains(words), "{words}: {}{}", ended.out, ended.err);
        assert_eq!(verified.code, 1, "{words}: {}", verified.out);
    };
    assert_eq!(office.house.run(&["grants", "eth-0"]).code, 0);
    let copy = LedgerKey::owner_history(&eth(), 2);
    let before = office.ledger_bytes(&copy).await;
    let third = office.grant().await;
    let other =
        office.signed("bob", failover::domain::ownership::Grant { by: "bob@example.org".into(), ..grant(home(), 2) });
    office.set(&copy, other.bytes()).await;
    shown("CHAIN BROKEN");
    shown(&format!(
        "it names {:.12}, and grant 2 is {:.12}",
        third.grant.previous.as_ref().unwrap(),
        other.grant.digest()
    ));
    office.set(&copy, before.clone()).await;
    office.remove(&copy).await;
    shown("COPY BEFORE IT MISSING");
    office.set(&copy, third.bytes()).await;
    shown("its key says 2");
    office.set(&copy, before).await;
    office.allow(&["bob"]);
    shown("SIGNATURE REFUSED");
    office.allow(&["ann", "bob"]);
    office.remove(&LedgerKey::session(&eth())).await;
    let ended = office.house.run(&["grants", "eth-0"]);
    assert!(ended.code == 1 && ended.out.contains("a grant and no session"), "{}", ended.out);
}

#[tokio::test]
async fn a_number_known_elsewhere_is_passed_over_and_the_session_is_raised_to_it() {
    let Some(office) = Office::new() else { return };
    assert_eq!(office.signs("adopt", "ann", &[]).code, 0);
    let ended = office.signs("adopt", "ann", &["--number", "41"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert_eq!((office.grant().await.grant.number, office.session().await.number), (42, 42));
    assert_eq!(office.house.run(&["grants", "eth-0"]).code, 0, "it names the grant before it");
    let huge = office.signs("adopt", "ann", &["--number", "9007199254740991"]);
    assert_eq!(huge.code, 3, "{}{}", huge.out, huge.err);
    let GrantPlace::Home { site } = office.grant().await.grant.owner else { panic!("home's") };
    assert_eq!(site, "home");
}
