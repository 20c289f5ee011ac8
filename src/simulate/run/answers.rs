//! What the cloud and a standby answer, as a scenario writes it, turned into the outcome of an action.
//!
//! It judges nothing: an answer that does not fit what was asked is given all the same, and the machine has to bear it.

use std::collections::BTreeMap;

use super::{GENESIS_ROOT, Simulation};
use crate::{
    domain::{
        Action, ActionId, CreateOutcome, InstanceRef, Machine, Outcome, Report, Role, Seen, ValidatorId, Written,
    },
    simulate::{ListedMachine, ScriptedAnswer, Wrote},
};

impl Simulation<'_> {
    /// How the action under way has ended.
    pub(super) fn outcome(
        &mut self,
        validator: &ValidatorId,
        id: ActionId,
        action: &Action,
        answer: &ScriptedAnswer,
    ) -> Outcome {
        let said = || "as the scenario says".to_owned();
        match answer {
            ScriptedAnswer::Found(listed) => {
                Outcome::Found(self.machines_of(validator, &id.incident.to_string(), listed))
            }
            ScriptedAnswer::Created | ScriptedAnswer::Exists => {
                // a machine of this name that exists already is the one made last.
                self.machines += u64::from(matches!(answer, ScriptedAnswer::Created));
                let zone = match action {
                    Action::Create(spec) => spec.rung.zone.clone(),
                    Action::Find
                    | Action::Observe(_)
                    | Action::Delete(_)
                    | Action::Abandon(_)
                    | Action::Reclaim(_)
                    | Action::Console(_)
                    | Action::Disks => "nowhere".into(),
                };
                let name = crate::domain::machine_name(validator, id.incident);
                // The number that `found` gives to its first machine from now on.
                Outcome::Created(CreateOutcome::Created(InstanceRef { zone, name, id: self.machines.into() }))
            }
            ScriptedAnswer::OutOfStock => Outcome::Created(CreateOutcome::OutOfStock(said())),
            ScriptedAnswer::Quota => Outcome::Created(CreateOutcome::QuotaExceeded(said())),
            ScriptedAnswer::RefusedHere => Outcome::Created(CreateOutcome::RefusedHere(said())),
            ScriptedAnswer::Refused => Outcome::Created(CreateOutcome::Refused(said())),
            ScriptedAnswer::FoundWithout(words, listed) => Outcome::FoundWithout {
                machines: self.machines_of(validator, &id.incident.to_string(), listed),
                unseen_zones: words.iter().take(1).flat_map(|zones| zones.split(',')).map(str::to_owned).collect(),
                why: said(),
            },
            ScriptedAnswer::Busy => Outcome::Created(CreateOutcome::Busy(said())),
            ScriptedAnswer::Unknown => Outcome::Created(CreateOutcome::Unknown(said())),
            ScriptedAnswer::Seen { state, role, written } => Outcome::Observed(Some(Seen {
                state: *state,
                role: *role,
                deletion_protection: *role != Role::Standby,
                written: match written {
                    Wrote::Nothing => Written::Nothing,
                    Wrote::Starting(word) => Written::starting(word),
                    Wrote::Unreadable => Written::Unreadable(said()),
                    Wrote::Report(fields) => agent_report(fields, id).into(),
                },
            })),
            ScriptedAnswer::Gone => Outcome::Observed(None),
            ScriptedAnswer::Deleted => Outcome::Deleted,
            ScriptedAnswer::Untouchable => Outcome::Untouchable(said()),
            ScriptedAnswer::Failed => Outcome::Failed(said()),
            ScriptedAnswer::Console(text) => Outcome::Console(text.clone()),
            ScriptedAnswer::Disks(left) => Outcome::Disks(left.clone()),
        }
    }

    /// A list; what names no incident is of this one.
    pub(super) fn machines_of(&self, validator: &ValidatorId, open: &str, listed: &[ListedMachine]) -> Vec<Machine> {
        let rung = self.policy.ladder.first().map(|priced| priced.rung.clone());
        let zone = rung.as_ref().map_or_else(|| "nowhere".to_owned(), |rung| rung.zone.clone());
        let machine = |(listed, next): (&ListedMachine, u64)| {
            let incident = listed.incident.clone().unwrap_or_else(|| open.to_owned());
            let (zone, id) = (zone.clone(), listed.id.unwrap_or(next));
            Machine {
                instance: InstanceRef { zone, name: format!("fo-{validator}-{incident}"), id: id.into() },
                validator: validator.to_string(),
                incident,
                ledger: String::new(),
                role: listed.role,
                state: listed.state,
                deletion_protection: listed.role != Role::Standby,
                machine_type: rung.as_ref().map_or_else(String::new, |rung| rung.machine_type.clone()),
                created_at: Some(self.now),
            }
        };
        listed.iter().zip(self.machines..).map(machine).collect()
    }
}

fn agent_report(fields: &BTreeMap<String, String>, id: ActionId) -> Report {
    let text = |key: &str, usual: &str| fields.get(key).cloned().unwrap_or_else(|| usual.to_owned());
    let number = |key: &str, usual: i64| fields.get(key).and_then(|value| value.parse().ok()).unwrap_or(usual);
    Report {
        incident: text("incident", &id.incident.to_string()),
        boot_id: text("boot", "first"),
        counter: number("counter", 1).unsigned_abs(),
        progress_percent: u8::try_from(number("progress", 100)).unwrap_or(100),
        stage: text("stage", "synced"),
        synced: text("synced", "yes") == "yes",
        optimistic: text("optimistic", "no") == "yes",
        head_age_seconds: number("head_age", 6).unsigned_abs(),
        peers: u32::try_from(number("peers", 50)).unwrap_or_default(),
        genesis_root: text("root", GENESIS_ROOT),
        chain_id: fields.get("chain").cloned(),
        clock_offset_ms: number("offset", 3),
        signer_seen: text("signer", "no") == "yes",
        signer_hidden: fields.get("hidden").cloned(),
        gate: fields.get("gate").cloned(),
        restarts: u32::try_from(number("restarts", 0)).unwrap_or_default(),
        disk_free_percent: Some(u8::try_from(number("disk", 60)).unwrap_or_default()),
        ..Report::default()
    }
}
