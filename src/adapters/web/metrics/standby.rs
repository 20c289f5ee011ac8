//! Gauges of the standbys: what each reports of itself, and whether it is stuck.
//!
//! A machine's own word, shown and alerted on; nothing is decided from it.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use strum::IntoEnumIterator as _;

use super::Of;
use crate::{domain::StuckKind, runtime::status::StandbyStatus};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReportTrouble {
    validator: String,
    kind: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Program {
    validator: String,
    program: String,
    version: String,
}

const PROGRAMS: [&str; 3] = ["failover", "beacon node", "execution client"];

type Gauges = Family<Of, Gauge>;

#[derive(Default)]
pub(super) struct Standbys {
    progress: Gauges,
    rate: Family<Of, Gauge<f64, AtomicU64>>,
    to_go: Gauges,
    reported: Family<Of, Gauge<f64, AtomicU64>>,
    head_age: Gauges,
    peers: Gauges,
    restarts: Gauges,
    disk_free: Gauges,
    memory_free: Gauges,
    stuck: Family<ReportTrouble, Gauge>,
    versions: Family<Program, Gauge>,
}

impl Standbys {
    /// Takes one standby in. What it does not say is left out rather than shown as nought.
    pub(super) fn take(&self, validator: &str, standby: &StandbyStatus) {
        let of = || Of { validator: validator.to_owned() };
        // An alert on `== 1` needs the zeros as well, to know that it is over.
        for kind in StuckKind::iter() {
            let trouble = ReportTrouble { validator: validator.to_owned(), kind: kind.name().to_owned() };
            let is = standby.stuck.as_ref().is_some_and(|stuck| stuck.kind == kind);
            self.stuck.get_or_create(&trouble).set(i64::from(is));
        }
        let Some(progress) = &standby.progress else { return };
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.progress.get_or_create(&of()).set(i64::from(progress.percent));
        self.head_age.get_or_create(&of()).set(number(progress.head_age_seconds));
        self.peers.get_or_create(&of()).set(i64::from(progress.peers));
        self.restarts.get_or_create(&of()).set(i64::from(progress.restarts));
        if let Some(rate) = progress.percent_per_hour {
            self.rate.get_or_create(&of()).set(rate);
        }
        if let Some(to_go) = progress.to_go() {
            self.to_go.get_or_create(&of()).set(to_go.as_secs());
        }
        if let Some(at) = progress.reported_at {
            self.reported.get_or_create(&of()).set(at.as_second() as f64);
        }
        for (gauges, percent) in
            [(&self.disk_free, progress.disk_free_percent), (&self.memory_free, progress.memory_free_percent)]
        {
            if let Some(percent) = percent {
                gauges.get_or_create(&of()).set(i64::from(percent));
            }
        }
        // Whatever a machine makes up, it is a series for each that is known, and no more.
        for (program, version) in progress.versions.iter().filter(|(name, _)| PROGRAMS.contains(&name.as_str())) {
            let (program, version) = (program.clone(), version.clone());
            self.versions.get_or_create(&Program { validator: validator.to_owned(), program, version }).set(1);
        }
    }

    pub(super) fn register(self, registry: &mut Registry) {
        registry.register("standby_progress_percent", "What the standby reports", self.progress);
        registry.register("standby_percent_per_hour", "How fast it goes on, as the watcher sees it", self.rate);
        registry.register_with_unit("standby_to_go", "How long it will take, as it reckons", Unit::Seconds, self.to_go);
        registry.register_with_unit(
            "standby_report_timestamp",
            "When its report last moved",
            Unit::Seconds,
            self.reported,
        );
        registry.register_with_unit("standby_head_age", "How old its head was", Unit::Seconds, self.head_age);
        registry.register("standby_peers", "Consensus peers, as it reports", self.peers);
        registry.register("standby_restarts", "Starts of its clients after the first, since its boot", self.restarts);
        registry.register("standby_disk_free_percent", "Free space of the disk with its chain's data", self.disk_free);
        registry.register("standby_memory_free_percent", "Memory that is available on it", self.memory_free);
        registry.register("standby_stuck", "1 for what keeps it from ever becoming ready", self.stuck);
        registry.register("standby_version", "1 for the version of a program, as it reports", self.versions);
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::{
        domain::{InstanceRef, Progress, Report, ReportHistory, Rung, Time},
        runtime::status::StuckStatus,
    };

    fn shown(report: Report, stuck: Option<StuckKind>) -> String {
        let now = Time::UNIX_EPOCH;
        let standby = StandbyStatus {
            instance: InstanceRef { zone: "z".into(), name: "m".into(), id: 1.into() },
            rung: Rung { zone: "z".into(), machine_type: "t".into() },
            since: now,
            expires_at: Some(now),
            retained: false,
            simulated: false,
            progress: Some(Progress::of(&ReportHistory::first(report, now), now)),
            starting: None,
            stuck: stuck.map(|kind| StuckStatus { kind, why: String::new(), advice: String::new() }),
            ready_at: None,
        };
        let standbys = Standbys::default();
        standbys.take("eth-0", &standby);
        let mut registry = Registry::default();
        standbys.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn a_machine_makes_up_no_series_of_its_own() {
        let made_up = (0..50).map(|number| (format!("a{number}"), "1".to_owned()));
        // They come before the known ones, as a machine may choose.
        let known = PROGRAMS.map(|program| (program.to_owned(), "v1".to_owned()));
        let few = Report { versions: made_up.clone().take(4).chain(known).collect(), ..Report::default() };
        let series = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| line.starts_with("standby_version{"));
            lines.map(str::to_owned).collect()
        };
        let text = shown(few, None);
        assert_eq!(series(&text).len(), PROGRAMS.len(), "{text}");
        for program in PROGRAMS {
            assert!(text.contains(&format!("program=\"{program}\",version=\"v1\"")), "{text}");
        }
        let text = shown(Report { versions: made_up.collect(), ..Report::default() }, None);
        assert_eq!(series(&text), Vec::<String>::new());
    }

    #[test]
    fn what_it_is_stuck_in_is_one_and_every_other_kind_is_nought() {
        let text = shown(Report::default(), Some(StuckKind::StartUp));
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("standby_stuck{")).collect();
        assert_eq!(lines.len(), StuckKind::iter().count());
        let ones: Vec<_> = lines.into_iter().filter(|line| line.ends_with(" 1")).collect();
        assert!(ones.len() == 1 && ones[0].contains("start_up"), "{ones:?}");
    }
}
