//! What the agent on a standby says of itself. It is a hint from a machine that may lie: enough for progress and mail,
//! never the only evidence for anything that cannot be undone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::one_line;

/// Said where the age of a head is not known: older than anybody takes for fresh.
pub const UNKNOWN_HEAD_AGE_SECONDS: u64 = 366 * 24 * 3600;

/// As much as is kept of what a start-up script says in the guest attribute `failover/boot`.
pub const START_WORD: usize = 200;

/// One report, as it is in the guest attribute `failover/report`.
///
/// What a report does not say is read as *not known*: the fields without a default are those without which it says
/// nothing at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The incident it believes it serves; another one means a stale or foreign report.
    pub incident: String,
    pub boot_id: String,
    /// Grows with every report; a report is fresh when this changed by the *watcher's* clock.
    pub counter: u64,
    /// 0 to 100.
    pub progress_percent: u8,
    /// What it is doing, in a few words: "execution client: 18.2 of 21.9 M blocks".
    pub stage: String,
    /// How long that will take if it continues as it went; `None` while that cannot be told.
    #[serde(default)]
    pub seconds_to_go: Option<u64>,
    /// Consensus client synced (not syncing, within two slots of the clock); of another kind, its own health.
    pub synced: bool,
    pub optimistic: bool,
    pub head_age_seconds: u64,
    pub peers: u32,
    /// Genesis validators root of the chain it follows, `0x…`; empty when it is not known.
    pub genesis_root: String,
    /// The name of the chain it follows, where a chain has a name and no such root; `None` when it is not known.
    #[serde(default)]
    pub chain_id: Option<String>,
    /// Offset of its clock in milliseconds.
    pub clock_offset_ms: i64,
    /// A process that could sign was seen. Then the machine is untouchable.
    pub signer_seen: bool,
    /// What looks like one, in words: a process, a unit, an open port. Never the content of a file.
    #[serde(default)]
    pub signer: Option<String>,
    /// Why it could not look everywhere for one; `None` when it could. What cannot be ruled out counts as a signer for
    /// everything that cannot be undone, and is no reason to stop following the machine.
    #[serde(default)]
    pub signer_hidden: Option<String>,
    /// `playbooks/promoted.yml` has succeeded on it.
    #[serde(default)]
    pub promoted: bool,
    /// How often its clients were started again since the boot, as systemd counts.
    #[serde(default)]
    pub restarts: u32,
    /// Free space of the disk with the chain's data, 0 to 100.
    #[serde(default)]
    pub disk_free_percent: Option<u8>,
    /// Memory that is available, 0 to 100.
    #[serde(default)]
    pub memory_free_percent: Option<u8>,
    /// Versions as the programs say them, by program.
    #[serde(default)]
    pub versions: BTreeMap<String, String>,
    /// Of a promoted machine: what keeps its gate from running the client, in words; `None` while it runs. It begins with
    /// `needs regrant` when the grant that came is for another boot.
    #[serde(default)]
    pub gate: Option<String>,
}

/// What a machine has written where its report belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// Nothing, ever: it has not booted, or not yet.
    #[default]
    Nothing,
    /// What its start-up script does, in the script's own words and in [`START_WORD`] characters at most: it has
    /// booted, and its agent has not reported yet.
    Starting(String),
    /// Something that is no report, and why. It has booted all the same.
    Unreadable(String),
    Report(Box<Report>),
}

impl Written {
    /// A start-up script's word, made fit to be shown; one that has nothing to show has still been written.
    #[must_use]
    pub fn starting(word: &str) -> Self {
        let line = word.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Self::Starting(one_line(line, START_WORD))
    }

    /// The report, if it is one.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Report(report) => Some(report),
            Self::Nothing | Self::Starting(_) | Self::Unreadable(_) => None,
        }
    }
}

impl From<Report> for Written {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}

#[cfg(test)]
mod tests {
    use super::{START_WORD, Written};

    #[test]
    fn a_start_up_scripts_word_is_one_short_line_and_an_empty_one_is_still_a_word() {
        let Written::Starting(word) = Written::starting(&format!("\n fetching\u{1b}[2J {}\nmore", "x".repeat(500)))
        else {
            panic!("a word is a word")
        };
        assert!(word.starts_with("fetching [2J xxx") && word.chars().count() == START_WORD, "{word}");
        assert_eq!(Written::starting("\u{200b}\n"), Written::Starting(String::new()));
    }
}
