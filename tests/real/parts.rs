//! Where the real parts are, as their installer says.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of one part.
pub fn part(name: &str) -> PathBuf {
    let installer = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/install.sh");
    let output = Command::new(installer).args(["--path", name]).stderr(Stdio::inherit()).output();
    let output = output.expect("tests/parts/install.sh can be run");
    assert!(output.status.success(), "{name} is not installed; run `make test-real`");
    Path::new(String::from_utf8(output.stdout).unwrap().trim()).to_owned()
}
