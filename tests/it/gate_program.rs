//! The program `failover-gate` from outside, without anything to start: `grants::program` has that.

use std::process::{Command, Output};

const GATE: &str = env!("CARGO_BIN_EXE_failover-gate");

fn gate(arguments: &[&str]) -> (Output, String, String) {
    let output = Command::new(GATE).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    (output, out, error)
}

#[test]
fn what_cannot_be_used_is_said_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("started");
    let state = folder.path().join("state");
    let (output, _, error) = gate(&[
        "run",
        "--validator",
        "eth-0",
        "--place",
        "home",
        "--chain",
        "test-1",
        "--allowed-signers",
        "/nowhere",
        "--state",
        state.to_str().unwrap(),
        "--ledger",
        "sqlite:/nowhere",
        "--",
        "touch",
        marker.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("--allowed-signers: /nowhere cannot be read"), "{error}");
    assert!(!marker.exists() && !state.exists());
    let (output, _, error) = gate(&["run", "--validator", "eth-0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("--allowed-signers <FILE>") && error.contains("<COMMAND>"), "{error}");
}

#[test]
fn a_copy_that_it_installs_is_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let (output, path, error) = gate(&["install", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{error}");
    assert_eq!(path.trim(), folder.path().join("failover-gate").to_str().unwrap());
    let version = Command::new(path.trim()).arg("--version").output().unwrap();
    assert_eq!(version.stdout, gate(&["--version"]).1.as_bytes());
    let (_, help, _) = gate(&["--help"]);
    assert!(help.contains("Examples:") && help.contains("failover-gate install /shared"), "{help}");
}
