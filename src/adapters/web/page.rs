//! The status page: one table, no script, readable on a phone. Everything in it is escaped by the template.

use askama::Template;

use crate::{
    domain::{Time, clock, start_word},
    runtime::status::{StandbyStatus, Status},
};

#[derive(Template)]
#[template(path = "status.html")]
pub(super) struct Page<'a> {
    pub(super) status: &'a Status,
}

impl Page<'_> {
    fn clock(&self, at: &Time) -> String {
        clock(*at)
    }

    fn lines(&self, standby: &StandbyStatus) -> Vec<String> {
        let progress = standby.progress.as_ref().map(|progress| progress.lines(self.status.at));
        let starting = standby.starting.as_deref().map(start_word);
        progress.unwrap_or_else(|| vec!["no report".into()]).into_iter().chain(starting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{InstanceRef, Rung, StuckKind, ValidatorId},
        runtime::status::{SignalStatus, StuckStatus, ValidatorStatus},
    };

    #[test]
    fn what_a_machine_reports_cannot_become_markup() {
        let (at, markup) = (Time::UNIX_EPOCH, || "<script>alert('x')&\"".to_owned());
        let signal =
            SignalStatus { source: markup(), evidence: markup(), verdict: markup(), for_seconds: 0, why: markup() };
        let standby = StandbyStatus {
            instance: InstanceRef { zone: markup().as_str().into(), name: markup().as_str().into(), id: 1 },
            rung: Rung { zone: "z".into(), machine_type: "t".into() },
            since: at,
            fuse_at: at,
            retained: false,
            simulated: true,
            progress: None,
            starting: Some(markup()),
            stuck: Some(StuckStatus { kind: StuckKind::StartUp, why: markup(), advice: markup() }),
            ready_at: None,
        };
        let validator = ValidatorStatus {
            name: ValidatorId::new("eth-0").unwrap(),
            phase: markup(),
            reason: markup(),
            signals: vec![signal],
            pause: None,
            incident: None,
            standby: Some(standby),
            mails_waiting: 0,
            mails_failed: 0,
        };
        let status = Status {
            site: markup(),
            at,
            mode: markup(),
            holds_lease: false,
            chain: markup(),
            validators: vec![validator],
            unreadable: vec![markup()],
            warnings: vec![markup()],
            webhook: None,
        };
        let page = Page { status: &status }.render().unwrap();
        assert!(!page.contains("script>") && !page.contains("alert('"), "{page}");
        assert_eq!(page.matches("&#60;script&#62;alert(&#39;x&#39;)&#38;&#34;").count(), 16, "{page}");
        assert!(page.contains("1970-01-01 00:00:00 UTC, seen by a process that waits for the lease"), "{page}");
    }
}
