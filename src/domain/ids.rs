//! Names and numbers that must not be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Step;

/// The declared name of a validator: a DNS label of at most 32 characters, so that it fits into a machine's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValidatorId(std::sync::Arc<str>);

/// Why a text is not a [`ValidatorId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a validator's name has 1 to 32 of a-z, 0-9 and '-', starts with a letter and does not end with '-'")]
pub struct BadName;

impl ValidatorId {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`BadName`] when it would not fit into the name of a machine (`[a-z]([-a-z0-9]*[a-z0-9])?`, Compute Engine).
    pub fn new(name: &str) -> Result<Self, BadName> {
        let ok = (1..=32).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && !name.ends_with('-')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if ok { Ok(Self(name.into())) } else { Err(BadName) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ValidatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one incident: eight hexadecimal digits, short enough for a label and for reading aloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IncidentId(u32);

/// The namespace of every name that is derived from an incident. Random once, fixed forever.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_29a4_70c3_4d8e_9b52_c1e0_37fa_84d6);

impl IncidentId {
    /// The incident of this validator that was opened at this moment; the same answer after every crash and replay.
    #[must_use]
    pub fn derive(validator: &ValidatorId, opened_at: super::Time) -> Self {
        let name = format!("{validator}/{}", opened_at.as_nanosecond());
        let bytes = *Uuid::new_v5(&NAMESPACE, name.as_bytes()).as_bytes();
        Self(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// The id of one notice, which is also its mail's Message-ID. It is in the record with the notice, so a mail that is
/// sent again after a crash is the same mail.
#[must_use]
pub fn notice_id(validator: &ValidatorId, at: super::Time, topic: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{validator}/{}/{topic}", at.as_nanosecond()).as_bytes())
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl From<IncidentId> for String {
    fn from(id: IncidentId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for IncidentId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 16) {
            Ok(id) if text.len() == 8 => Ok(Self(id)),
            _ => Err(format!("'{text}' is not an incident: eight hexadecimal digits")),
        }
    }
}

/// Names one attempt at one action of one incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActionId {
    pub incident: IncidentId,
    pub step: Step,
    /// Counts up with every new try; a repetition after a crash keeps it.
    pub attempt: u32,
}

impl ActionId {
    /// The `requestId` under which the cloud recognises a repetition: a pure function of the action and the zone.
    #[must_use]
    pub fn request_id(&self, zone: &str) -> Uuid {
        Uuid::new_v5(&NAMESPACE, format!("{}/{}/{}/{zone}", self.incident, self.step.name(), self.attempt).as_bytes())
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.incident, self.step.name(), self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These values stand in other systems: the cloud's record of our requests, names of machines, mailboxes. A change
    /// of any of them is a change of identity, whatever was renamed.
    #[test]
    fn identities_do_not_change_when_code_is_renamed() {
        let (validator, at) = (ValidatorId::new("eth-0").unwrap(), crate::domain::Time::UNIX_EPOCH);
        let incident = IncidentId::derive(&validator, at);
        let request = ActionId { incident, step: Step::Create, attempt: 3 }.request_id("us-central1-a");
        let delete = ActionId { incident, step: Step::Delete, attempt: 7 }.request_id("us-central1-a");
        let notice = notice_id(&validator, at, "attention/signer_seen");
        let steps: Vec<_> = <Step as strum::IntoEnumIterator>::iter().map(Step::name).collect();
        assert_eq!(steps, ["find", "create", "observe", "delete", "delete", "delete", "console", "disks"]);
        assert_eq!(incident.to_string(), "31ec5ddd");
        assert_eq!(request.to_string(), "22ded772-c2aa-5000-9ebb-ff1f60d7a912");
        assert_eq!(delete.to_string(), "3c3e781c-19a5-52d7-ba35-1ce9c918ff05");
        assert_eq!(notice.to_string(), "d1abf590-541d-59c4-b151-9f133f315919");
    }
}
