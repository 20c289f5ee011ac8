//! What a new machine is given to become a standby: the start-up script, the roles and playbooks, and what is true of
//! this one incident, all of it as the text of its instance metadata.
//!
//! It does not make machines, and it holds no secret: anyone who can view the machine in the cloud can read every byte.
//! The same configuration and incident give the same bytes, so that people can compare what runs with what they have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    config::{Config, StandbySettings, ValidatorKind, ValidatorSettings},
    domain::{GRANT_KEY, IncidentId, Time, ValidatorId, WATERMARK_KEY, ownership::MAX_GRANT},
};

mod archive;
mod promoted;
mod vars;

pub use crate::domain::PROMOTED_KEY;
pub use promoted::PromotedClient;

/// Compute Engine takes no longer value than this.
pub const MAX_VALUE: usize = 256 * 1024;
/// Compute Engine takes no more than this of keys and values together.
pub const MAX_TOTAL: usize = 512 * 1024;

/// For a machine that is only to be there. It writes no report, so such a standby is never ready.
const REHEARSAL: &str = "#!/bin/sh\n\
# The configuration has no section `standby`: this machine rehearses the way, and follows no chain.\n\
echo 'failover: a rehearsal, nothing is installed' > /dev/ttyS0\n";

/// The configuration asks for more than a machine's metadata can carry.
#[derive(Debug, thiserror::Error)]
#[error(
    "the standby of '{validator}' would be given {bytes} bytes as {what}; Compute Engine takes {limit}: shorten {hint}"
)]
pub struct TooLarge {
    validator: ValidatorId,
    what: &'static str,
    bytes: usize,
    limit: usize,
    hint: &'static str,
}

const OPTIONS: &str = "the options of its clients";

/// What every standby of this configuration is given.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// By validator; empty when the configuration says nothing about standbys.
    standbys: BTreeMap<ValidatorId, vars::Standby>,
    archive: String,
}

impl Bundle {
    /// Packs what this configuration needs.
    ///
    /// # Errors
    /// When it would not fit into a machine's metadata.
    pub fn new(config: &Config) -> Result<Self, TooLarge> {
        let Some(settings) = &config.standby else { return Ok(Self::default()) };
        let vars = |validator: &ValidatorSettings| Some((validator.name.clone(), vars(config, settings, validator)?));
        let bundle = Self { standbys: config.validators.iter().filter_map(vars).collect(), archive: archive::packed() };
        for validator in bundle.standbys.keys() {
            bundle.fits(validator, Vec::new(), OPTIONS)?;
        }
        Ok(bundle)
    }

    /// The metadata of one machine, by key.
    #[must_use]
    pub fn metadata(&self, validator: &ValidatorId, incident: IncidentId) -> Vec<(&'static str, String)> {
        let script = match self.standbys.get(validator) {
            Some(_) => archive::STARTUP_SCRIPT,
            None => REHEARSAL,
        };
        let mut items = vec![
            ("startup-script", script.to_owned()),
            ("failover-validator", validator.to_string()),
            ("failover-incident", incident.to_string()),
        ];
        if let Some(vars) = self.standbys.get(validator) {
            items.push(("failover-vars", vars.render(incident)));
            items.push(("failover-bundle", self.archive.clone()));
        }
        items
    }

    /// The value of [`PROMOTED_KEY`], which a promotion adds to the metadata of this validator's machine. `None` when the
    /// configuration does not say all that it needs.
    ///
    /// # Errors
    /// When it would not fit into a machine's metadata, beside what the same promotion brings later.
    pub fn promoted(
        &self,
        config: &Config,
        validator: &ValidatorSettings,
        client: Option<&PromotedClient>,
    ) -> Result<Option<String>, TooLarge> {
        let Some(text) = promoted::render(config, validator, client) else { return Ok(None) };
        let more = vec![
            (PROMOTED_KEY, text.clone()),
            (WATERMARK_KEY, promoted::longest_watermark(validator)),
            (GRANT_KEY, " ".repeat(MAX_GRANT)),
        ];
        self.fits(&validator.name, more, "allowed_signers, or share out its keys")?;
        Ok(Some(text))
    }

    /// Every port that peers of some standby use.
    #[must_use]
    pub fn p2p_ports(&self) -> BTreeSet<u16> {
        self.standbys.values().flat_map(vars::Standby::p2p_ports).copied().collect()
    }

    /// The roles and playbooks, by path: what a human wants to read of the bundle.
    #[must_use]
    pub fn files() -> BTreeMap<String, &'static [u8]> {
        archive::files()
    }

    fn fits(
        &self,
        validator: &ValidatorId,
        more: Vec<(&'static str, String)>,
        hint: &'static str,
    ) -> Result<(), TooLarge> {
        let mut items = self.metadata(validator, IncidentId::derive(validator, Time::UNIX_EPOCH));
        items.extend(more);
        let too_large = |what, bytes, limit| Err(TooLarge { validator: validator.clone(), what, bytes, limit, hint });
        for (key, value) in &items {
            if value.len() > MAX_VALUE {
                return too_large(key, value.len(), MAX_VALUE);
            }
        }
        // What is always there beside it takes a few hundred bytes.
        let total = items.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() + 1024;
        if total > MAX_TOTAL {
            return too_large("metadata", total, MAX_TOTAL);
        }
        Ok(())
    }
}

/// What is true of this validator's standby, whatever the incident; `None` when the configuration does not say.
fn vars(config: &Config, settings: &StandbySettings, validator: &ValidatorSettings) -> Option<vars::Standby> {
    let runs = match &validator.kind {
        ValidatorKind::Ethereum { .. } => vars::Runs::ethereum(settings.ethereum.as_ref()?),
        ValidatorKind::Generic { standby, .. } => vars::Runs::generic(standby.as_ref()?),
    };
    let genesis_root = config.ethereum.as_ref().and_then(|ethereum| ethereum.genesis_root.clone());
    Some(vars::Standby::new(validator, settings, runs, genesis_root))
}
