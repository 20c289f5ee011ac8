//! `failover regrant`: the next boot of the machine that signs in the cloud.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail};

use super::{
    ConfigPath, Exit,
    out::{complain, save, say},
    signing::{Desk, SignOptions},
};
use crate::{
    assembly,
    config::Config,
    domain::{
        InstanceId, InstanceRef, LedgerKey, ValidatorId,
        ownership::{Grant, GrantPlace, RegrantError, regrant},
    },
    ports::{Machines, Scope},
    runtime::{
        executor::{FRESH_EVERY, Fresh, fresh_report},
        grants::session_of,
    },
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: failover regrant eth-0 --key ~/.ssh/id_ed25519_sk --reason 'rebooted for a kernel' --save grant.json

It replaces only a grant of the same machine: two boots of one machine never run at once.
Ends with 3 when it would not be safe.")]
pub(super) struct Options {
    /// Which validator.
    validator: String,
    /// The boot that may sign. If missing, the one that the machine reports.
    #[arg(long)]
    boot_id: Option<String>,
    /// Where the grant is written once it is in force, to be carried to the machine: a file that is not there. If missing,
    /// failover-grant-VALIDATOR-NUMBER.json.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    sign: SignOptions,
    #[command(flatten)]
    path: ConfigPath,
}

pub(super) async fn run(options: Options) -> anyhow::Result<Exit> {
    let config = options.path.load(false)?;
    let desk = Desk::open(&config, &options.validator).await?;
    desk.needs_grants(&config)?;
    let validator = &desk.validator;
    let verified = match &desk.verified {
        None => bail!("there is no grant of {validator}: `failover adopt` makes the first one"),
        Some(Err(why)) => bail!("the grant in force cannot be verified: {why}"),
        Some(Ok(verified)) => verified,
    };
    let grant = verified.grant();
    let session = desk.ledger.get(&LedgerKey::session(validator)).await?;
    let session = session.map(|stored| session_of(validator, &stored.bytes)).transpose().map_err(|why| anyhow!(why))?;
    let signed = options.sign.read_signed()?;
    let GrantPlace::Cloud { project, zone, instance_id: granted, .. } = &grant.owner else {
        complain!("refused: {}", RegrantError::Home { number: grant.number });
        return Ok(Exit::Refused);
    };
    let (instance, boot) = match (&options.boot_id, signed.as_ref().map(|signed| &signed.grant.owner)) {
        (Some(boot), _) => (granted, boot.clone()),
        (None, Some(GrantPlace::Cloud { instance_id, boot_id, .. })) => (instance_id, boot_id.clone()),
        (None, Some(GrantPlace::Home { .. }) | None) => {
            (granted, reported(&config, validator, granted, &grant.owner).await?)
        }
    };
    let number = match regrant(verified, session.map(|session| session.number), instance, &boot) {
        Ok(number) => number,
        Err(RegrantError::SameBoot { .. }) => {
            say!("{validator}: grant {} names this boot already", grant.number);
            if let Some(stored) = &desk.stored {
                carry(&config, &options, grant, &stored.bytes).await?;
            }
            return Ok(Exit::Done);
        }
        Err(refusal) => {
            complain!("refused: {refusal}");
            return Ok(Exit::Refused);
        }
    };
    options.sign.is_complete()?;
    if let Some(file) = options.save.as_deref().filter(|file| file.exists()) {
        bail!("{} is there already: remove it, or name another file with --save", file.display());
    }
    say!("{validator}: grant {number} will let the same machine sign, in its boot {boot}");
    let (project, zone, instance_id) = (project.clone(), zone.clone(), instance.clone());
    let owner = GrantPlace::Cloud { project, zone, instance_id, boot_id: boot };
    let terms = desk.terms(owner, number, Some(verified.digest().to_owned()));
    if options.sign.print(&desk.rules, &terms)? {
        return Ok(Exit::Done);
    }
    if !options.sign.confirm(&terms)? {
        complain!("that is not its name: nothing was changed");
        return Ok(Exit::Refused);
    }
    let signed = options.sign.sign(&desk.rules, &terms, signed)?;
    desk.replace(&signed).await?;
    say!("{validator}: grant {number} is in force");
    carry(&config, &options, &signed.grant, &signed.bytes()).await?;
    Ok(Exit::Done)
}

/// The boot that the machine reports: a hint of a machine that may lie, and good enough, since its gate compares.
async fn reported(
    config: &Config,
    validator: &ValidatorId,
    instance: &InstanceId,
    granted: &GrantPlace,
) -> anyhow::Result<String> {
    let remedy = "name the boot with --boot-id (/proc/sys/kernel/random/boot_id on the machine)";
    let cloud = assembly::cloud::operators_cloud(config).await?;
    let cloud = cloud.with_context(|| format!("there is no `compute` section: {remedy}"))?;
    let found = named(config, validator, instance).await?;
    let found = found.with_context(|| format!("the cloud does not list the machine {instance}: {remedy}"))?;
    boot_now(&*cloud, &found, granted, FRESH_EVERY).await
}

/// The report of the boot before stays in the metadata until the agent writes again.
async fn boot_now(
    cloud: &dyn Machines,
    found: &InstanceRef,
    granted: &GrantPlace,
    every: Duration,
) -> anyhow::Result<String> {
    let remedy = "name the boot with --boot-id (/proc/sys/kernel/random/boot_id on the machine)";
    let is_granted = |boot: &str| matches!(granted, GrantPlace::Cloud { boot_id, .. } if boot_id == boot);
    let observed = cloud.observe(found).await?;
    let written = observed.as_ref().map(|observed| &observed.written);
    let report = written.and_then(|written| Some((written, written.report()?)));
    let (written, report) = report.with_context(|| format!("the machine {found} reports nothing: {remedy}"))?;
    if !is_granted(&report.boot_id) {
        return Ok(report.boot_id.clone());
    }
    complain!("{found} reports the boot that the grant names: its next report is waited for");
    match fresh_report(cloud, found, written, every).await? {
        Fresh::Moved(now) => {
            let boot = now.written.report().map(|report| report.boot_id.clone());
            boot.with_context(|| format!("the machine {found} reports nothing: {remedy}"))
        }
        Fresh::Gone => bail!("the machine {found} is gone: nothing was changed"),
        Fresh::Silent(waited) => bail!(
            "{found} has reported nothing new for {}s, so its last report may be of the boot before: {remedy}",
            waited.as_secs()
        ),
    }
}

async fn named(config: &Config, validator: &ValidatorId, instance: &InstanceId) -> anyhow::Result<Option<InstanceRef>> {
    let Some(cloud) = assembly::cloud::operators_cloud(config).await? else { return Ok(None) };
    let found = cloud.find(&Scope::Validator(validator.clone())).await?;
    Ok(found.into_iter().map(|machine| machine.instance).find(|found| found.id == *instance))
}

/// Only now, when it was read in the ledger, it is written anywhere else.
async fn carry(config: &Config, options: &Options, grant: &Grant, bytes: &[u8]) -> anyhow::Result<()> {
    let GrantPlace::Cloud { project, zone, instance_id, .. } = &grant.owner else { return Ok(()) };
    let usual = || format!("failover-grant-{}-{}.json", grant.validator, grant.number).into();
    let path = options.save.clone().unwrap_or_else(usual);
    let file = path.display();
    save(&path, bytes)
        .with_context(|| format!("the grant is in force, but not in {file}; repeat the command with another --save"))?;
    let found = named(config, &grant.validator, instance_id).await.ok().flatten();
    let name = found.map_or_else(|| instance_id.to_string(), |found| found.name);
    say!("it is in {file}; it reaches the machine's gate by either of:");
    say!(
        "  gcloud compute instances add-metadata {name} --project {project} --zone {zone} --metadata-from-file \
         failover-grant={file}"
    );
    say!(
        "  gcloud compute scp {file} {name}:GRANT --project {project} --zone {zone} --tunnel-through-iap   (the \
         gate's --grant)"
    );
    Ok(())
}

#[cfg(test)]
mod tests;
