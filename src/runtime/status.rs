//! What everybody may see: one struct for the table, the page, `--json` and the metrics.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::{
    ChainHealth, CloudTrouble, DroppedNotice, IncidentId, InstanceRef, Live, Machine, MachineState, MachineWatch,
    MailFault, Mode, Outgoing, Owner, Policy, PricedRung, Progress, Reason, Rung, Source, Step, StuckKind, Subject,
    Time, TimeExt, Usd, Validator, ValidatorId, Verdict, View, World, explain, promotion::PromotionState, remedy,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub site: String,
    pub at: Time,
    pub mode: String,
    /// Whether the process that answers decides and acts. When not, the phases are the ledger's, and the signals its
    /// own or not known to it.
    pub holds_lease: bool,
    pub chain: String,
    pub validators: Vec<ValidatorStatus>,
    /// Records that could not be read, and why. They are left as they are and nothing is done about them.
    pub unreadable: Vec<String>,
    pub warnings: Vec<String>,
    /// What has come to the webhook of the process that answers; nothing when it takes no alerts.
    #[serde(default)]
    pub webhook: Option<WebhookStatus>,
}

/// What has come to a webhook since its process was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WebhookStatus {
    /// When this process began to listen: nothing that came before is counted.
    pub since: Time,
    /// Alerts, each time, but no test alerts.
    pub received: u64,
    pub last_watchdog_at: Option<Time>,
    /// The last test alerts of `failover check`.
    pub tests: Vec<TestArrival>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestArrival {
    pub id: Uuid,
    pub at: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ValidatorStatus {
    pub name: ValidatorId,
    pub phase: String,
    /// Why it is there, in the words used everywhere.
    pub reason: String,
    /// What each source says, as of now.
    pub signals: Vec<SignalStatus>,
    /// Which place may sign, by the verified grant; nothing where there is none.
    #[serde(default)]
    pub owner: Option<OwnerStatus>,
    /// The promotion or demotion that is open.
    #[serde(default)]
    pub promotion: Option<PromotionStatus>,
    /// Machines that were promoted once and own nothing any more, as the last list shows them: they may hold keys.
    #[serde(default)]
    pub kept: Vec<KeptStatus>,
    pub pause: Option<String>,
    pub incident: Option<IncidentStatus>,
    pub standby: Option<StandbyStatus>,
    /// What was asked of the cloud and has failed each time since it last worked.
    #[serde(default)]
    pub troubles: Vec<TroubleStatus>,
    /// Notices that wait for the mail server.
    pub mails_waiting: usize,
    /// Those of them that wait until somebody mends something, here or at the server.
    pub mails_failed: usize,
    /// What keeps the mail that waits: the server's words, and the remedy.
    pub mail_obstacle: Option<MailObstacle>,
    /// Copies of notices that nobody will get, since the record began.
    pub notices_dropped: u64,
    /// Which was dropped last, when and why.
    pub last_dropped: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OwnerStatus {
    /// `home`, `moving` or `cloud`.
    pub place: String,
    /// Of the grant in force.
    pub grant: Option<u64>,
    /// The machine, if the cloud owns.
    pub machine: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromotionStatus {
    /// `promotion` or `demotion`.
    pub kind: String,
    pub aborting: bool,
    pub machine: InstanceRef,
    pub by: String,
    pub opened_at: Time,
    /// What was begun last.
    pub step: Option<String>,
    /// When that is over, as it has announced.
    pub due_at: Time,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptStatus {
    pub instance: InstanceRef,
    pub runs: bool,
    /// Of its disks in a month, or of all of it in an hour while it runs.
    pub cost: Option<Usd>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MailObstacle {
    pub recipient: String,
    pub fault: MailFault,
    pub why: String,
    pub remedy: String,
}

impl ValidatorStatus {
    /// What its gate does if that is not to run the process, or why that is not known.
    #[must_use]
    pub fn gate_line(&self) -> Option<String> {
        let is_it = |it: &&SignalStatus| it.source == Source::Gate.to_string() && it.verdict != Verdict::Up.to_string();
        self.signals.iter().find(is_it).map(|it| format!("its gate: {}", it.why))
    }

    /// Which place may sign, what is under way, and which machines may hold keys.
    #[must_use]
    pub fn owner_lines(&self) -> Vec<String> {
        let grant = |owner: &OwnerStatus| owner.grant.map_or_else(String::new, |grant| format!(" by grant {grant}"));
        let owner = self.owner.iter().map(|owner| match &owner.machine {
            Some(machine) => format!("owner: {}{}, the machine {machine}", owner.place, grant(owner)),
            None => format!("owner: {}{}", owner.place, grant(owner)),
        });
        let promotion = self.promotion.iter().map(|it| {
            let (kind, by, machine, due) = (&it.kind, &it.by, &it.machine, crate::domain::clock(it.due_at));
            let state = if it.aborting { "being taken back" } else { "open" };
            let step = it.step.as_deref().unwrap_or("none yet");
            format!("a {kind} of {machine} is {state}, by {by}: last step {step}, due {due}")
        });
        let kept = self.kept.iter().map(|kept| {
            let cost = match (kept.cost, kept.runs) {
                (Some(usd), true) => format!("{usd} an hour"),
                (Some(usd), false) => format!("{usd} a month for its disks"),
                (None, _) => "its cost is not known".to_owned(),
            };
            let state = if kept.runs { "IT RUNS" } else { "stopped" };
            format!("kept: {}, {state}, it may hold keys, {cost}, expires never", kept.instance)
        });
        owner.chain(promotion).chain(kept).collect()
    }

    /// What people have to know about its mail, if anything.
    #[must_use]
    pub fn mail_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.mails_waiting > 0 {
            let obstacle = self
                .mail_obstacle
                .as_ref()
                .map_or_else(String::new, |it| format!(": {}: {}; {}", it.recipient, it.why, it.remedy));
            let (waiting, refused) = (self.mails_waiting, self.mails_failed);
            lines.push(format!("{waiting} notices wait for the mail server, {refused} of them are refused{obstacle}"));
        }
        if let Some(last) = &self.last_dropped {
            lines.push(format!("{} copies of notices were dropped, the last one {last}", self.notices_dropped));
        }
        lines
    }
}

/// What the cloud does not do, with its last answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TroubleStatus {
    /// "creating a standby"
    pub what: String,
    /// Tries in a row.
    pub failures: u32,
    pub since: Time,
    /// The place it came from first, where there is one.
    pub answer: String,
    pub remedy: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignalStatus {
    pub source: String,
    pub evidence: String,
    pub verdict: String,
    /// For how long, in seconds.
    pub for_seconds: i64,
    pub why: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IncidentStatus {
    pub id: IncidentId,
    pub opened_at: Time,
    pub cause: String,
    /// What it may cost until its limit.
    pub estimate: Option<Usd>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StandbyStatus {
    pub instance: InstanceRef,
    pub rung: Rung,
    pub since: Time,
    /// When it stops itself; never, once it was promoted.
    pub expires_at: Option<Time>,
    pub retained: bool,
    /// It follows no chain: its start-up bundle is a placeholder.
    pub simulated: bool,
    /// How far it has come, as it reports; `None` while it has not.
    pub progress: Option<Progress>,
    /// What its start-up script said last; `None` once it has reported.
    pub starting: Option<String>,
    /// What keeps it from ever becoming ready, if anything does.
    pub stuck: Option<StuckStatus>,
    /// When it is called ready, if it continues having everything until then.
    pub ready_at: Option<Time>,
}

/// Why a standby makes no progress.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StuckStatus {
    pub kind: StuckKind,
    pub why: String,
    pub advice: String,
}

/// Everything about the world as of now.
#[must_use]
pub fn of_world(world: &World, site: &str, policy: &Policy, now: Time) -> Status {
    let validators = world
        .iter()
        .map(|(id, subject)| of_subject(id, subject, explain(world, id, now, policy), policy, now))
        .collect();
    let chain = match world.chain.health {
        ChainHealth::Finalising => "finalising".to_owned(),
        ChainHealth::NotFinalising { epochs } => format!("not finalising for {epochs} epochs"),
        ChainHealth::Unknown => "unknown".to_owned(),
    };
    Status {
        site: site.to_owned(),
        at: now,
        mode: mode(policy.mode),
        holds_lease: true,
        chain,
        validators,
        unreadable: Vec::new(),
        warnings: Vec::new(),
        webhook: None,
    }
}

#[must_use]
pub fn mode(mode: Mode) -> String {
    match mode {
        Mode::Observe => "observe".into(),
        Mode::Armed => "armed".into(),
    }
}

/// One validator as the ledger alone shows it: signals are not known then.
#[must_use]
pub fn of_record(id: &ValidatorId, record: &Validator, policy: &Policy, now: Time) -> ValidatorStatus {
    let subject = Subject { record: record.clone(), live: crate::domain::Live::default() };
    of_subject(id, &subject, None, policy, now)
}

fn of_subject(
    id: &ValidatorId,
    subject: &Subject,
    reason: Option<Reason>,
    policy: &Policy,
    now: Time,
) -> ValidatorStatus {
    let record = &subject.record;
    let live = &subject.live;
    let machine = live.machine.as_deref();
    let obstacles = || record.outbox.iter().filter_map(Outgoing::obstacle);
    let dropped =
        |last: &DroppedNotice| format!("at {}, about {}: {}", crate::domain::clock(last.at), last.topic, last.why);
    ValidatorStatus {
        name: id.clone(),
        phase: record.phase().to_string(),
        reason: reason.map_or_else(
            || "signals are not known here: ask the watcher that holds the lease".to_owned(),
            |reason| reason.to_string(),
        ),
        signals: subject.live.signals.views(now).iter().map(of_view).collect(),
        owner: of_owner(record),
        promotion: record.open_promotion().map(|open| PromotionStatus {
            kind: open.kind.noun().to_owned(),
            aborting: open.state == PromotionState::Aborting,
            machine: open.instance.clone(),
            by: open.by.to_string(),
            opened_at: open.opened_at,
            step: open.step.map(|step| <&str>::from(step).to_owned()),
            due_at: open.due_at,
        }),
        kept: of_kept(record, live, policy),
        pause: record
            .paused_at(now)
            .map(|pause| format!("until {} by {}: {}", crate::domain::clock(pause.until), pause.by, pause.reason)),
        incident: record.incident().map(|incident| IncidentStatus {
            id: incident.id,
            opened_at: incident.opened_at,
            cause: incident.cause.clone(),
            estimate: incident.estimate,
        }),
        standby: record.standby().map(|standby| StandbyStatus {
            instance: standby.instance.clone(),
            rung: standby.rung.clone(),
            since: standby.since,
            expires_at: (!is_promoted(record, &standby.instance)).then(|| policy.expires_at(standby.since)),
            retained: machine.is_some_and(MachineWatch::is_kept),
            simulated: policy.simulated,
            progress: live.report().map(|history| Progress::of(history, now)),
            starting: machine.and_then(|machine| machine.boot_status.clone()),
            stuck: machine.and_then(|machine| machine.stuck.as_ref()).map(|stuck| StuckStatus {
                kind: stuck.kind(),
                why: stuck.to_string(),
                advice: stuck.kind().advice().to_owned(),
            }),
            ready_at: machine.and_then(|machine| machine.complete_since).map(|since| since.plus(policy.ready_hold)),
        }),
        troubles: live.troubles.iter().map(|(step, trouble)| of_trouble(*step, trouble)).collect(),
        mails_waiting: record.outbox.len(),
        mails_failed: obstacles()
            .filter(|refusal| !matches!(refusal.fault, MailFault::Passing | MailFault::Unsure))
            .count(),
        mail_obstacle: obstacles().max_by_key(|refusal| refusal.fault).map(|refusal| MailObstacle {
            recipient: refusal.recipient.clone(),
            fault: refusal.fault,
            why: refusal.why.to_string(),
            remedy: refusal.remedy.to_string(),
        }),
        notices_dropped: record.dropped.count,
        last_dropped: record.dropped.last.as_ref().map(dropped),
    }
}

fn of_owner(record: &Validator) -> Option<OwnerStatus> {
    let named = |place: &str, grant, machine| Some(OwnerStatus { place: place.to_owned(), grant, machine });
    match &record.owner {
        Owner::Unknown => None,
        Owner::Home => named("home", record.grant, None),
        Owner::Moving { .. } => named("moving", record.grant, None),
        Owner::Cloud { number, instance, .. } => {
            let standby = record.standby().map(|standby| &standby.instance);
            let known = standby.into_iter().chain(record.promotion.as_ref().map(|promotion| &promotion.instance));
            let machine = known.into_iter().find(|known| known.id == *instance);
            named("cloud", Some(*number), Some(machine.map_or_else(|| instance.to_string(), ToString::to_string)))
        }
    }
}

/// Its run limit is cleared by a promotion.
fn is_promoted(record: &Validator, instance: &InstanceRef) -> bool {
    let Some(promotion) = &record.promotion else { return false };
    record.is_owner(&instance.id) || promotion.promoted.contains(&instance.id)
}

fn of_kept(record: &Validator, live: &Live, policy: &Policy) -> Vec<KeptStatus> {
    let kept = live.promoted.iter().flatten().filter(|machine| record.is_kept(&machine.instance.id));
    let status = |machine: &Machine| {
        let runs = !matches!(machine.state, MachineState::Stopped);
        let is_it = |priced: &&PricedRung| {
            priced.rung.zone == machine.instance.zone && priced.rung.machine_type == machine.machine_type
        };
        let priced = policy.ladder.iter().find(is_it);
        let cost = priced.and_then(|priced| if runs { priced.per_hour } else { priced.stopped_per_month });
        KeptStatus { instance: machine.instance.clone(), runs, cost }
    };
    kept.map(status).collect()
}

fn of_trouble(step: Step, trouble: &CloudTrouble) -> TroubleStatus {
    TroubleStatus {
        what: step.doing().to_owned(),
        failures: trouble.failures,
        since: trouble.since,
        answer: trouble.answer.clone(),
        remedy: remedy(&trouble.answer).to_owned(),
    }
}

fn of_view(view: &View) -> SignalStatus {
    SignalStatus {
        source: view.source.to_string(),
        evidence: format!("{:?}", view.evidence).to_lowercase(),
        verdict: view.verdict.to_string(),
        for_seconds: view.for_seconds,
        why: view.why.to_string(),
    }
}

#[cfg(test)]
impl Status {
    /// One with everything that a status can have, and this text wherever there is one.
    pub(crate) fn saying(text: &str) -> Self {
        let (at, text) = (Time::UNIX_EPOCH, || text.to_owned());
        let (zone, name, machine_type) = (text().as_str().into(), text().as_str().into(), text().as_str().into());
        let progress = Progress {
            percent: 7,
            stage: text(),
            percent_per_hour: None,
            seconds_to_go: None,
            reported_at: None,
            head_age_seconds: 1,
            peers: 1,
            restarts: 0,
            boots: 1,
            disk_free_percent: None,
            memory_free_percent: None,
            versions: [("beacon node".to_owned(), text()), (text(), text())].into(),
        };
        let standby = StandbyStatus {
            instance: crate::domain::InstanceRef { zone, name, id: 1.into() },
            rung: Rung { zone: "z".into(), machine_type },
            since: at,
            expires_at: Some(at),
            retained: false,
            simulated: true,
            progress: Some(progress),
            starting: Some(text()),
            stuck: Some(StuckStatus { kind: StuckKind::StartUp, why: text(), advice: text() }),
            ready_at: None,
        };
        let incident = IncidentStatus {
            id: IncidentId::try_from("1a2b3c4d".to_owned()).expect("eight digits"),
            opened_at: at,
            cause: text(),
            estimate: None,
        };
        let signal = SignalStatus { source: text(), evidence: text(), verdict: text(), for_seconds: 0, why: text() };
        let validator = ValidatorStatus {
            name: ValidatorId::new("eth-0").expect("a name"),
            phase: text(),
            reason: text(),
            signals: vec![signal],
            owner: Some(OwnerStatus { place: text(), grant: Some(1), machine: Some(text()) }),
            promotion: Some(PromotionStatus {
                kind: text(),
                aborting: false,
                machine: standby.instance.clone(),
                by: text(),
                opened_at: at,
                step: Some(text()),
                due_at: at,
            }),
            kept: vec![KeptStatus { instance: standby.instance.clone(), runs: false, cost: None }],
            pause: Some(text()),
            incident: Some(incident),
            standby: Some(standby),
            troubles: vec![TroubleStatus { what: text(), failures: 1, since: at, answer: text(), remedy: text() }],
            mails_waiting: 1,
            mails_failed: 1,
            mail_obstacle: Some(MailObstacle {
                recipient: text(),
                fault: MailFault::Setting,
                why: text(),
                remedy: text(),
            }),
            notices_dropped: 1,
            last_dropped: Some(text()),
        };
        Self {
            site: text(),
            at,
            mode: text(),
            holds_lease: false,
            chain: text(),
            validators: vec![validator],
            unreadable: vec![text()],
            warnings: vec![text()],
            webhook: None,
        }
    }
}
