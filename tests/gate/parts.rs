//! Keeper and stub by themselves, with the test in the place of what started them.

use std::{
    io::Read as _,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use failover::raw_clock;
use rustix::{
    event::{PollFd, PollFlags, poll},
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair},
};
use tempfile::TempDir;

/// `ask` and `kill` in milliseconds from now.
fn part(name: &str, folder: &TempDir, ask: u64, kill: u64) -> (Child, OwnedFd) {
    let at = |millis: u64| raw_clock::now() + Duration::from_millis(millis);
    let order = serde_json::json!({
        "group": "Container", "no_new_privs": false, "ask": at(ask), "kill": at(kill), "grace": Duration::from_secs(1),
    });
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_failover-gate"))
        .args([name, &order.to_string(), "touch"])
        .arg(folder.path().join("it-ran"))
        .stdin(Stdio::from(theirs))
        .spawn()
        .unwrap();
    (child, ours)
}

fn heard(line: &OwnedFd) -> String {
    let mut bytes = [0; 4096];
    let length = UnixStream::from(line.try_clone().unwrap()).read(&mut bytes).unwrap();
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

fn nothing_ran(mut child: Child, folder: &TempDir) {
    child.wait().unwrap();
    assert!(!folder.path().join("it-ran").exists());
}

/// A process that was frozen between the fork and here would become the command later.
#[test]
fn the_stub_judges_the_deadline_by_its_own_reading() {
    let folder = TempDir::new().unwrap();
    let (child, line) = part("stub", &folder, 50, 100_000);
    // It waits for this, whatever the time.
    let mut handles = [PollFd::new(&line, PollFlags::IN)];
    let pause = rustix::time::Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    assert_eq!(poll(&mut handles, Some(&pause)).unwrap(), 0, "it did not wait");
    send(&line, b"\"Go\"", SendFlags::empty()).unwrap();
    assert_eq!(heard(&line), "\"Late\"");
    nothing_ran(child, &folder);
}

#[test]
fn a_stub_becomes_the_command_when_it_is_held_and_in_time() {
    let folder = TempDir::new().unwrap();
    let (mut child, line) = part("stub", &folder, 100_000, 100_000);
    send(&line, b"\"Go\"", SendFlags::empty()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(folder.path().join("it-ran").exists());
}

#[test]
fn a_stub_without_its_keeper_becomes_nothing() {
    let folder = TempDir::new().unwrap();
    let (child, line) = part("stub", &folder, 100_000, 100_000);
    drop(line);
    nothing_ran(child, &folder);
}

#[test]
fn the_keeper_forks_only_while_the_deadline_lies_ahead() {
    let folder = TempDir::new().unwrap();
    let (child, line) = part("keeper", &folder, 0, 100_000);
    assert_eq!(heard(&line), "\"Late\"");
    assert_eq!(heard(&line), "");
    nothing_ran(child, &folder);
}

#[test]
fn without_their_order_keeper_and_stub_do_nothing() {
    for name in ["keeper", "stub"] {
        let output = Command::new(env!("CARGO_BIN_EXE_failover-gate")).arg(name).stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        assert_eq!((output.stdout, output.stderr), (vec![], vec![]));
    }
}
