//! What has happened, written down in the language of `failover simulate`, so that a failing case can be replayed.
//!
//! Where the language cannot say something exactly, the nearest statement stands there, with a comment.

use std::fmt::Write as _;

use failover::domain::{Mode, OtherChain, Policy, Report, Span, ValidatorId};

/// The genesis root of the simulated chain, and the name of the other one.
pub const ROOT: &str = "0x4b36";
pub const CHAIN: &str = "here-1";

#[derive(Clone, Debug, Default)]
pub struct Script {
    pub text: String,
    /// Something was said that the language cannot say.
    pub approximate: bool,
}

impl Script {
    pub fn new(validators: &[ValidatorId], policy: &Policy) -> Self {
        let mut script = Self::default();
        let names: Vec<String> = validators.iter().map(ToString::to_string).collect();
        script.write(&format!("validators {}", names.join(" ")));
        for (key, span) in [
            ("hold_down", policy.hold_down),
            ("healthy_delay", policy.healthy_delay),
            ("cooldown", policy.cooldown),
            ("ready_hold", policy.ready_hold),
            ("boot_deadline", policy.boot_deadline),
            ("stuck_after", policy.stuck_after),
            ("remind_every", policy.remind_every),
            ("standby_ttl", policy.standby_ttl),
            ("observe_every", policy.observe_every),
            ("recheck_every", policy.recheck_every),
        ] {
            script.write(&format!("policy {key} {}", time(span)));
        }
        script.write(&format!("policy mode {}", mode(policy.mode)));
        script.write(&format!("policy simulated {}", if policy.simulated { "yes" } else { "no" }));
        for (key, limit) in
            [("budget_per_incident", policy.budget_per_incident), ("budget_per_month", policy.budget_per_month)]
        {
            if let Some(limit) = limit {
                script.write(&format!("policy {key} {}", limit.0));
            }
        }
        for (id, chain) in &policy.other_chains {
            match chain {
                OtherChain::Probed => script.write(&format!("policy probed {id}")),
                OtherChain::Read { chain_id } => {
                    script.write(&format!("policy read {id} {}", chain_id.clone().unwrap_or_default()));
                }
            }
        }
        for priced in &policy.ladder {
            let price = priced.per_hour.map(|usd| usd.0.to_string()).unwrap_or_default();
            script.write(&format!("ladder {} {} {price}", priced.rung.zone, priced.rung.machine_type));
        }
        script
    }

    pub fn at(&mut self, at: Span, statement: &str) {
        self.write(&format!("{:<14} {statement}", time(at)));
    }

    /// What the language cannot say.
    pub fn note(&mut self, note: &str) {
        self.approximate = true;
        self.write(&format!("# {note}"));
    }

    pub fn write(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }
}

pub fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Armed => "armed",
        Mode::Observe => "observe",
    }
}

/// A span as scenarios write it, to the nanosecond: a wake-up comes right after a signal has gone stale.
pub fn time(span: Span) -> String {
    let sign = if span.is_negative() { "-" } else { "" };
    let (seconds, nanos) = (span.as_secs().unsigned_abs(), span.subsec_nanos().unsigned_abs());
    if nanos == 0 { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{nanos:09}s") }
}

/// One word of a scenario that is as near to this text as can be.
fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '#') { c } else { '_' };
    text.chars().map(plain).take(80).collect()
}

/// A text in double quotes.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '"' | '#') { '_' } else { c };
    format!("\"{}\"", text.chars().map(plain).take(80).collect::<String>())
}

/// A report as the language says it, and whether that is exact.
pub fn report(report: &Report, incident: &str) -> (String, bool) {
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let flag = |flag: bool| if flag { "yes" } else { "no" };
    let mut words = format!(
        "report boot={} counter={} progress={} head_age={} peers={} root={} offset={} restarts={} disk={}",
        word(&report.boot_id),
        limit(report.counter),
        report.progress_percent,
        limit(report.head_age_seconds),
        report.peers,
        word(&report.genesis_root),
        report.clock_offset_ms,
        report.restarts,
        report.disk_free_percent.unwrap_or_default()
    );
    let mut text = |key: &str, value: &str| {
        let _ = write!(words, " {key}={value}");
    };
    text("chain", &word(report.chain_id.as_deref().unwrap_or_default()));
    text("synced", flag(report.synced));
    text("signer", flag(report.signer_seen));
    if let Some(hidden) = &report.signer_hidden {
        text("hidden", &word(hidden));
    }
    if report.incident != incident {
        text("incident", &word(&report.incident));
    }
    let short = [&report.boot_id, &report.genesis_root, &report.stage].iter().all(|text| text.len() <= 80);
    let numbers = [report.counter, report.head_age_seconds].iter().all(|number| i64::try_from(*number).is_ok());
    (words, short && numbers)
}
