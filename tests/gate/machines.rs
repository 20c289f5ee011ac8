//! The real program on machines that are started again, and with state folders that are lost, copied, full or shared.

use std::{
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use failover::{
    domain::{gate::WaitKind, ownership::GrantPlace},
    gate::folder::{FolderError, StateFolder},
};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    far::FarEnd,
    local_house::{CLIENT, Gate, House},
    placed::{Place, is_there, send, skipped, until},
};

/// What may take a busy machine so long. Whatever is waited for takes ten seconds at least.
const SOON: Duration = Duration::from_secs(5);
const IN_PLACE_OF_THE_BOOT_ID: &str = "mount --bind";

pub fn killed(mut gate: Gate) {
    send(gate.gate(), Signal::KILL);
    gate.ends();
    assert!(gate.is_gone(SOON));
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

fn a_container_is_there() -> bool {
    is_there(Place::Container)
}

#[test]
fn a_lost_state_folder_is_a_stranger_who_waits_until_the_session_is_old() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::granted() else { return };
    killed(house.starts(Place::Container, "one"));
    fs::remove_dir_all(house.path("state-one")).unwrap();
    fs::remove_file(house.path("lock")).unwrap();
    let again = house.gate(Place::Container, "one", CLIENT).start();
    again.waits(WaitKind::Session, "free in");
    assert!(!house.path("lock").exists(), "a client was started");
    house.never_two();
}

#[test]
fn a_state_folder_that_is_removed_below_a_running_gate_lets_no_second_one_start() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::granted() else { return };
    let one = house.starts(Place::Container, "one");
    fs::remove_dir_all(house.path("state-one")).unwrap();
    house.gate(Place::Container, "one", CLIENT).start().waits(WaitKind::Session, "another process at home holds");
    one.runs();
    house.never_two();
}

#[test]
fn of_a_state_folder_and_its_copy_only_the_original_resumes() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::granted() else { return };
    let one = house.starts(Place::Container, "one");
    copy(&house.path("state-one"), &house.path("state-copy"));
    let copied = house.gate(Place::Container, "copy", CLIENT).start();
    copied.waits(WaitKind::Session, "another process at home holds");
    killed(one);
    // It, too, does not take what a client may still have.
    copied.waits(WaitKind::Session, "another process at home holds");
    let began = Instant::now();
    let again = house.starts(Place::Container, "one");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    again.runs();
    copied.waits(WaitKind::Session, "another process at home holds");
    house.never_two();
}

/// As on a network file system, where the kernel of this machine has none.
#[test]
fn a_state_folder_that_may_not_be_its_own_never_resumes_and_lets_nothing_run_without_the_ledger() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::granted() else { return };
    let shared = TempDir::new_in("/dev/shm").unwrap();
    let state = shared.path().join("state");
    let with = |more: &[&str]| {
        let all = [&["--state", state.to_str().unwrap()], more].concat();
        house.gate(Place::Container, "one", CLIENT).with(&all).start()
    };
    let mut run = with(&["--on-ledger-loss", "run"]);
    assert_eq!(run.ends().code(), Some(1));
    assert!(run.log().contains("tmpfs") && run.log().contains("Name a folder on a local disk"), "{}", run.log());
    house.nothing_has_run();

    let mut one = with(&[]);
    one.hears_up();
    killed(one);
    fs::remove_file(house.path("lock")).unwrap();
    with(&[]).waits(WaitKind::Session, "another process at home holds");
    assert!(!house.path("lock").exists(), "it resumed");
    house.never_two();
}

const FULL: &str = "GATE_TEST_FULL_STATE";

#[test]
fn on_a_full_disk_nothing_starts_and_the_session_is_free_for_another_gate() {
    if !a_container_is_there() {
        return;
    }
    let disk = TempDir::new().unwrap();
    let status = Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs \"$0\" || exit 77; exec \"$@\""])
        .arg(disk.path())
        .arg(env::current_exe().unwrap())
        .args(["machines::with_a_full_disk", "--exact", "--nocapture"])
        .env(FULL, disk.path())
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(1 | 77)) if !rustix::process::geteuid().is_root() => skipped("a small disk needs root"),
        other => panic!("{other:?}"),
    }
}

/// Not a test by itself: it does nothing unless another one started it.
#[test]
fn with_a_full_disk() {
    let Some(disk) = env::var_os(FULL).map(std::path::PathBuf::from) else { return };
    let Some(house) = House::granted() else { return };
    let state = disk.join("state");
    let start = || house.gate(Place::Container, "one", CLIENT).with(&["--state", state.to_str().unwrap()]).start();
    let filler = disk.join("filler");
    let fill = || assert!(fs::write(&filler, [0; 100_000]).is_err(), "the disk is not full");

    fill();
    let mut refused = start();
    assert_eq!(refused.ends().code(), Some(1));
    assert!(refused.log().contains("No space"), "{}", refused.log());
    house.nothing_has_run();

    // It has a folder, and no room for its notes.
    fs::remove_file(&filler).unwrap();
    drop(StateFolder::open(&state).unwrap());
    fill();
    let one = start();
    one.waits(WaitKind::Command, "cannot be written");
    house.nothing_has_run();
    assert_eq!(house.session().holder, None);
    assert!(matches!(StateFolder::open(&state).unwrap_err(), FolderError::InUse(_)));
    let other = house.starts(Place::Container, "other");
    fs::remove_file(&filler).unwrap();
    one.waits(WaitKind::Session, "another process at home holds");
    drop(other);
    drop(one);
    house.never_two();
}

/// What the kernel says of this boot, in the place of a gate.
pub fn boot(house: &House, id: u128) -> String {
    let file = house.path(&format!("boot-{id}"));
    fs::write(&file, format!("{}\n", Uuid::from_u128(id))).unwrap();
    format!("{IN_PLACE_OF_THE_BOOT_ID} {} /proc/sys/kernel/random/boot_id", file.display())
}

#[test]
fn home_resumes_at_once_after_a_reboot_within_an_epoch_and_after_a_longer_time_waits_for_silence() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::granted() else { return };
    let beacon = FarEnd::beacon();
    fs::write(house.path("keys"), format!("0x{:096x}\n", 7)).unwrap();
    let (node, keys) = (format!("http://{}", beacon.address), house.path("keys"));
    let asks = ["--duty-check", "on", "--beacon-node", &node, "--public-keys-file", keys.to_str().unwrap()];

    let notes = house.path("state-one/notes.json");
    let noted =
        || serde_json::from_slice::<Value>(&failover::files::read(&notes, failover::files::MOST).unwrap()).unwrap();
    // The client may speak before its gate has noted that it runs.
    let notes_its_run = |boot: u128| {
        let boot = Uuid::from_u128(boot).to_string();
        until("the gate notes that its client runs", || noted()["notes"]["ran_up"][0] == boot.as_str());
    };

    let mut one = house.gate(Place::Container, "one", CLIENT).after(&boot(&house, 1)).start();
    one.hears_up();
    notes_its_run(1);
    killed(one);
    let began = Instant::now();
    let mut again = house.gate(Place::Container, "one", CLIENT).after(&boot(&house, 2)).with(&asks).start();
    again.hears_up();
    println!("its client runs {:?} after the gate was started, the chain asked", began.elapsed());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    notes_its_run(2);
    killed(again);

    // The machine was off for five days, so whole epochs have passed.
    let mut aged = noted();
    let ran: jiff::Timestamp = aged["notes"]["ran_until"].as_str().unwrap().parse().unwrap();
    aged["notes"]["ran_until"] = (ran - jiff::SignedDuration::from_hours(5 * 24)).to_string().into();
    fs::write(&notes, aged.to_string()).unwrap();
    fs::remove_file(house.path("lock")).unwrap();
    let later = house.gate(Place::Container, "one", CLIENT).after(&boot(&house, 3)).with(&asks).start();
    later.waits(WaitKind::Duties, "0 of 1 silent epochs");
    assert!(!house.path("lock").exists(), "a client was started");
    house.never_two();
}

#[test]
fn a_machine_in_the_cloud_stays_down_after_a_reboot_until_it_is_granted_the_new_boot() {
    if !a_container_is_there() {
        return;
    }
    let Some(house) = House::new() else { return };
    let machine = FarEnd::machine(42);
    let grant = |boot: u128, number| {
        let owner = GrantPlace::Cloud {
            project: "home-failover".into(),
            zone: "us-central1-a".into(),
            instance_id: 42.into(),
            boot_id: Uuid::from_u128(boot).to_string(),
        };
        house.grant(owner, number).bytes()
    };
    let at = machine.address.to_string();
    let start = |id| house.gate(Place::Container, "one", CLIENT).after(&boot(&house, id)).in_the_cloud(&at).start();

    let waiting = start(1);
    waiting.waits(WaitKind::Grant, "no grant has come");
    house.nothing_has_run();
    drop(waiting);
    let first = grant(1, 1);
    machine.carry_grant(first.clone());
    let mut one = start(1);
    one.hears_up();
    killed(one);
    let mut again = start(1);
    again.hears_up();
    killed(again);

    fs::remove_file(house.path("lock")).unwrap();
    let mut rebooted = start(2);
    rebooted.waits(WaitKind::Grant, "`failover regrant eth-0`");
    assert!(!house.path("lock").exists(), "a client was started");
    machine.carry_grant(grant(2, 2));
    rebooted.hears_up();
    killed(rebooted);
    // The old grant, and the boot that it names, as a restored disk and a lying server could show them.
    fs::remove_file(house.path("lock")).unwrap();
    machine.carry_grant(first);
    start(1).waits(WaitKind::Grant, "");
    assert!(!house.path("lock").exists(), "a client was started");
    house.never_two();
}
