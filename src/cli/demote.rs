//! `failover demote`: ownership goes back home. The machine that is TERMINATED is the fence.

use super::{
    ConfigPath, Exit,
    carry::{CarryOptions, Wishes, carry},
    out::{self, complain},
    promote,
};
use crate::{
    domain::{
        Time,
        gates::{GatePass, GateReport, judge},
        visible_line,
    },
    promotion::PromotionWay,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover demote eth-0                       what it would do; nothing is changed
  failover demote eth-0 --execute --key ~/.ssh/id_ed25519_sk --reason 'home is repaired'
  failover demote eth-0 --resume --key …      continue after a crash, from any machine
  failover demote eth-0 --abort               leave it: the machine's boot has ended, `failover regrant` starts another

The machine stays, stopped and protected, since it may hold keys: delete it yourself when home signs.
Uses your own Google credentials. Ends with 0 when home may sign, 3 when it is refused.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    #[command(flatten)]
    carry: CarryOptions,
    #[command(flatten)]
    path: ConfigPath,
}

/// What is done, what it costs, how it is undone.
const STEPS: [[&str; 4]; 5] = [
    [
        "stop",
        "stop the machine and see it TERMINATED: nothing signs from then on",
        "THE CLOUD STOPS SIGNING",
        "--abort, then start it and `failover regrant`",
    ],
    ["gates", "look at the gates: two silent epochs prove the fence", "nobody signs meanwhile", "as before"],
    ["watermark", "note the slashing protection that home begins with", "nobody signs meanwhile", "as before"],
    ["sign", "sign a grant for home, over exactly the machine's", "one signature; home may sign", "failover promote"],
    ["home", "home's gate takes its session and starts", "nothing", "failover promote"],
];

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let validator = super::ask::known(&config, &options.validator)?;
    if let Some(way) = options.carry.way(PromotionWay::ToHome) {
        return carry(&config, &options.validator, way, &options.carry, Wishes::default()).await;
    }
    let evidence = promote::evidence(&config, &validator).await?;
    let report = judge(&evidence, GatePass::Home, &[], Time::now());
    if options.carry.json {
        let steps = STEPS.map(|[name, what, cost, undoing]| {
            serde_json::json!({ "name": name, "what": what, "cost": cost, "undoing": undoing })
        });
        out::json(&serde_json::json!({ "gates": report, "plan": steps }))?;
    } else {
        out::text(&show(validator.as_str(), &report));
        complain!("nothing was changed: --execute does it");
    }
    Ok(Exit::Refused)
}

fn show(validator: &str, report: &GateReport) -> String {
    let mut text = format!("demote {validator}: these gates have to pass after the machine has stopped\n\n");
    let blocking = report.blocking();
    for gate in &report.gates {
        let mark = if blocking.contains(&gate.id) { "not now" } else { "pass   " };
        text.push_str(&format!(
            "  {mark}  {} ({})\n           seen: {}\n",
            gate.name,
            gate.id,
            visible_line(&gate.evidence)
        ));
    }
    text.push_str("\nwhat would be done, each step once it is in the ledger's record:\n\n");
    for (number, [name, what, cost, undoing]) in (1..).zip(STEPS) {
        text.push_str(&format!("  {number}. {name}: {what}\n     cost: {cost}\n     undone by: {undoing}\n"));
    }
    text
}
