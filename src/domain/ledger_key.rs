//! Where each record is in the ledger: every key and every prefix. What a record holds is said elsewhere.

use std::{borrow::Cow, fmt, ops::Deref};

use uuid::Uuid;

use super::{
    Time, ValidatorId,
    alerts::{Alert, Fingerprint},
};

/// The key of one record. Whatever adds a kind of record adds its key here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LedgerKey(Cow<'static, str>);

impl LedgerKey {
    /// Who decides and acts.
    pub const LEASE: Self = Self(Cow::Borrowed("lease"));
    /// The ledger's own id.
    pub const IDENTITY: Self = Self(Cow::Borrowed("ledger"));
    /// Changes with every request, so that nobody has to list them to see that there is a new one.
    pub const LAST_REQUEST: Self = Self(Cow::Borrowed("last-request"));
    /// What no watcher writes: who may sign, who runs the signer, and what is being promoted. None of these is ever there,
    /// as no validator has such a name.
    pub const WITHHELD: [Self; 3] = [
        Self(Cow::Borrowed("owners/.check")),
        Self(Cow::Borrowed("sessions/.check")),
        Self(Cow::Borrowed("promotions/.check")),
    ];

    /// Prefixes that are listed.
    pub const VALIDATORS: &str = "validators/";
    pub const ALERTS: &str = "alerts/";
    pub const REQUESTS: &str = "requests/";
    pub const JOURNAL: &str = "journal/";

    #[must_use]
    pub fn validator(id: &ValidatorId) -> Self {
        Self(format!("{}{id}", Self::VALIDATORS).into())
    }

    /// Every alert has its own, so that no two ever contend.
    #[must_use]
    pub fn alert(alert: &Alert) -> Self {
        Self(format!("{}{}/{}", Self::ALERTS, alert.validator, alert.fingerprint).into())
    }

    /// The validator in the key of an alert. `None` for one of an earlier build, which had the start in it.
    #[must_use]
    pub fn validator_of_alert(key: &str) -> Option<&str> {
        let (validator, fingerprint) = key.strip_prefix(Self::ALERTS)?.rsplit_once('/')?;
        Fingerprint::new(fingerprint).map(|_| validator)
    }

    #[must_use]
    pub fn chain(id: &ValidatorId) -> Self {
        Self(format!("chain/{id}").into())
    }

    /// Who may sign. Only humans write it.
    #[must_use]
    pub fn owner(id: &ValidatorId) -> Self {
        Self(format!("owners/{id}").into())
    }

    /// Who runs the signer at home. Only a gate writes it.
    #[must_use]
    pub fn session(id: &ValidatorId) -> Self {
        Self(format!("sessions/{id}").into())
    }

    /// `id` is a [`stamped`] one.
    #[must_use]
    pub fn request(id: &str) -> Self {
        Self(format!("{}{id}", Self::REQUESTS).into())
    }

    /// `id` is a [`stamped`] one, so that entries are listed by time.
    #[must_use]
    pub fn journal(id: &str) -> Self {
        Self(format!("{}{id}", Self::JOURNAL).into())
    }

    /// For a record that `failover check` writes and removes.
    #[must_use]
    pub fn check(id: Uuid) -> Self {
        Self(format!("checks/{id}").into())
    }
}

impl Deref for LedgerKey {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LedgerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// The last part of a key that sorts by time.
#[must_use]
pub fn stamped(at: Time, id: Uuid) -> String {
    format!("{}-{}", at.strftime("%Y%m%dT%H%M%S%.3fZ"), id.simple())
}

/// The time of a key that ends with a [`stamped`] id.
#[must_use]
pub fn stamp(key: &str) -> Option<Time> {
    let stamp = key.rsplit('/').next()?.split('-').next()?;
    let at = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%S%.fZ", stamp).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Evidence;

    /// These stand in ledgers that a newer program reads.
    #[test]
    fn keys_do_not_change_when_code_is_renamed() {
        let id = ValidatorId::new("eth-0").unwrap();
        let alert = Alert {
            validator: id.clone(),
            fingerprint: Fingerprint::new("e1552dd47b7bee5f").unwrap(),
            starts_at: Some(Time::UNIX_EPOCH),
            evidence: Evidence::Process,
            mapping: "".into(),
            name: "".into(),
            summary: "".into(),
        };
        let stamped = stamped(Time::from_millisecond(1_795_222_800_007).unwrap(), Uuid::nil());
        let keys = [
            LedgerKey::LEASE,
            LedgerKey::IDENTITY,
            LedgerKey::LAST_REQUEST,
            LedgerKey::validator(&id),
            LedgerKey::alert(&alert),
            LedgerKey::chain(&id),
            LedgerKey::owner(&id),
            LedgerKey::session(&id),
            LedgerKey::request(&stamped),
            LedgerKey::journal(&stamped),
        ];
        assert_eq!(
            keys.each_ref().map(|key| &**key),
            [
                "lease",
                "ledger",
                "last-request",
                "validators/eth-0",
                "alerts/eth-0/e1552dd47b7bee5f",
                "chain/eth-0",
                "owners/eth-0",
                "sessions/eth-0",
                "requests/20261121T010000.007Z-00000000000000000000000000000000",
                "journal/20261121T010000.007Z-00000000000000000000000000000000",
            ]
        );
    }

    #[test]
    fn the_key_of_an_alert_of_an_earlier_build_is_known_by_its_start() {
        assert_eq!(LedgerKey::validator_of_alert("alerts/eth-0/e1552dd47b7bee5f"), Some("eth-0"));
        for other in ["alerts/eth-0/e1552dd47b7bee5f-1795223212531", "alerts/e1552dd47b7bee5f", "owners/eth-0"] {
            assert_eq!(LedgerKey::validator_of_alert(other), None, "{other}");
        }
    }

    #[test]
    fn the_time_of_a_stamped_key_is_read_again() {
        let at = Time::from_millisecond(1_795_222_800_007).unwrap();
        assert_eq!(stamp(&LedgerKey::request(&stamped(at, Uuid::max()))), Some(at));
        assert_eq!(stamp("requests/by-hand"), None);
    }
}
