//! What a machine is given when it is promoted, from the configuration.

use anyhow::{Context as _, bail};

use crate::{
    bundle::{Bundle, PromotedClient},
    config::{Config, ConsensusSettings, StandbySettings, ValidatorKind, ValidatorSettings},
    files,
};

/// The value of `failover-promoted`.
///
/// # Errors
/// What the configuration lacks.
pub fn variables(config: &Config, validator: &ValidatorSettings) -> anyhow::Result<String> {
    let standby = config.standby.as_ref().context("there is no section `standby`, so there is nothing to promote")?;
    let client = match &validator.kind {
        ValidatorKind::Ethereum { .. } => Some(client(config, standby)?),
        ValidatorKind::Generic { .. } => None,
    };
    let text = Bundle::new(config)?.promoted(config, validator, client.as_ref())?;
    text.with_context(|| {
        format!(
            "the configuration does not say all that a promoted machine of {} needs (docs/promoted.md): its chain, \
             `grants`, what its standby runs, and for Prysm `standby.ethereum.prysm.validator`",
            validator.name
        )
    })
}

fn client(config: &Config, standby: &StandbySettings) -> anyhow::Result<PromotedClient> {
    let ethereum = standby.ethereum.as_ref().context("add `standby.ethereum`")?;
    let gate = standby.gate.clone().context("add `standby.gate`: `failover-gate`, by url and sha256")?;
    let Some(fee_recipient) = &ethereum.fee_recipient else {
        bail!("add `standby.ethereum.fee_recipient`: a validator client without one gives the fees of its blocks away");
    };
    let grants = config.grants.as_ref().context("add `grants.allowed_signers`")?;
    let name = grants.allowed_signers.display();
    let allowed_signers = files::read_text(&grants.allowed_signers, files::MOST);
    Ok(PromotedClient {
        release: match &ethereum.consensus {
            ConsensusSettings::Lighthouse(_) => None,
            ConsensusSettings::Prysm(prysm) => prysm.validator.clone(),
        },
        fee_recipient: fee_recipient.to_string(),
        doppelganger: true,
        extra_args: Vec::new(),
        gate,
        allowed_signers: allowed_signers.with_context(|| format!("{name} cannot be read"))?,
    })
}
