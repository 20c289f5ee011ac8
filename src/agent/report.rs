//! A report as it leaves the machine: bounded, without control characters, with a counter that only grows.
//!
//! It decides nothing; what is in it was found out elsewhere.

use std::time::Duration;

use crate::domain::{Report, brief, one_line};

/// A guest attribute may have 256 KiB; nobody needs that for progress.
pub const MAX_BYTES: usize = 8 << 10;
/// Said where the clock could not be compared: a day, which nobody takes for right.
pub const UNKNOWN_CLOCK_OFFSET_MS: i64 = 24 * 3600 * 1000;

const MAX_STAGE: usize = 200;
const MAX_SIGNER: usize = 400;
const MAX_GATE: usize = 400;
const MAX_VERSIONS: usize = 8;

/// Counts reports. It starts at the machine's uptime and never runs behind it, so an agent that is started again
/// continues above what it said before, without a file to remember it in.
#[derive(Debug, Default)]
pub struct Counter(u64);

impl Counter {
    pub fn next(&mut self, uptime: Duration) -> u64 {
        let uptime = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        self.0 = self.0.saturating_add(1).max(uptime);
        self.0
    }
}

/// The report's bytes, at most [`MAX_BYTES`].
#[must_use]
pub fn bytes(report: &Report) -> Vec<u8> {
    let report = bounded(report);
    let written = |report: &Report| serde_json::to_vec(report).expect("a report has no key that is not a text");
    let bytes = written(&report);
    if bytes.len() <= MAX_BYTES {
        return bytes;
    }
    // Only texts full of characters that are written as several bytes come to this.
    written(&Report {
        stage: brief(&report.stage),
        signer: report.signer.map(|signer| brief(&signer)),
        signer_hidden: report.signer_hidden.map(|hidden| brief(&hidden)),
        gate: report.gate.map(|gate| brief(&gate)),
        versions: std::collections::BTreeMap::new(),
        ..report
    })
}

/// The report with every text short and printable.
#[must_use]
pub fn bounded(report: &Report) -> Report {
    let versions = report.versions.iter().take(MAX_VERSIONS);
    Report {
        incident: name(&report.incident),
        boot_id: name(&report.boot_id),
        stage: one_line(&report.stage, MAX_STAGE),
        genesis_root: name(&report.genesis_root),
        chain_id: report.chain_id.as_deref().map(name),
        signer: report.signer.as_ref().map(|signer| one_line(signer, MAX_SIGNER)),
        signer_hidden: report.signer_hidden.as_ref().map(|hidden| one_line(hidden, MAX_SIGNER)),
        gate: report.gate.as_ref().map(|gate| one_line(gate, MAX_GATE)),
        versions: versions.map(|(of, version)| (brief(of), brief(version))).collect(),
        ..report.clone()
    }
}

/// A text that the watcher compares with one of its own: made plain it must not become one that fits.
fn name(text: &str) -> String {
    let plain = brief(text);
    if plain == text || plain.ends_with('…') { plain } else { format!("{plain}…") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_agent_that_is_started_again_counts_on_above_what_it_said() {
        let mut before = Counter::default();
        let mut last = 0;
        // Reports that come faster than the uptime's resolution still differ.
        for uptime in [5.00, 5.00, 5.00, 5.01, 6.0, 36.0] {
            let next = before.next(Duration::from_secs_f64(uptime));
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        assert!(Counter::default().next(Duration::from_secs_f64(36.5)) > last);
    }

    #[test]
    fn control_characters_do_not_leave_the_machine_and_long_texts_say_that_they_were_cut() {
        let report = Report { stage: format!("a\u{1b}[31m\nb\u{0}{}", "x".repeat(500)), ..Report::default() };
        let stage = bounded(&report).stage;
        assert!(stage.starts_with("a [31m b x") && stage.ends_with('…') && stage.chars().count() == 200, "{stage}");
        let short = Report { stage: "synced".into(), ..Report::default() };
        assert_eq!(bounded(&short), short);
    }

    #[test]
    fn what_is_compared_does_not_become_another_name_by_being_made_plain() {
        let chain = |id: &str| bounded(&Report { chain_id: Some(id.into()), ..Report::default() }).chain_id;
        for other in ["mainnet\u{200b}", " mainnet", "mainnet\n", "main\u{ad}net"] {
            assert_eq!(chain(other).as_deref(), Some("mainnet…"));
        }
        assert_eq!(chain("mainnet").as_deref(), Some("mainnet"));
    }

    proptest! {
        #[test]
        fn whatever_the_programs_say_a_report_fits_and_can_be_read(
            stage in ".{0,600}", signer in prop::option::of("[\"\\\\\u{1F600}]{0,900}"),
            signer_hidden in prop::option::of("[\"\\\\\u{1F600}]{0,900}"),
            gate in prop::option::of("[\"\\\\\u{1F600}]{0,900}"), root in "\\PC{0,300}",
            versions in prop::collection::btree_map(".{0,200}", "[\"\\\\\u{1F600}]{0,300}", 0..20),
        ) {
            let known = Report { stage, signer, signer_hidden, gate, ..Report::default() };
            let report = Report { genesis_root: root, versions, ..known };
            let bytes = bytes(&report);
            prop_assert!(bytes.len() <= MAX_BYTES);
            let read: Report = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read.signer.is_some(), report.signer.is_some());
            prop_assert_eq!(read.signer_hidden.is_some(), report.signer_hidden.is_some());
            prop_assert_eq!(read.gate.is_some(), report.gate.is_some());
            prop_assert!(!read.stage.chars().any(char::is_control));
        }
    }
}
