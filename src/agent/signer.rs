//! What on this machine looks as if it could sign: judged by processes, units and open ports. It reads nothing itself,
//! and it is no proof of the opposite.
//!
//! "None seen" means exactly that. A key file is neither opened nor looked for, not even by its name: no program of
//! this project can name one (invariant 1), so a folder full of keystores that nothing has started is not seen here. A
//! program that hides its name is not seen either. What could not be looked at is said apart: for as long as it lasts,
//! the machine is neither ready nor deleted.

mod programs;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

/// What was found on the machine, without a judgement.
#[derive(Clone, Debug, Default)]
pub struct SignerFacts {
    pub processes: Vec<RunningProcess>,
    /// Names of the units that are installed by hand or by a role.
    pub units: BTreeSet<String>,
    /// TCP ports that are listened on.
    pub ports: BTreeSet<u16>,
    /// Why it could not be looked everywhere; empty when it could.
    pub hidden: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningProcess {
    /// Its command line; empty for one of the kernel, or one that has ended.
    pub arguments: Vec<String>,
    /// The name the kernel knows it by.
    pub name: String,
    /// The systemd unit it belongs to.
    pub unit: Option<String>,
}

/// Ports by which signers are known, each in its program's default configuration. 9000 is none of them: web3signer
/// listens there, but so does every lighthouse beacon node for its peers. 5052 and 8081 are shared in the same way.
const PORTS: [(u16, &str); 9] = [
    (3600, "charon's validator API"),
    (3610, "charon's peers"),
    (3620, "charon's monitoring"),
    (5062, "a validator client's key manager"),
    (5064, "the metrics of lighthouse's validator client"),
    (7500, "prysm's validator client"),
    (13001, "the peers of an SSV node"),
    (13141, "dirk"),
    (26659, "a remote signer of CometBFT"),
];

/// Words of which one, as a part of a unit's name, says that it signs.
const UNIT_PARTS: [&str; 10] =
    ["vc", "web3signer", "vouch", "dirk", "charon", "ssv", "ssvnode", "tmkms", "horcrux", "clef"];

/// More than this in one sentence helps nobody.
const MAX_SAID: usize = 4;

/// What a look at signers came to, each in words and `None` when there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    pub seen: Option<String>,
    /// What keeps it from being known that nothing else could.
    pub hidden: Option<String>,
}

impl Signs {
    /// Both together, this one first.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { seen: join(self.seen, other.seen), hidden: join(self.hidden, other.hidden) }
    }
}

fn join(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(format!("{one}; {other}")),
        (one, other) => one.or(other),
    }
}

/// What could sign here, and what could not be looked at.
#[must_use]
pub fn find(facts: &SignerFacts) -> Signs {
    let mut seen: Vec<String> = facts.processes.iter().filter_map(of_process).collect();
    let running = facts.processes.iter().filter_map(|process| process.unit.as_ref());
    let units: BTreeMap<&String, bool> =
        facts.units.iter().map(|unit| (unit, false)).chain(running.map(|unit| (unit, true))).collect();
    let units = units.into_iter().filter(|(unit, _)| is_signers_unit(unit));
    seen.extend(units.map(|(unit, runs)| format!("unit {unit}{}", if runs { "" } else { ", installed" })));
    let ports = PORTS.iter().filter(|(port, _)| facts.ports.contains(port));
    seen.extend(ports.map(|(port, whose)| format!("port {port} is open ({whose})")));
    Signs { seen: sentence(seen), hidden: sentence(facts.hidden.clone()) }
}

/// Each once, and not too many of them.
fn sentence(said: Vec<String>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in said {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        return None;
    }
    let more = parts.len().saturating_sub(MAX_SAID);
    parts.truncate(MAX_SAID);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!("{}{more}", parts.join("; ")))
}

/// Only the program and its role are said. Arguments are never repeated: they may hold a path or a token.
fn of_process(process: &RunningProcess) -> Option<String> {
    let sign = programs::signs(process)?;
    Some(match &process.unit {
        Some(unit) => format!("process {sign} of {unit}"),
        None => format!("process {sign}"),
    })
}

/// What the units of gates are called, before the validator's name. A gate signs nothing; the client that it has started is
/// seen as a process.
pub const GATE_UNIT: &str = "failover-gate-";

fn is_signers_unit(unit: &str) -> bool {
    if unit.starts_with(GATE_UNIT) {
        return false;
    }
    let name = unit.trim_end_matches(".service").to_ascii_lowercase();
    // Guides call it eth-validator, lighthousevalidator, prysm-validator@1 and so on.
    ["validator", "kes-agent", "commit-boost-signer"].iter().any(|part| name.contains(part))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| UNIT_PARTS.contains(&part))
}
