//! Where each record is in the ledger: every key and every prefix. What a record holds is said elsewhere.

use std::{borrow::Cow, fmt, ops::Deref};

use uuid::Uuid;

use super::{
    Time, ValidatorId,
    alerts::{Alert, Fingerprint},
};

/// Whether a bucket can have this name.
#[must_use]
pub fn is_bucket(name: &str) -> bool {
    (3..=222).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c))
}

/// What comes before every object's name, of what people write: nothing, or something that ends with `/`.
#[must_use]
pub fn object_prefix(written: &str) -> String {
    let prefix = written.trim_matches('/');
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

/// Whether a site, and most of what the configuration names, can have this name.
#[must_use]
pub fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}

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
    /// What no watcher writes: who may sign, who runs the signer, and what is being promoted. None of these is ever
    /// there, as no validator has such a name.
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
    pub const CHAINS: &str = "chain/";
    pub const WAITING: &str = "waiting/";

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
        Self(format!("{}{id}", Self::CHAINS).into())
    }

    /// What one site has seen of it on the chain. Every watcher of that site writes it, lease or not.
    #[must_use]
    pub fn site_chain(site: &str, id: &ValidatorId) -> Self {
        Self(format!("{}{site}/{id}", Self::CHAINS).into())
    }

    /// Who may sign. Only humans write it.
    #[must_use]
    pub fn owner(id: &ValidatorId) -> Self {
        Self(format!("owners/{id}").into())
    }

    /// A grant that was replaced.
    #[must_use]
    pub fn owner_history(id: &ValidatorId, number: u64) -> Self {
        Self(format!("{}{number}", Self::owner_histories(id)).into())
    }

    /// The prefix of the grants that were replaced.
    #[must_use]
    pub fn owner_histories(id: &ValidatorId) -> String {
        format!("owners/{id}/")
    }

    /// Who runs the signer at home. Only a gate writes it, and people its number.
    #[must_use]
    pub fn session(id: &ValidatorId) -> Self {
        Self(format!("sessions/{id}").into())
    }

    /// What is being promoted or demoted, and what ever was. Only people write it.
    #[must_use]
    pub fn promotion(id: &ValidatorId) -> Self {
        Self(format!("promotions/{id}").into())
    }

    /// By which a watcher or a witness of this name shows that it runs, and whether it wants the lease.
    #[must_use]
    pub fn waiting(name: &str) -> Self {
        Self(format!("{}{name}", Self::WAITING).into())
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

/// What a key names. Each kind of record has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Lease,
    Identity,
    /// Only whether it has changed counts.
    LastRequest,
    Validator(ValidatorId),
    Alert(ValidatorId, Fingerprint),
    /// Of an earlier build; the watcher removes it.
    OutdatedAlert,
    Chain(ValidatorId),
    /// Of which site, and which validator.
    SiteChain(String, ValidatorId),
    Owner(ValidatorId),
    /// A grant that was replaced, and its number.
    OwnerHistory(ValidatorId, u64),
    Session(ValidatorId),
    Promotion(ValidatorId),
    /// Of which site or witness.
    Waiting(String),
    /// With its [`stamped`] id.
    Request(String),
    Journal(Time),
    /// Left by a `failover check` that was interrupted.
    Check,
}

impl KeyKind {
    /// `None` for a key that this program never writes.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let validator = |name: &str| ValidatorId::new(name).ok();
        if key == &*LedgerKey::LEASE {
            return Some(Self::Lease);
        }
        if key == &*LedgerKey::IDENTITY {
            return Some(Self::Identity);
        }
        if key == &*LedgerKey::LAST_REQUEST {
            return Some(Self::LastRequest);
        }
        let (folder, rest) = key.split_once('/')?;
        match folder {
            "validators" => validator(rest).map(Self::Validator),
            "chain" => match rest.split_once('/') {
                None => validator(rest).map(Self::Chain),
                Some((site, name)) if is_label(site) => Some(Self::SiteChain(site.to_owned(), validator(name)?)),
                Some(_) => None,
            },
            "owners" => match rest.split_once('/') {
                None => validator(rest).map(Self::Owner),
                Some((name, digits)) => {
                    let number = digits.parse().ok().filter(|number: &u64| number.to_string() == digits)?;
                    Some(Self::OwnerHistory(validator(name)?, number))
                }
            },
            "sessions" => validator(rest).map(Self::Session),
            "promotions" => validator(rest).map(Self::Promotion),
            "waiting" => is_label(rest).then(|| Self::Waiting(rest.to_owned())),
            "requests" => stamp(key).map(|_| Self::Request(rest.to_owned())),
            "journal" => stamp(key).map(Self::Journal),
            "checks" => Uuid::try_parse(rest).ok().map(|_| Self::Check),
            "alerts" => {
                let (name, fingerprint) = rest.rsplit_once('/')?;
                match Fingerprint::new(fingerprint) {
                    Some(fingerprint) => Some(Self::Alert(validator(name)?, fingerprint)),
                    None => fingerprint
                        .split_once('-')
                        .and_then(|(old, _)| Fingerprint::new(old))
                        .map(|_| Self::OutdatedAlert),
                }
            }
            _ => None,
        }
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
            LedgerKey::site_chain("far-away_2", &id),
            LedgerKey::owner(&id),
            LedgerKey::owner_history(&id, 7),
            LedgerKey::session(&id),
            LedgerKey::promotion(&id),
            LedgerKey::waiting("oslo"),
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
                "chain/far-away_2/eth-0",
                "owners/eth-0",
                "owners/eth-0/7",
                "sessions/eth-0",
                "promotions/eth-0",
                "waiting/oslo",
                "requests/20261121T010000.007Z-00000000000000000000000000000000",
                "journal/20261121T010000.007Z-00000000000000000000000000000000",
            ]
        );
    }

    #[test]
    fn every_key_that_is_written_has_a_kind_and_nothing_else_has() {
        let id = ValidatorId::new("eth-0").unwrap();
        let stamped = stamped(Time::UNIX_EPOCH, Uuid::nil());
        let known = [
            (LedgerKey::LEASE, KeyKind::Lease),
            (LedgerKey::IDENTITY, KeyKind::Identity),
            (LedgerKey::LAST_REQUEST, KeyKind::LastRequest),
            (LedgerKey::validator(&id), KeyKind::Validator(id.clone())),
            (LedgerKey::chain(&id), KeyKind::Chain(id.clone())),
            (LedgerKey::site_chain("home", &id), KeyKind::SiteChain("home".into(), id.clone())),
            (LedgerKey::owner(&id), KeyKind::Owner(id.clone())),
            (LedgerKey::owner_history(&id, 7), KeyKind::OwnerHistory(id.clone(), 7)),
            (LedgerKey::session(&id), KeyKind::Session(id.clone())),
            (LedgerKey::promotion(&id), KeyKind::Promotion(id.clone())),
            (LedgerKey::waiting("oslo"), KeyKind::Waiting("oslo".into())),
            (LedgerKey::request(&stamped), KeyKind::Request(stamped.clone())),
            (LedgerKey::journal(&stamped), KeyKind::Journal(Time::UNIX_EPOCH)),
            (LedgerKey::check(Uuid::nil()), KeyKind::Check),
        ];
        for (key, kind) in known {
            assert_eq!(KeyKind::of(&key), Some(kind), "{key}");
        }
        let alert = KeyKind::of("alerts/eth-0/e1552dd47b7bee5f");
        assert_eq!(alert, Some(KeyKind::Alert(id, Fingerprint::new("e1552dd47b7bee5f").unwrap())));
        assert_eq!(KeyKind::of("alerts/eth-0/e1552dd47b7bee5f-1795223212531"), Some(KeyKind::OutdatedAlert));
        for other in [
            "",
            "validators",
            "validators/",
            "validators/Eth",
            "valudators/eth-0",
            "lease/x",
            "requests/by-hand",
            "owners/eth-0/07",
            "owners/eth-0/x",
            "owners/eth-0/",
            "chain/home/eth-0/x",
            "chain//eth-0",
            "chain/Home/eth-0",
            "waiting/",
            "waiting/oslo/x",
        ] {
            assert_eq!(KeyKind::of(other), None, "{other}");
        }
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
