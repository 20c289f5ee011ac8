//! Ledger files that cannot be written to, met by the whole program.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    process::Command,
};

use ::failover::{
    adapters::ledger_sqlite::LedgerSqlite,
    ports::{Expect, Ledger as _},
};

use super::rig::{Ended, House, program};

/// Root may write anywhere, so the program runs as somebody else then.
#[test]
fn a_read_only_ledger_is_refused_with_what_to_do() {
    let house = House::new("");
    let folder = house.folder.path();
    drop(LedgerSqlite::open(&folder.join("ledger.sqlite")).unwrap());
    fs::set_permissions(folder.join("ledger.sqlite"), fs::Permissions::from_mode(0o444)).unwrap();
    let mut command = program();
    if fs::metadata(folder).unwrap().uid() == 0 {
        let copy = folder.join("failover");
        fs::copy(command.get_program(), &copy).unwrap();
        command = Command::new(copy);
        command.uid(65534);
    }
    command.args(["serve", "--config"]).arg(house.config());
    // With and without what a process that was killed leaves behind, which not everybody may use.
    for leftover in [None, Some("ledger.sqlite-wal")] {
        if let Some(leftover) = leftover {
            fs::write(folder.join(leftover), [0; 32]).unwrap();
            fs::set_permissions(folder.join(leftover), fs::Permissions::from_mode(0o400)).unwrap();
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
        let ended: Ended = command.output().unwrap().into();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(ended.code, 1);
        assert!(ended.err.contains("ledger.sqlite") && ended.err.contains("read-only"), "{leftover:?}: {}", ended.err);
    }
}

#[tokio::test]
async fn while_the_disk_is_full_nothing_is_acknowledged_and_what_was_is_still_there() {
    let house = House::new("");
    let watcher = house.serve("watcher");
    watcher.until("/readyz", 200).await;
    let mut taken = 0;
    for number in 0..5 {
        assert_eq!(watcher.alert(number).await, 200);
        taken += 1;
    }
    watcher.limit_files("4096");
    assert_eq!(watcher.alert(6).await, 503, "Alertmanager keeps it and sends it again");
    watcher.until("/healthz", 200).await;
    assert_eq!(house.alerts().await, taken, "all that was acknowledged, and nothing else");
    watcher.limit_files("unlimited");
    watcher.until("/readyz", 200).await;
    assert_eq!(watcher.alert(6).await, 200, "it continues without being restarted");
    assert_eq!(house.alerts().await, taken + 1);
}

/// A typing error in the path must not look like a new house, and a file made by another user keeps the watcher out.
#[test]
fn a_command_that_only_looks_makes_no_ledger() {
    let house = House::new("");
    let files = || fs::read_dir(house.folder.path()).unwrap().count();
    let before = files();
    for (command, code) in
        [(&["status"][..], 0), (&["journal"], 0), (&["promote", "eth-0"], 3), (&["ledger", "verify"], 2)]
    {
        let ended = house.run(command);
        assert_eq!((ended.code, files()), (code, before), "{command:?}: {}{}", ended.out, ended.err);
    }
    let checked = house.run(&["check"]);
    assert!(checked.out.contains("not there yet; `failover serve` makes it"), "{}", checked.out);
    let missing = house.run(&["ledger", "verify"]);
    assert!(
        missing.err.contains("there is no ledger at") && missing.err.contains("ledger.sqlite.path"),
        "{}",
        missing.err
    );
    assert_eq!(files(), before);
}

#[test]
fn a_ledger_that_cannot_be_read_to_its_end_is_not_said_to_be_well() {
    let house = House::new("");
    let path = house.folder.path().join("ledger.sqlite");
    fs::write(&path, "a text that somebody has put here by mistake, and that is long enough to have a header").unwrap();
    let ended = house.run(&["ledger", "verify"]);
    assert_eq!(ended.code, 2, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("damaged or no ledger"), "{}", ended.err);
    fs::remove_file(&path).unwrap();
    drop(LedgerSqlite::open(&path).unwrap());
    let empty = house.run(&["ledger", "verify", "--json"]);
    let said: serde_json::Value = serde_json::from_str(&empty.out).unwrap();
    assert_eq!((empty.code, &said["records"], &said["findings"]), (0, &0.into(), &serde_json::json!([])), "{said}");
}

/// As a backup does, or another process that ends only now.
#[tokio::test]
async fn a_ledger_that_another_process_holds_at_the_start_is_waited_for() {
    let house = House::new("");
    let path = house.folder.path().join("ledger.sqlite");
    drop(LedgerSqlite::open(&path).unwrap());
    let holder = rusqlite::Connection::open(&path).unwrap();
    holder.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT;").unwrap();
    let watcher = house.serve("watcher");
    let held = async {
        while !watcher.log().contains("another process holds") {
            assert!(watcher.runs(), "{}", watcher.log());
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), held).await.expect("it says what it waits for");
    drop(holder);
    watcher.until("/readyz", 200).await;
}

/// It is advised for what cannot be read; what must not go is refused whatever it holds.
#[tokio::test]
async fn remove_takes_neither_what_a_newer_failover_wrote_nor_the_lease_nor_what_people_write() {
    let house = House::new("");
    let path = house.folder.path().join("ledger.sqlite");
    let ledger = LedgerSqlite::open(&path).unwrap();
    let newer = r#"{"form":99,"v":3,"later":true}"#;
    for (key, bytes) in [
        ("validators/eth-0", newer),
        ("lease", "damaged"),
        ("ledger", "damaged"),
        ("owners/eth-0", "damaged"),
        ("promotions/eth-0", "damaged"),
    ] {
        ledger.put(key, bytes.into(), Expect::Absent).await.unwrap();
        let ended = house.run(&["ledger", "remove", key, "--save", "kept.json"]);
        assert_eq!(ended.code, 3, "{key}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains("nothing was changed"), "{key}: {}", ended.err);
        assert!(ledger.get(key).await.unwrap().is_some(), "{key}");
    }
    ledger.put("journal/x", "damaged".into(), Expect::Absent).await.unwrap();
    let save = house.folder.path().join("kept.json").display().to_string();
    assert_eq!(house.run(&["ledger", "remove", "journal/x", "--save", &save]).code, 0);
}
