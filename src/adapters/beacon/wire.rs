//! The beacon API's JSON, as far as it is read here. Integers are decimal strings; fields nobody needs are passed over.

use serde::{Deserialize, Deserializer, de::Error};

use crate::domain::{
    brief,
    chain::{ChainTime, Epoch, KeyInfo, KeyStatus, NodeTrouble, PublicKey, Slot, SyncStatus},
};

#[derive(Debug, Deserialize)]
pub(super) struct Data<T> {
    pub(super) data: T,
}

/// A decimal string, as the specification says; a plain number is taken too, because some proxies rewrite it.
fn number<'de, D: Deserializer<'de>, N: TryFrom<i64> + std::str::FromStr>(input: D) -> Result<N, D::Error> {
    Either::deserialize(input)?.number()
}

/// The same of a field that may be null.
fn some_number<'de, D: Deserializer<'de>, N: TryFrom<i64> + std::str::FromStr>(
    input: D,
) -> Result<Option<N>, D::Error> {
    Option::<Either>::deserialize(input)?.map(Either::number).transpose()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Text(String),
    Number(i64),
}

impl Either {
    fn number<N: TryFrom<i64> + std::str::FromStr, E: Error>(self) -> Result<N, E> {
        match self {
            Self::Text(text) => text.parse().map_err(|_| E::custom(format!("'{text}' is not a number"))),
            Self::Number(number) => N::try_from(number).map_err(|_| E::custom(format!("{number} is out of range"))),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Genesis {
    #[serde(deserialize_with = "number")]
    pub(super) genesis_time: i64,
    pub(super) genesis_validators_root: String,
}

impl Genesis {
    /// The root, checked: it is shown to people and compared.
    pub(super) fn root(&self) -> Result<String, NodeTrouble> {
        let root = self.genesis_validators_root.to_ascii_lowercase();
        let digits = root.strip_prefix("0x").unwrap_or_default();
        if digits.len() == 64 && digits.bytes().all(|c| c.is_ascii_hexdigit()) {
            Ok(root)
        } else {
            Err(NodeTrouble::NotBeaconApi("its genesis_validators_root is not 32 bytes".into()))
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Spec {
    #[serde(rename = "SECONDS_PER_SLOT", default, deserialize_with = "some_number")]
    seconds_per_slot: Option<u64>,
    /// From Gloas on; it wins where both are there.
    #[serde(rename = "SLOT_DURATION_MS", default, deserialize_with = "some_number")]
    slot_duration_ms: Option<u64>,
    #[serde(rename = "SLOTS_PER_EPOCH", deserialize_with = "number")]
    slots_per_epoch: u64,
}

impl Spec {
    pub(super) fn time(&self, genesis: &Genesis) -> Result<ChainTime, NodeTrouble> {
        let slot_ms = self.slot_duration_ms.or(self.seconds_per_slot.map(|seconds| seconds.saturating_mul(1000)));
        let slot_ms = slot_ms.ok_or_else(|| NodeTrouble::NotBeaconApi("its spec has no slot duration".into()))?;
        ChainTime::new(genesis.genesis_time, slot_ms, self.slots_per_epoch)
            .map_err(|error| NodeTrouble::NotBeaconApi(error.to_string()))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Syncing {
    #[serde(deserialize_with = "number")]
    head_slot: u64,
    #[serde(default, deserialize_with = "some_number")]
    sync_distance: Option<u64>,
    is_syncing: Option<bool>,
    is_optimistic: Option<bool>,
    /// Required by the specification; a node without it cannot tell us, so it does not pass for online.
    el_offline: Option<bool>,
}

impl From<&Syncing> for SyncStatus {
    fn from(syncing: &Syncing) -> Self {
        let said = [
            ("is_syncing", syncing.is_syncing),
            ("is_optimistic", syncing.is_optimistic),
            ("el_offline", syncing.el_offline),
        ];
        Self {
            head: Slot(syncing.head_slot),
            // It is compared with the clock as well.
            distance: syncing.sync_distance.unwrap_or(0),
            syncing: syncing.is_syncing == Some(true),
            optimistic: syncing.is_optimistic == Some(true),
            el_offline: syncing.el_offline == Some(true),
            untold: said.into_iter().find_map(|(field, said)| said.is_none().then_some(field)),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct StateValidator {
    #[serde(deserialize_with = "number")]
    index: u64,
    status: String,
    validator: ValidatorPart,
}

#[derive(Debug, Deserialize)]
struct ValidatorPart {
    pubkey: String,
    slashed: bool,
}

impl StateValidator {
    pub(super) fn info(&self) -> Result<(PublicKey, KeyInfo), NodeTrouble> {
        let key =
            self.validator.pubkey.parse().map_err(|_| NodeTrouble::NotBeaconApi("a pubkey is not 48 bytes".into()))?;
        let status = KeyStatus::from_api(&self.status, self.validator.slashed).ok_or_else(|| {
            NodeTrouble::NotBeaconApi(brief(&format!("it has the validator status '{}'", self.status)))
        })?;
        Ok((key, KeyInfo { index: self.index, status }))
    }

    /// Whether it can stand in a control group: on duty, and neither leaving nor slashed.
    pub(super) fn is_ongoing(&self) -> bool {
        self.status == "active_ongoing" && !self.validator.slashed
    }

    pub(super) fn index(&self) -> u64 {
        self.index
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct LivenessAnswer {
    #[serde(deserialize_with = "number")]
    pub(super) index: u64,
    pub(super) is_live: bool,
}

/// With whether it rests on what no execution layer has verified. `finalized` beside it is not read: Prysm 5.3.1 says
/// `false` of whatever is asked by an epoch.
#[derive(Debug, Deserialize)]
pub(super) struct Verified<T> {
    data: T,
    execution_optimistic: Option<bool>,
}

impl<T> Verified<T> {
    /// Not every node says it; one that says the contrary is believed.
    pub(super) fn data(self) -> Result<T, NodeTrouble> {
        if self.execution_optimistic == Some(true) { Err(NodeTrouble::Optimistic) } else { Ok(self.data) }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct AttestationRewards {
    pub(super) total_rewards: Vec<Reward>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reward {
    #[serde(deserialize_with = "number")]
    pub(super) validator_index: u64,
    #[serde(deserialize_with = "number")]
    pub(super) target: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Checkpoints {
    finalized: Checkpoint,
}

#[derive(Debug, Deserialize)]
struct Checkpoint {
    #[serde(deserialize_with = "number")]
    epoch: u64,
}

impl Checkpoints {
    pub(super) fn finalised(&self) -> Epoch {
        Epoch(self.finalized.epoch)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NodeVersion {
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Identity {
    pub(super) peer_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Versions {
    pub(super) beacon_node: Program,
}

#[derive(Debug, Deserialize)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct PeerCount {
    #[serde(deserialize_with = "number")]
    pub(super) connected: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(data: serde_json::Value) -> SyncStatus {
        SyncStatus::from(&serde_json::from_value::<Syncing>(data).unwrap())
    }

    #[test]
    fn what_is_null_or_left_out_is_not_known_and_hides_nothing_else() {
        let whole = json!({"head_slot": "7", "sync_distance": "1", "is_syncing": false, "is_optimistic": false,
                           "el_offline": false});
        assert_eq!(status(whole.clone()).untold, None);
        for field in ["is_syncing", "is_optimistic", "el_offline"] {
            let mut without = whole.clone();
            without.as_object_mut().unwrap().remove(field);
            let mut null = whole.clone();
            null[field] = serde_json::Value::Null;
            for said in [without, null] {
                let status = status(said);
                assert_eq!((status.head, status.distance, status.untold), (Slot(7), 1, Some(field)));
            }
        }
        assert_eq!(status(json!({"head_slot": 7, "sync_distance": null})).untold, Some("is_syncing"));
        let spec: Spec =
            serde_json::from_value(json!({"SECONDS_PER_SLOT": "5", "SLOT_DURATION_MS": null, "SLOTS_PER_EPOCH": 16}))
                .unwrap();
        assert_eq!((spec.seconds_per_slot, spec.slot_duration_ms, spec.slots_per_epoch), (Some(5), None, 16));
    }
}
