//! What the agent sees of the machine: signers above all, and what is hidden from it.

use std::fs;

use failover::agent::machine::{LocalMachine, MachineError};

use super::rig::Rig;

#[tokio::test]
async fn a_signer_is_seen_as_soon_as_it_runs_and_not_when_it_is_gone() {
    let rig = Rig::synced().await;
    let mut agent = rig.agent();
    assert!(!agent.report().await.unwrap().signer_seen);
    rig.process(300, &["lighthouse", "vc", "--datadir", "/secret"], "my.service");
    let report = agent.report().await.unwrap();
    assert_eq!((report.signer_seen, report.signer.as_deref()), (true, Some("process lighthouse vc of my.service")));
    assert!(report.synced, "that it is synced stays true; the watcher decides what it means");
    fs::remove_dir_all(rig.root.path().join("proc/300")).unwrap();
    assert!(!agent.report().await.unwrap().signer_seen);
}

#[tokio::test]
async fn a_keystore_on_the_machine_is_neither_opened_nor_looked_for() {
    let rig = Rig::synced().await;
    let folder = rig.root.path().join("validators/0xabc");
    fs::create_dir_all(&folder).unwrap();
    // A pipe: anyone who opens it waits forever.
    let made = std::process::Command::new("mkfifo").arg(folder.join("voting-keystore.json")).status().unwrap();
    assert!(made.success());
    let looked = tokio::time::timeout(std::time::Duration::from_secs(30), async { rig.agent().report().await });
    let report = looked.await.expect("it does not open it").unwrap();
    assert_eq!((report.signer_seen, report.signer), (false, None));
}

#[tokio::test]
async fn a_signers_unit_and_a_signers_port_are_seen_without_its_process() {
    let rig = Rig::synced().await;
    fs::write(rig.root.path().join("etc/systemd/system/lighthouse-vc.service"), "").unwrap();
    let table = rig.root.path().join("proc/net/tcp6");
    fs::write(&table, "  sl  local\n   0: 00000000000000000000000000000000:13C6 0:0 0A 0\n").unwrap();
    let report = rig.agent().report().await.unwrap();
    let signer = report.signer.unwrap();
    assert!(signer.starts_with("unit lighthouse-vc.service, installed; port 5062 is open"), "{signer}");
}

#[tokio::test]
async fn processes_that_are_hidden_from_it_are_not_taken_for_none() {
    let rig = Rig::synced().await;
    fs::remove_dir_all(rig.root.path().join("proc/1")).unwrap();
    let report = rig.agent().report().await.unwrap();
    let says = "the processes of other users are hidden from the agent";
    assert_eq!((report.signer_seen, report.signer_hidden.as_deref()), (false, Some(says)));
}

#[tokio::test]
async fn ports_that_cannot_be_read_are_not_taken_for_none() {
    let rig = Rig::synced().await;
    fs::remove_file(rig.root.path().join("proc/net/tcp")).unwrap();
    let report = rig.agent().report().await.unwrap();
    assert_eq!(report.signer_hidden.as_deref(), Some("open ports cannot be read"));
}

#[tokio::test]
async fn without_a_boot_id_there_is_no_agent() {
    let rig = Rig::synced().await;
    let machine = LocalMachine::at(rig.root.path());
    let path = rig.root.path().join("proc/sys/kernel/random/boot_id");
    fs::write(&path, "<html>\n").unwrap();
    assert!(matches!(machine.boot_id(), Err(MachineError::Form { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(machine.boot_id(), Err(MachineError::Unreadable { .. })));
}

#[test]
fn this_very_machine_can_be_read() {
    let machine = LocalMachine::at("/");
    assert!(machine.boot_id().is_ok() && machine.uptime().is_ok());
    assert!(machine.memory_free_percent().is_some() && machine.disk_free_percent("/".as_ref()).is_some());
    let facts = machine.facts();
    let own = facts.processes.iter().any(|process| process.arguments.iter().any(|part| part.contains("this_very")))
        || facts.processes.iter().any(|process| process.arguments.first().is_some_and(|file| file.contains("/it-")));
    assert!(own && facts.hidden.is_empty(), "{:?}", facts.hidden);
}
