//! Writes down what this site sees of the chain, in `chain/<site>/<validator>`: once an epoch, lease or not.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use url::Url;

use crate::{
    config::BeaconNodeSettings,
    domain::{
        LedgerKey, PublicKey, ValidatorId,
        chain::{EpochRecord, SiteEpochs, SiteLook, node_number},
    },
    ports::{Expect, Ledger, PutError},
    records,
};

/// More often nobody else writes the same record in the same seconds.
const TRIES: usize = 3;

/// The one who writes the records of a site from this process.
pub struct SiteRecorder {
    ledger: Arc<dyn Ledger>,
    site: String,
    /// The nodes that are outside, by name: each by the number of its address.
    outside: BTreeMap<String, u32>,
    /// Whom it writes of, by their keys.
    validators: BTreeMap<ValidatorId, Vec<PublicKey>>,
    /// As they were written or read last, so that an epoch is one operation on a bucket.
    known: HashMap<ValidatorId, (SiteEpochs, Expect)>,
}

impl SiteRecorder {
    #[must_use]
    pub fn new<'a>(
        ledger: Arc<dyn Ledger>,
        site: String,
        nodes: impl IntoIterator<Item = &'a BeaconNodeSettings>,
        validators: impl IntoIterator<Item = (ValidatorId, Vec<PublicKey>)>,
    ) -> Self {
        let outside = nodes.into_iter().filter(|node| node.outside);
        let outside = outside.map(|node| (node.name.clone(), number_of(&node.url))).collect();
        Self { ledger, site, outside, validators: validators.into_iter().collect(), known: HashMap::new() }
    }

    #[must_use]
    pub fn key(&self, validator: &ValidatorId) -> LedgerKey {
        LedgerKey::site_chain(&self.site, validator)
    }

    /// Adds what the nodes said of the epoch that has just ended. `None` when none of them has said anything.
    ///
    /// # Errors
    /// A record that cannot be read, which is left as it is; a ledger that does not take it.
    pub async fn write(&mut self, validator: &ValidatorId, said: &[EpochRecord]) -> anyhow::Result<Option<SiteLook>> {
        let Some(keys) = self.validators.get(validator) else { return Ok(None) };
        let Some(look) = SiteLook::of(said, keys, |node| self.outside.get(node).copied()) else { return Ok(None) };
        let key = self.key(validator);
        for _ in 0..TRIES {
            let (record, expect) = match self.known.remove(validator) {
                Some(known) => known,
                None => match self.ledger.get(&key).await? {
                    None => (SiteEpochs::begun_by(&look), Expect::Absent),
                    Some(stored) => (records::decode(&key, &stored.bytes)?, Expect::Version(stored.version)),
                },
            };
            let mut next = record.clone();
            next.add(&look);
            if next == record && matches!(expect, Expect::Version(_)) {
                self.known.insert(validator.clone(), (record, expect));
                return Ok(Some(look));
            }
            match self.ledger.write(&key, records::encode(&key, &next), expect).await {
                Ok(version) => {
                    self.known.insert(validator.clone(), (next, Expect::Version(version)));
                    return Ok(Some(look));
                }
                // It is read again; what is there already stays.
                Err(PutError::Conflict { .. } | PutError::UnknownOutcome(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("somebody else writes {key} all the time")
    }
}

/// The same for one node wherever it is asked from, so that two sites which ask one node are one place. Neither a path
/// nor a user is in it, which may be secret.
fn number_of(url: &Url) -> u32 {
    let port = url.port_or_known_default().unwrap_or_default();
    node_number(&format!("{}:{port}", url.host_str().unwrap_or_default().to_ascii_lowercase()))
}
