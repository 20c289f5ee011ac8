//! `failover promote`: shows every gate with its evidence in both passes, and what would be done; carried out, taken up again
//! or taken back in `carry`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::bail;
use strum::IntoEnumIterator as _;

use super::{
    ConfigPath, Exit,
    carry::{CarryOptions, Wishes, carry},
    out,
};
use crate::{
    assembly,
    config::{Config, ValidatorSettings},
    domain::{
        Machine, MachinePower, MachineShape, MachineState, Report, Role, Time, ValidatorId,
        gates::{GateEvidence, GateName, GatePass, GateReport, GateState, judge},
        ownership::{OwnershipView, VerifiedGrant},
        promotion::{
            EffectWords, MachineFacts, NotedOverride, PromotionEffect, PromotionEnd, PromotionFacts, PromotionOrder,
        },
        visible_line,
    },
    promotion::{
        PromotionWay,
        evidence::{EvidenceSources, OperatorsMachines},
    },
    runtime::grants,
    sources::chain,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  failover promote eth-0                      every gate and every step; nothing is changed
  failover promote eth-0 --execute --key ~/.ssh/id_ed25519_sk --reason 'home burnt down'
  failover promote eth-0 --resume --key …     continue after a crash, from any machine
  failover promote eth-0 --abort              take it back; a signature only where home was stopped
  failover promote eth-0 --execute --until start --key … --reason 'a drill'    then --abort
  failover promote eth-0 --resume --print grant.json      sign on another machine, then --resume --signed grant.json
  ssh … curl -s http://127.0.0.1:8081/metrics | failover promote eth-0 --check-keys -      after the keys were moved

It refuses until it has proof that two signers cannot be active. Every step is in the ledger before it is done.
Uses your own Google credentials. Ends with 0 when it is done or the keys are yours to move, 3 when it is refused.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    /// Pass over this gate, where that is allowed. Several times for several.
    #[arg(long = "override", value_name = "GATE", requires = "reason")]
    overrides: Vec<GateName>,
    /// End after this step, for a drill; then take it back with --abort.
    #[arg(long, value_name = "STEP", value_parser = step, requires = "execute")]
    until: Option<PromotionEffect>,
    /// How home is physically prevented from coming back, in your words. It stands in for the session's age, and is in the
    /// grant.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new(), conflicts_with = "abort")]
    statement: Option<String>,
    /// Write the watermark into this file as well: public data, for the machine's validator client.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Only compare the keys that the validator client's metrics name with the configured ones, and with the chain: a page
    /// of them in this file, or `-`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["execute", "resume", "abort"])]
    check_keys: Option<PathBuf>,
    #[command(flatten)]
    carry: CarryOptions,
    #[command(flatten)]
    path: ConfigPath,
}

fn step(name: &str) -> Result<PromotionEffect, String> {
    let known = |effect: &PromotionEffect| <&str>::from(effect);
    PromotionEffect::iter().find(|effect| known(effect) == name).ok_or_else(|| {
        let names: Vec<_> = PromotionEffect::iter().map(|effect| known(&effect)).collect();
        format!("no step is called so; there are {}", names.join(", "))
    })
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    if let Some(never) = options.overrides.iter().find(|gate| !gate.may_be_overridden()) {
        bail!("nothing passes over the gate {never}: it stands between two signers");
    }
    let config = options.path.load(false)?;
    let validator = super::ask::known(&config, &options.validator)?;
    if let Some(page) = &options.check_keys {
        return super::check_keys::run(&config, &validator, page, options.carry.json).await;
    }
    let reason = options.carry.sign.reason().unwrap_or_default().to_owned();
    let overrides = options.overrides.iter().map(|gate| NotedOverride { gate: *gate, reason: reason.clone() });
    let overrides: Vec<_> = overrides.collect();
    if let Some(way) = options.carry.way(PromotionWay::ToCloud) {
        let (until, statement, save) = (options.until, options.statement, options.save);
        let wishes = Wishes { until, statement, overrides, save };
        return carry(&config, &options.validator, way, &options.carry, wishes).await;
    }
    let gathered = gather(&config, &validator).await?;
    let known = config.validators.iter().find(|it| it.name == validator);
    let order = PromotionOrder {
        validator,
        by: String::new(),
        reason,
        until: None,
        statement: options.statement,
        overrides,
        signs_nothing: known.is_some_and(|it| !it.signs),
        forges: known.is_some_and(ValidatorSettings::forges),
    };
    let now = Time::now();
    let passes = [GatePass::First, GatePass::Second].map(|pass| judge(&gathered.evidence, pass, &order.overrides, now));
    let (plan, end) = gathered.plan(&order, now);
    if options.carry.json {
        let end = end.as_ref().map(ToString::to_string);
        out::json(&serde_json::json!({ "passes": passes, "plan": plan, "ends": end }))?;
    } else {
        out::text(&show(&order.validator, &passes, &plan, end.as_ref()));
    }
    Ok(if passes[1].blocking().is_empty() { Exit::Done } else { Exit::Refused })
}

/// For the gates, as they are at this moment.
pub(super) async fn evidence(config: &Config, validator: &ValidatorId) -> anyhow::Result<GateEvidence> {
    Ok(gather(config, validator).await?.evidence)
}

/// Gates and plan as people read them.
fn show(validator: &ValidatorId, passes: &[GateReport; 2], plan: &[EffectWords], end: Option<&PromotionEnd>) -> String {
    let [first, second] = passes;
    let mut text =
        format!("promote {validator}: every gate has to pass, before anything is done and before the signature\n\n");
    for (before, gate) in first.gates.iter().zip(&second.gates) {
        let mark = match gate.state {
            GateState::Pass => "pass       ",
            GateState::Fail => "FAIL       ",
            GateState::Unknown => "unknown    ",
            GateState::NotChecked => "not checked",
            GateState::NotYet => "not yet    ",
            GateState::Overridden => "overridden ",
        };
        let (id, name) = (gate.id, gate.name);
        text.push_str(&format!("  {mark}  {name} ({id})\n               seen: {}\n", visible_line(&gate.evidence)));
        if before.state == GateState::NotYet && gate.state != GateState::Pass {
            text.push_str("               not yet: the raise and the wait bring it about\n");
        }
        if !gate.next.is_empty() {
            text.push_str(&format!("               next: {}\n", visible_line(gate.next)));
        }
    }
    text.push_str("\nwhat would be done, each step once it is in the ledger's record:\n\n");
    for (number, step) in plan.iter().enumerate() {
        let EffectWords { name, what, cost, undoing } = step;
        let number = number + 1;
        text.push_str(&format!("  {number:2}. {name}: {what}\n      cost: {cost}\n      undone by: {undoing}\n"));
    }
    text.push_str(&format!("\nthe commands for the keys: failover runbook {validator} --promote\n"));
    if let Some(end) = end {
        text.push_str(&format!("  it would end there: {}\n", visible_line(&end.to_string())));
    }
    if second.blocking().is_empty() {
        text.push_str("\nevery gate passes. Nothing was changed: --execute does it.\n");
        return text;
    }
    text.push_str(&format!(
        "\nrefused: {} of {} gates are not passed, {} of them before anything is done. Nothing was changed.\n\
         Two signers at once are slashed; a validator that is offline loses a few cents an hour.\n",
        second.blocking().len(),
        second.gates.len(),
        first.blocking().len(),
    ));
    text
}

/// What was read for both.
struct Gathered {
    evidence: GateEvidence,
    view: OwnershipView,
    /// How long the session has not changed, by the store.
    unchanged: Duration,
    machine: Option<MachineFacts>,
}

impl Gathered {
    fn plan(&self, order: &PromotionOrder, now: Time) -> (Vec<EffectWords>, Option<PromotionEnd>) {
        let grant = self.view.grant.as_ref().ok().and_then(Option::as_ref);
        PromotionFacts {
            order,
            record: self.view.promotion.as_ref().ok().and_then(Option::as_ref),
            grant: grant.map(VerifiedGrant::grant),
            session: self.view.session.as_ref().ok().and_then(Option::as_ref),
            unchanged: self.unchanged,
            machine: self.machine.as_ref(),
            watermark: None,
            gates: None,
            duty_since: None,
            now,
            raw: Duration::ZERO,
            fresh: uuid::Uuid::new_v4(),
        }
        .plan()
    }
}

async fn gather(config: &Config, validator: &ValidatorId) -> anyhow::Result<Gathered> {
    let unread = || Err("the ledger could not be read".to_owned());
    let mut view = OwnershipView { grant: unread(), session: Ok(None), promotion: Ok(None) };
    let Ok(ledger) = assembly::ledger_to_read(config) else {
        let evidence = chain::chain_evidence(config, validator).await;
        return Ok(Gathered { evidence, view, unchanged: Duration::ZERO, machine: None });
    };
    if let Ok(read) = grants::view(&*ledger, &assembly::grant_rules(config), validator).await {
        view = read;
    }
    let gce = assembly::cloud::operators_cloud(config).await?;
    let cloud = gce.as_deref().map(|gce| OperatorsMachines { machines: gce, shapes: gce });
    let evidence = EvidenceSources::new(config, validator, &*ledger, cloud).gates(&view).await;
    let unchanged = evidence.fence.as_ref().map(|fence| fence.silent).unwrap_or_default();
    let standby = evidence.record.as_ref().and_then(|record| record.standby());
    let seen =
        evidence.machines.iter().flatten().find(|it| standby.is_some_and(|standby| standby.instance == it.instance));
    let machine = seen.map(|machine| facts(machine, evidence.report.as_ref()));
    Ok(Gathered { evidence, view, unchanged, machine })
}

/// A standby as the watcher made it, unless its labels or its name say something else.
fn facts(machine: &Machine, report: Option<&Report>) -> MachineFacts {
    let ready = |report: &&Report| report.synced && !report.optimistic;
    let is_standby = machine.role == Role::Standby;
    let shape = MachineShape {
        name: machine.instance.name.clone(),
        power: match machine.state {
            MachineState::Running => MachinePower::Running,
            MachineState::Starting | MachineState::Stopping => MachinePower::Changing,
            MachineState::Stopped => MachinePower::Terminated,
        },
        deletion_protection: machine.deletion_protection,
        run_limit: None,
        auto_delete: BTreeMap::new(),
        role: None,
        ssh_tag: false,
        metadata: BTreeMap::new(),
    };
    MachineFacts {
        instance: machine.instance.clone(),
        shape,
        state: machine.state,
        is_terminated: machine.state == MachineState::Stopped,
        is_protected: machine.deletion_protection,
        is_permanent: !is_standby,
        is_temporary: is_standby,
        is_renamed: machine.instance.name.starts_with("kept-"),
        start_refused: false,
        reported_boot: report.map(|report| report.boot_id.clone()),
        ready_boot: report.filter(ready).map(|report| report.boot_id.clone()),
        watermark: None,
        grant: None,
    }
}
