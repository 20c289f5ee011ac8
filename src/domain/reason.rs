//! why a validator is in its phase: data first, and one set of words for it everywhere.

use std::fmt;

use serde::Serialize;

use super::{
    Attention, Blocker, IncidentId, InstanceId, InstanceRef, Refusal, Rung, Span, Step, Stuck, Text, Time, Topic, Usd,
    Verdict, View, clock, human,
    promotion::{PromotionKind, PromotionState},
    remedy,
};

/// One reason. Its `Display` is what logs, mail, status and `simulate` show.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Well { views: Vec<View> },
    Waiting { views: Vec<View>, needs: usize },
    Holding { views: Vec<View>, left: Span },
    Vetoed { views: Vec<View> },
    Blocked { views: Vec<View>, block: Blocker },
    Opened { incident: IncidentId, by: Option<String>, cause: String },
    Looking { why: &'static str },
    Creating { rung: Rung, name: String },
    OutOfStock { rung: Rung, said: String },
    QuotaExceeded { rung: Rung, said: String },
    CloudRefused { said: String },
    OutcomeUnknown { said: String },
    Retrying { at: Time, what: &'static str, said: String },
    BeingMade { said: String, at: Time },
    KeepsFailing { step: Step, failures: u32, said: String },
    WorksAgain { step: Step },
    Adopted { instance: InstanceRef },
    NotReady { missing: Vec<String> },
    Ready { instance: InstanceRef },
    NoLongerReady { missing: Vec<String> },
    HoldingReady { left: Span },
    HoldBroken { missing: Vec<String> },
    UnusableReport { why: String },
    Starting { word: String },
    Rebooted { boots: usize },
    Stuck { stuck: Stuck, missing: Vec<String> },
    NoLongerStuck { stuck: Stuck },
    DisksLeft { left: String },
    NeverBooted { instance: InstanceRef, waited: Span },
    Abandoning { instance: InstanceRef },
    HomeIsBack { working_for: Span },
    RecoveryWaits { left: Span, process_seen: bool },
    Releasing { why: String },
    Deleting { instance: InstanceRef, why: &'static str },
    Closed { incident: IncidentId, how: String, cost: Option<Usd> },
    NeedsHuman { attention: Attention, gone: bool },
    AttentionOver { attention: Attention },
    DownAgain { incident: IncidentId },
    Frozen { keys: usize },
    MailRefused { topic: Topic, refusal: Refusal },
    NoticeDropped { topic: Topic, why: Text },
    Paused { until: Time, by: String, why: String },
    Resumed,
    RequestRefused { why: String },
    Late { what: String },
    Interrupted,
    SuspicionOver,
    Promotion { kind: PromotionKind, state: PromotionState, by: Text },
    CloudOwns { number: u64, instance: InstanceId, views: Vec<View> },
    Moving { number: u64, views: Vec<View> },
    MachineKept { instance: InstanceRef },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well { views } => write!(f, "watching: {}", Views(views)),
            Self::Waiting { views, needs } => write!(f, "waiting: {}; needs {needs}", Views(views)),
            Self::Holding { views, left } => write!(f, "holding for another {}: {}", human(*left), Views(views)),
            Self::Vetoed { views } => write!(f, "vetoed: still at work after the suspicion began: {}", Views(views)),
            Self::Blocked { views, block } => write!(f, "confirmed, but {block}: {}", Views(views)),
            Self::Opened { incident, by: None, cause } => write!(f, "incident {incident} confirmed: {cause}"),
            Self::Opened { incident, by: Some(by), cause } => write!(f, "incident {incident} opened by {by}: {cause}"),
            Self::Looking { why } => write!(f, "looking in every zone for machines of this incident: {why}"),
            Self::Creating { rung, name } => write!(f, "creating {name}: {rung}"),
            Self::OutOfStock { rung, said } => write!(f, "out of stock: {rung} ({said})"),
            Self::QuotaExceeded { rung, said } => {
                write!(f, "quota exceeded in {}: {said}; other zones of that region would fail as well", rung.region())
            }
            Self::CloudRefused { said } => write!(f, "the cloud refuses: {said}"),
            Self::OutcomeUnknown { said } => write!(f, "outcome unknown: {said}; looking before acting again"),
            Self::Retrying { at, what, said } => write!(f, "{what} failed ({said}); trying again at {}", clock(*at)),
            Self::BeingMade { said, at } => write!(f, "{said}; looking again at {}", clock(*at)),
            Self::KeepsFailing { step, failures, said } => {
                write!(f, "{} has failed {failures} times ({said}); what helps: {}", step.doing(), remedy(said))
            }
            Self::WorksAgain { step } => write!(f, "{} works again", step.doing()),
            Self::Adopted { instance } => write!(f, "the standby is {instance}"),
            Self::NotReady { missing } => write!(f, "syncing: {}", missing.join(", ")),
            Self::Ready { instance } => write!(f, "standby {instance} is ready"),
            Self::NoLongerReady { missing } => write!(f, "no longer ready: {}", missing.join(", ")),
            Self::HoldingReady { left } => {
                write!(f, "the standby has everything; it is called ready in {} if that lasts", human(*left))
            }
            Self::HoldBroken { missing } => {
                write!(f, "the standby lacks something again, its wait starts over: {}", missing.join(", "))
            }
            Self::UnusableReport { why } => write!(f, "report ignored: {why}"),
            Self::Starting { word } => write!(f, "the standby has booted; {}", start_word(word)),
            Self::Rebooted { boots } => write!(f, "the standby has booted again, {boots} times recently"),
            Self::Stuck { stuck, missing } => {
                let seen = stuck.to_string();
                write!(f, "stuck: {seen}; {}", stuck.kind().advice())?;
                // What was seen is often the very thing that is missing.
                let missing: Vec<&str> =
                    missing.iter().map(String::as_str).filter(|missing| !seen.contains(missing)).collect();
                if missing.is_empty() { Ok(()) } else { write!(f, "; {}", missing.join(", ")) }
            }
            Self::NoLongerStuck { stuck } => write!(f, "the standby continues; it was stuck because {stuck}"),
            Self::NeverBooted { instance, waited } => {
                write!(f, "{instance} has written nothing for {}: it has not booted", human(*waited))
            }
            Self::DisksLeft { left } => write!(f, "the machine is gone; look at what may be left: {left}"),
            Self::Abandoning { instance } => write!(f, "giving up {instance}, which never booted"),
            Self::HomeIsBack { working_for } => {
                write!(f, "home has been at work for {} and its process is seen", human(*working_for))
            }
            Self::RecoveryWaits { left, process_seen: true } => {
                write!(f, "home is at work again; releasing in {} if it continues", human(*left))
            }
            Self::RecoveryWaits { left: _, process_seen: false } => {
                f.write_str("somebody attests again, but home's own process is not seen: not released")
            }
            Self::Releasing { why } => write!(f, "releasing the standby: {why}"),
            Self::Deleting { instance, why } => write!(f, "deleting {instance}: {why}"),
            Self::Closed { incident, how, cost: Some(cost) } => {
                write!(f, "incident {incident} closed: {how}; it has cost about {cost}")
            }
            Self::Closed { incident, how, cost: None } => write!(f, "incident {incident} closed: {how}"),
            Self::NeedsHuman { attention, gone: false } => write!(f, "a human has to decide: {attention}"),
            Self::NeedsHuman { attention, gone: true } => {
                write!(f, "a human has to decide: {attention}; the standby is gone by now")
            }
            Self::AttentionOver { attention } => write!(f, "no longer: {attention}"),
            Self::DownAgain { incident } => {
                write!(f, "an outage is confirmed while incident {incident} is still open")
            }
            Self::Frozen { keys } => {
                write!(f, "{keys} of its keys are slashed: everything is frozen until somebody has looked")
            }
            Self::MailRefused { topic, refusal } => write!(f, "mail about {topic} waits: {refusal}"),
            Self::NoticeDropped { topic, why } => write!(f, "a notice about {topic} is dropped: {why}"),
            Self::Paused { until, by, why } => write!(f, "paused until {} by {by}: {why}", clock(*until)),
            Self::Resumed => f.write_str("the pause is over"),
            Self::RequestRefused { why } => write!(f, "request refused: {why}"),
            Self::Late { what } => write!(f, "ignored: {what} is late or repeated"),
            Self::Interrupted => f.write_str("observation was interrupted: every hold starts again"),
            Self::SuspicionOver => f.write_str("nothing says down any more"),
            Self::Promotion { kind, state, by } => {
                let noun = kind.noun();
                match state {
                    PromotionState::Open => write!(f, "{by} has opened a {noun}: its machines are left alone"),
                    PromotionState::Aborting => write!(f, "{by}'s {noun} is being taken back"),
                    PromotionState::Aborted => write!(f, "{by}'s {noun} was taken back"),
                    PromotionState::Done => write!(f, "{by}'s {noun} is done"),
                }
            }
            Self::CloudOwns { number, instance, views } => {
                write!(f, "the cloud owns its keys by grant {number} (machine {instance}): {}", Views(views))
            }
            Self::Moving { number, views } => {
                write!(f, "its keys are on their way, the session's number is {number}: {}", Views(views))
            }
            Self::MachineKept { instance } => {
                write!(f, "home owns its keys again; {instance} is its operator's alone from now on")
            }
        }
    }
}

/// "alert says down for 2m 10s, chain unknown because its node is 9 slots behind".
struct Views<'a>(&'a [View]);

impl fmt::Display for Views<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nothing has been observed yet");
        }
        for (index, view) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{view}")?;
        }
        Ok(())
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = human(Span::from_secs(self.for_seconds));
        match self.verdict {
            Verdict::Unknown => write!(f, "{} unknown because {}", self.source, self.why),
            Verdict::Down | Verdict::Partial | Verdict::Up => {
                write!(f, "{} says {} for {span} ({})", self.source, self.verdict, self.why)
            }
        }
    }
}

/// What a start-up script says, as people read it. It is a machine's word.
#[must_use]
pub fn start_word(word: &str) -> String {
    if word.is_empty() {
        return "its start-up script runs".into();
    }
    format!("its start-up script says: {word}")
}
