//! How far a standby has come, for people and for metrics: the one form of it in status, mail and JSON.
//!
//! Everything here is a machine's own word, bounded and made printable. Nothing is decided from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ReportHistory, Span, Time, elapsed, human, one_line};

/// How many programs' versions are shown, and how much of each: a machine may send anything.
const VERSIONS: usize = 8;

/// How far a standby has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// What it is doing, in its own words.
    pub stage: String,
    /// As the watcher sees it over the last changes; `None` before there were two.
    pub percent_per_hour: Option<f64>,
    /// How long the sync will take, as the machine reckons.
    pub seconds_to_go: Option<u64>,
    /// When its last report moved, by the watcher's clock; `None` when it has not moved yet.
    pub reported_at: Option<Time>,
    /// Age of the head block when it reported.
    pub head_age_seconds: u64,
    pub peers: u32,
    /// How often its clients were started again since its boot.
    pub restarts: u32,
    /// How often it has booted again within the last day, as far as this watcher has seen.
    pub boots: usize,
    /// Free space of the disk with the chain's data.
    pub disk_free_percent: Option<u8>,
    pub memory_free_percent: Option<u8>,
    pub versions: BTreeMap<String, String>,
}

impl Progress {
    /// What a machine has reported, as of now.
    #[must_use]
    pub fn of(history: &ReportHistory, now: Time) -> Self {
        let report = &history.report;
        let versions = report.versions.iter().take(VERSIONS);
        Self {
            percent: report.progress_percent.min(100),
            stage: one_line(&report.stage, 80),
            percent_per_hour: history.percent_per_hour(),
            seconds_to_go: report.seconds_to_go,
            reported_at: history.moved_at,
            head_age_seconds: report.head_age_seconds,
            peers: report.peers,
            restarts: report.restarts,
            boots: history.boots_within(Span::from_hours(24), now),
            disk_free_percent: report.disk_free_percent.map(|percent| percent.min(100)),
            memory_free_percent: report.memory_free_percent.map(|percent| percent.min(100)),
            versions: versions.map(|(program, version)| (one_line(program, 40), one_line(version, 80))).collect(),
        }
    }

    /// In one line: "43 %, execution client: 18.2 of 21.9 M blocks, 2.1 %/h, 27h to go".
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} %", self.percent)];
        parts.extend((!self.stage.is_empty()).then(|| self.stage.clone()));
        parts.extend(self.percent_per_hour.filter(|_| self.percent < 100).map(|rate| format!("{rate:.1} %/h")));
        parts.extend(self.to_go().map(|span| format!("{} to go", human(span))));
        parts.join(", ")
    }

    /// How long it will take, as a span; a number that is no span is none.
    #[must_use]
    pub fn to_go(&self) -> Option<Span> {
        /// A year: whatever claims to take longer has not been reckoned.
        const LONGEST: u64 = 366 * 24 * 3600;
        let seconds = self.seconds_to_go.filter(|seconds| (1..=LONGEST).contains(seconds))?;
        i64::try_from(seconds).ok().map(Span::from_secs)
    }

    /// Everything, one fact a line, for mail.
    #[must_use]
    pub fn lines(&self, now: Time) -> Vec<String> {
        let mut lines = vec![self.line()];
        lines.push(self.reported_at.map_or_else(
            || "its report has not moved yet".to_owned(),
            |at| format!("it reported {} ago", human(elapsed(at, now))),
        ));
        lines.push(format!(
            "{} peers, its head was {} s old, {} restarts since its boot, {} boots recently",
            self.peers, self.head_age_seconds, self.restarts, self.boots
        ));
        let free = |what: &str, percent: u8| format!("{percent} % of its {what} is free");
        lines.extend(self.disk_free_percent.map(|percent| free("disk", percent)));
        lines.extend(self.memory_free_percent.map(|percent| free("memory", percent)));
        lines.extend(self.versions.iter().map(|(program, version)| format!("{program} {version}")));
        lines
    }
}
