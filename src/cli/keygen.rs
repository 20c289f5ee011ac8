//! `ssh-keygen`, which holds the operator's key in our place: by file, by agent, or by a hardware key.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::{out::complain, signing::MOST};
use crate::{
    domain::{
        one_line,
        ownership::{NAMESPACE, SshKey},
    },
    files,
};

/// A signature for this purpose is no grant, nor anything else.
const TRIAL: &str = "failover-trial";

const MISSING: &str = "ssh-keygen cannot be started: install openssh-client";

/// Of a key by its file, its public half, or the file beside it with `.pub`, as allowed_signers knows it. Nothing is asked.
pub(super) fn fingerprint(key: &Path) -> anyhow::Result<String> {
    let name = key.display();
    let mut command = Command::new("ssh-keygen");
    let ended = run(command.args(["-l", "-E", "sha256", "-f"]).arg(key), &[])?;
    if !ended.is_good {
        bail!("{name} cannot be read as a key ({}): name your key's file, or its public half", ended.said);
    }
    let mut found = ended.out.lines().filter_map(|line| line.split_whitespace().nth(1));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.to_owned()),
        (Some(_), Some(_)) => bail!("{name} has several keys: name the file of your own one"),
        (None, _) => bail!("ssh-keygen does not say whose key {name} is: name another file"),
    }
}

/// One signature of throw-away bytes, for another purpose.
///
/// # Errors
/// Why the key would not sign.
pub(super) fn try_out(key: &Path, public: &SshKey) -> anyhow::Result<()> {
    let name = key.display();
    if public.kind().starts_with("sk-") {
        complain!("{name} is a hardware key, so it is not tried out: be there to touch it when the waiting ends");
        return Ok(());
    }
    let mut command = Command::new("ssh-keygen");
    // No passphrase is asked for here: it would be again, hours later.
    command.env("SSH_ASKPASS_REQUIRE", "force").env("SSH_ASKPASS", "false");
    let ended = run(command.args(["-q", "-Y", "sign", "-n", TRIAL, "-f"]).arg(key), b"a trial")?;
    if ended.is_good {
        return Ok(());
    }
    if ended.said.contains("passphrase") {
        complain!("{name} has a passphrase, so it is not tried out: it is asked for when the waiting ends");
        return Ok(());
    }
    bail!("{name} does not sign ({}), so nothing was changed: load it into your agent, or name another key", ended.said)
}

/// The operator's terminal is the child's: it asks there for a passphrase, a PIN or a touch.
pub(super) fn sign(key: &Path, bytes: &[u8]) -> anyhow::Result<String> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().context(MISSING)?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(bytes));
    let signature = child.stdout.take().map(|stdout| files::read_text_from(stdout, MOST));
    let status = child.wait().context("ssh-keygen")?;
    if !status.success() {
        bail!("ssh-keygen has not signed with {} ({status}): see above; nothing was signed", key.display());
    }
    written.transpose().context("ssh-keygen does not read what it has to sign")?;
    signature.transpose().context("ssh-keygen does not write a signature")?.context("ssh-keygen has no output")
}

struct Ended {
    is_good: bool,
    out: String,
    /// What it complains about, as one line.
    said: String,
}

/// Without a terminal's question: all that it says is taken.
fn run(command: &mut Command, bytes: &[u8]) -> anyhow::Result<Ended> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(MISSING)?;
    // It may end without having read them.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(bytes));
    let (out, said) = (child.stdout.take(), child.stderr.take());
    let out = out.map(|out| files::read_text_from(out, MOST)).transpose().context("ssh-keygen")?.unwrap_or_default();
    let said =
        said.map(|said| files::read_text_from(said, MOST)).transpose().context("ssh-keygen")?.unwrap_or_default();
    let status = child.wait().context("ssh-keygen")?;
    Ok(Ended { is_good: status.success(), out, said: one_line(&said, 300) })
}
