//! `failover grants`: who may sign, and every grant that led there.

use super::{ConfigPath, Exit, out};
use crate::{
    assembly,
    domain::{
        Owner, Time, human, one_line,
        ownership::{GrantLink, GrantPlace, OnLedgerLoss},
    },
    runtime::grants::{self, GrantChain, GrantRow},
};

/// As much of one line as is shown.
const LINE: usize = 300;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: failover grants eth-0

Ends with 0 when all is well, 1 when something does not verify, 2 when the ledger could not be read.")]
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
    let chain = async {
        let ledger = assembly::ledger_to_read(&config)?;
        anyhow::Ok(grants::chain(&*ledger, &assembly::grant_rules(&config), &validator, Time::now()).await?)
    };
    let chain = match chain.await {
        Ok(chain) => chain,
        Err(error) => {
            super::print(&error.context("the ledger could not be read"));
            return Ok(Exit::CouldNotLook);
        }
    };
    if options.json {
        out::json(&chain)?;
    } else {
        out::text(&show(&chain));
    }
    Ok(if chain.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn show(chain: &GrantChain) -> String {
    let mut lines = Vec::new();
    for row in &chain.grants {
        let mark = if row.in_force { '*' } else { ' ' };
        lines.push(format!("{mark} {}", one_line(&line(row), LINE)));
        lines.extend(
            row.broken.iter().chain(&row.problem).chain(&row.note).map(|why| format!("    -> {}", one_line(why, LINE))),
        );
    }
    if chain.grants.is_empty() {
        lines.push("there is no grant: home runs without a gate, or `failover adopt` makes the first one".to_owned());
    }
    if let Some(session) = &chain.session {
        let holder = session.holder.map_or_else(|| "free".to_owned(), |holder| format!("held by {holder}"));
        let unchanged = session.unchanged.map_or_else(String::new, |age| format!(", unchanged for {}", human(age)));
        let loss = match session.on_loss {
            OnLedgerLoss::Stop => "stops",
            OnLedgerLoss::Run => "continues",
        };
        lines.push(format!(
            "session: number {}, {holder}{unchanged}, {loss} when the ledger is lost, held {} of the last 7 days",
            session.number,
            human(session.held)
        ));
    }
    lines.push(match &chain.owner {
        Some(Owner::Unknown) => "who may sign: home, without a gate".to_owned(),
        Some(Owner::Home) => "who may sign: home".to_owned(),
        Some(Owner::Moving { number }) => format!("who may sign: nobody, a promotion to number {number} is under way"),
        Some(Owner::Cloud { instance, boot, .. }) => {
            format!("who may sign: the machine {}", one_line(&format!("{instance} in its boot {boot}"), LINE))
        }
        None => "who may sign: not known".to_owned(),
    });
    lines.extend(chain.problems.iter().map(|why| format!("PROBLEM  {}", one_line(why, LINE))));
    lines.join("\n") + "\n"
}

fn line(row: &GrantRow) -> String {
    let owner = match &row.owner {
        Some(GrantPlace::Home { site }) => format!("home ({site})"),
        Some(GrantPlace::Cloud { zone, instance_id, boot_id, .. }) => {
            format!("machine {instance_id} in {zone}, boot {boot_id}")
        }
        None => "?".to_owned(),
    };
    let link = match (&row.key, row.link) {
        (None, Some(GrantLink::First | GrantLink::Ok)) if row.note.is_some() => "signer not listed any more",
        (None, _) if row.note.is_none() => "SIGNATURE REFUSED",
        (_, Some(GrantLink::First)) => "first",
        (_, Some(GrantLink::Ok)) => "ok",
        (_, Some(GrantLink::MissingCopy)) => "COPY BEFORE IT MISSING",
        (_, Some(GrantLink::Broken) | None) => "CHAIN BROKEN",
    };
    let issued = row.issued_at.map_or_else(String::new, |at| format!("{at:.0}"));
    let key = row.key.as_deref().unwrap_or("-");
    format!("{:>4}  {owner}  {link}  by {} ({key})  {issued}  {}", row.number, row.by, row.reason)
}
