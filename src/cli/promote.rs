//! `failover promote`: shows every gate with its evidence, and refuses.
//!
//! There is no way around it in this version: the fence at home, without which two signers could be active, is not
//! there yet.

use super::{ConfigPath, Exit, out};
use crate::{
    assembly,
    config::Config,
    domain::{
        Time, ValidatorId,
        gates::{Gate, GateEvidence, GateState, gates},
        visible_line,
    },
    ports::{Machines as _, Scope},
    runtime::store,
    sources::chain,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: failover promote eth-0

Ends with 3: it refuses until it has proof that two signers cannot be active.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let validator = super::ask::known(&config, &options.validator)?;
    let evidence = gather(&config, &validator).await?;
    let gates = gates(&evidence, Time::now());
    if options.json {
        out::json(&gates)?;
    } else {
        out::text(&show(&validator, &gates));
    }
    Ok(Exit::Refused)
}

/// The gates as people read them.
pub(crate) fn show(validator: &ValidatorId, gates: &[Gate]) -> String {
    let mut text = format!("promote {validator}: every gate has to pass\n\n");
    for gate in gates {
        let mark = match gate.state {
            GateState::Pass => "pass       ",
            GateState::Fail => "FAIL       ",
            GateState::Unknown => "unknown    ",
            GateState::NotChecked => "not checked",
        };
        text.push_str(&format!("  {mark}  {}\n               seen: {}\n", gate.name, visible_line(&gate.evidence)));
        if !gate.next.is_empty() {
            text.push_str(&format!("               next: {}\n", visible_line(gate.next)));
        }
    }
    let open = gates.iter().filter(|gate| gate.state != GateState::Pass).count();
    text.push_str(&format!(
        "\nrefused: {open} of {} gates are not passed. Nothing was changed.\n\
         Two signers at once are slashed; a validator that is offline loses a few cents an hour.\n",
        gates.len()
    ));
    text
}

async fn gather(config: &Config, validator: &ValidatorId) -> anyhow::Result<GateEvidence> {
    let mut evidence = chain::chain_evidence(config, validator).await;
    if let Ok(ledger) = assembly::ledger_to_read(config)
        && let Ok(found) = store::read(&*ledger, validator).await
    {
        let record = found.map(|(_, envelope)| envelope.validator).unwrap_or_default();
        if let Some(incident) = record.incident() {
            evidence.silent_epochs = chain::silent_epochs(&*ledger, validator, incident.opened_at).await;
        }
        evidence.record = Some(record);
    }
    evidence.clock_offset = assembly::cloud::clock_offset(config).await.ok();
    if let Some(cloud) = assembly::cloud::operators_cloud(config).await? {
        evidence.machines = cloud.find(&Scope::Validator(validator.clone())).await.ok();
        if let Some(standby) = evidence.record.as_ref().and_then(|record| record.standby()) {
            evidence.report =
                cloud.observe(&standby.instance).await.ok().flatten().and_then(|seen| seen.written.report().cloned());
        }
    }
    Ok(evidence)
}
