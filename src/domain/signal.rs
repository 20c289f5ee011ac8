//! Signals: one source's opinion of one validator, and how long it may be believed.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Time;

/// An opinion. *Unknown* is neither down nor safe: it never opens an incident and never satisfies a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It works.
    Up,
    /// Some of its keys are silent.
    Partial,
    /// It does not work.
    Down,
    /// The source cannot say.
    Unknown,
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Alertmanager.
    Alert,
    /// The Kubernetes API.
    Kube,
    /// The chain itself.
    Chain,
    /// The validator process's own port, probed. It can say *up* or nothing.
    Process,
    /// A node of kind `generic`, asked at its own ports. It has no beacon nodes, so this is what shows it at work.
    Probe,
    /// The gate that starts the process, by its own port. It rests on what the process's port rests on.
    Gate,
    /// Whether home's watcher is seen, by a witness. It can say *down* or nothing: a watcher that runs shows no work.
    Site,
}

/// What an opinion rests on. Two opinions that rest on the same evidence are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The machine: node exporter, a ping, a switch port.
    Host,
    /// What the cluster says: kube-state-metrics, the API server.
    Kube,
    /// What the chain shows: missed attestations, the beacon node's validator monitor.
    Chain,
    /// What the process says of itself: its metrics endpoint, `up`.
    Process,
}

/// The interval an opinion speaks about; it may end long before the opinion arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Its start.
    pub from: Time,
    /// Its end.
    pub to: Time,
}

/// One opinion, received once. It goes stale to *unknown* by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The opinion.
    pub verdict: Verdict,
    /// What it rests on.
    pub evidence: Evidence,
    /// What time it speaks about.
    pub about: Interval,
    /// After this moment it is *unknown*.
    pub fresh_until: Time,
    /// In an operator's words, to stand after "because" or "says down: ", for example "its node is 9 slots behind" or
    /// "silent in epoch 812, 30 of 32 others live".
    pub why: Arc<str>,
}

impl Reading {
    /// The verdict as of now: *unknown* once stale.
    #[must_use]
    pub fn verdict_at(&self, now: Time) -> Verdict {
        if now > self.fresh_until { Verdict::Unknown } else { self.verdict }
    }

    /// A source that cannot say, and why. It needs no refreshing: not knowing does not go stale.
    #[must_use]
    pub fn unknown(evidence: Evidence, now: Time, why: impl Into<Arc<str>>) -> Self {
        let why = why.into();
        Self { verdict: Verdict::Unknown, evidence, about: Interval { from: now, to: now }, fresh_until: now, why }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Partial => "partial",
            Self::Down => "down",
            Self::Unknown => "unknown",
        })
    }
}

impl Source {
    /// Whether its *up* shows the validator at work, and not only that something runs: a veto against an incident, and
    /// what ends one.
    #[must_use]
    pub fn shows_work(self) -> bool {
        match self {
            Self::Chain | Self::Probe => true,
            Self::Alert | Self::Kube | Self::Process | Self::Gate | Self::Site => false,
        }
    }

    /// Whether its *down* counts. A process port that does not answer may be a firewall; a gate says it itself.
    #[must_use]
    pub fn says_down(self) -> bool {
        match self {
            Self::Alert | Self::Kube | Self::Chain | Self::Probe | Self::Gate | Self::Site => true,
            Self::Process => false,
        }
    }

    /// Whether its *up* is about home's own process. The chain's is not: anybody may sign.
    #[must_use]
    pub fn shows_process(self) -> bool {
        match self {
            Self::Kube | Self::Process | Self::Probe | Self::Gate => true,
            Self::Alert | Self::Chain | Self::Site => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => "alert",
            Self::Kube => "kube",
            Self::Chain => "chain",
            Self::Process => "process",
            Self::Gate => "gate",
            Self::Probe => "probe",
            Self::Site => "site",
        })
    }
}
