//! Whether everything in a ledger can be read, and fits together. It reads with the code that the watcher reads with,
//! keeps in memory what belongs to the validators only, and writes nothing.

mod owners;

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use serde::Serialize;

use super::{
    grants::GrantRules,
    identity::LedgerIdentity,
    journal::Entry,
    lease::LeaseRecord,
    store::{Envelope, FORM},
    waiting::WaitingRecord,
};
use crate::{
    domain::{
        AlertRecord, Case, ChainEvidence, IncidentId, InstanceId, KeyKind, LedgerKey, Request, Span, Stage, Time,
        ValidatorId, chain::SiteEpochs, ownership::Grant,
    },
    ports::{Finding, Ledger, LedgerError},
    records::{self, RecordError},
};

/// So many keys are listed at a time, and so many records read at once.
const PAGE: usize = 500;
const READS: usize = 16;
/// More findings are only counted.
const SHOWN: usize = 200;
/// A clock may be this far ahead before what it wrote is said to be from the future.
const AHEAD: Span = Span::from_mins(5);

/// What became of looking at all of a ledger.
#[derive(Debug, Serialize)]
pub struct VerifiedLedger {
    pub ledger: String,
    /// Its own id.
    pub id: Option<uuid::Uuid>,
    pub records: u64,
    /// What is wrong, each with its remedy; not more than 200.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
}

/// Looks at every record. `progress` is called with the number of those looked at.
///
/// # Errors
/// The ledger could not be read to its end: nothing is known then.
pub async fn verify(
    ledger: &dyn Ledger,
    configured: &[ValidatorId],
    rules: &GrantRules,
    now: Time,
    progress: impl Fn(u64),
) -> Result<VerifiedLedger, LedgerError> {
    let mut verifier = Verifier { configured, rules: Some(rules), now, ..Verifier::new(ledger.describe()) };
    let mut after: Option<String> = None;
    loop {
        let keys = ledger.page(after.as_deref(), PAGE).await?;
        let Some(last) = keys.last() else { break };
        after = Some(last.clone());
        let mut reads = stream::iter(keys).map(|key| async move { (ledger.get(&key).await, key) }).buffered(READS);
        while let Some((read, key)) = reads.next().await {
            match read {
                Ok(Some(stored)) => verifier.look(&key, &stored.bytes),
                // Taken or removed between the list and now.
                Ok(None) => continue,
                Err(LedgerError::Oversized(why)) => {
                    verifier.told.records += 1;
                    verifier.problem(
                        &key,
                        why,
                        "put back a good copy, or delete it with the store's own tools: nothing here reads it",
                    );
                }
                Err(error) => return Err(error),
            }
            progress(verifier.told.records);
        }
    }
    verifier.compare(&ledger.place());
    Ok(verifier.told)
}

/// What is wrong with this record by itself, if anything: its key, its bytes, both together, or the ledger that it names.
#[must_use]
pub fn of_record(key: &str, bytes: &[u8], identity: Option<LedgerIdentity>) -> Option<Finding> {
    let mut verifier = Verifier { identity, ..Verifier::new(String::new()) };
    verifier.look(key, bytes);
    for envelope in std::mem::take(&mut verifier.validators).into_values() {
        verifier.compare_ledger(key, envelope.ledger);
    }
    verifier.told.findings.pop()
}

/// Whether a newer failover wrote this record.
#[must_use]
pub fn is_of_a_newer_failover(key: &str, bytes: &[u8]) -> bool {
    records::decode_form::<serde_json::Value>(key, bytes, FORM).is_err_and(|error| error.is_of_a_newer_failover())
}

struct Verifier<'a> {
    configured: &'a [ValidatorId],
    /// By which grants are verified; without them they are only read.
    rules: Option<&'a GrantRules>,
    now: Time,
    told: VerifiedLedger,
    identity: Option<LedgerIdentity>,
    identity_is_there: bool,
    lease: Option<LeaseRecord>,
    validators: BTreeMap<ValidatorId, Envelope>,
    /// The grants of each validator by their numbers, the one in force last.
    grants: BTreeMap<ValidatorId, Vec<(String, Grant)>>,
}

impl Verifier<'_> {
    fn new(ledger: String) -> Self {
        let told = VerifiedLedger { ledger, id: None, records: 0, findings: Vec::new(), more: 0 };
        Self {
            configured: &[],
            rules: None,
            now: Time::MAX,
            told,
            identity: None,
            identity_is_there: false,
            lease: None,
            validators: BTreeMap::new(),
            grants: BTreeMap::new(),
        }
    }

    fn push(&mut self, finding: Finding) {
        if self.told.findings.len() < SHOWN { self.told.findings.push(finding) } else { self.told.more += 1 }
    }

    fn problem(&mut self, key: &str, detail: impl Into<String>, remedy: impl Into<String>) {
        self.push(Finding::problem(key, detail, remedy));
    }

    fn unreadable(&mut self, key: &str, error: &RecordError, then: &str) {
        let remedy = match error {
            error if error.is_of_a_newer_failover() => "upgrade failover, then look again".to_owned(),
            RecordError::Newer { .. }
            | RecordError::Older { .. }
            | RecordError::OtherForm { .. }
            | RecordError::OtherLedger { .. } => {
                format!("{}: {then}", remove(key))
            }
            RecordError::Corrupt { .. } => format!("put back a good copy, or {}: {then}", remove(key)),
        };
        let detail = match error {
            RecordError::Corrupt { why, .. } => format!("cannot be read: {why}"),
            RecordError::Newer { .. }
            | RecordError::Older { .. }
            | RecordError::OtherForm { .. }
            | RecordError::OtherLedger { .. } => error.to_string(),
        };
        self.problem(key, detail, remedy);
    }

    fn look(&mut self, key: &str, bytes: &[u8]) {
        self.told.records += 1;
        let Some(kind) = KeyKind::of(key) else {
            return self.problem(key, "no failover writes such a key", format!("{}: nothing reads it", remove(key)));
        };
        match kind {
            KeyKind::Lease => match records::decode(key, bytes) {
                Ok(lease) => self.lease = Some(lease),
                Err(error) => {
                    let remedy = "start `failover serve`: it waits, and replaces it if nobody renews it";
                    self.problem(key, error.to_string(), remedy);
                }
            },
            KeyKind::Identity => {
                self.identity_is_there = true;
                match records::decode::<LedgerIdentity>(key, bytes) {
                    Ok(identity) => (self.told.id, self.identity) = (Some(identity.id), Some(identity)),
                    Err(error) => {
                        let remedy = "start `failover serve`: it gives the ledger a new id and continues";
                        self.problem(key, error.to_string(), remedy);
                    }
                }
            }
            KeyKind::Validator(id) => match records::decode_form::<Envelope>(key, bytes, FORM) {
                Ok(envelope) => {
                    self.validators.insert(id, envelope);
                }
                Err(error) => {
                    let then = "until then nothing is done for this validator; afterwards the watcher begins with an \
                                empty record, and uses a standby that is there";
                    self.unreadable(key, &error, then);
                }
            },
            KeyKind::Alert(validator, fingerprint) => match records::decode::<AlertRecord>(key, bytes) {
                Ok(record) if record.alert.validator == validator && record.alert.fingerprint == fingerprint => {
                    self.is_past(key, record.saved_at);
                }
                Ok(record) => self.contradicts(key, &format!("it is of the alert {}", record.alert.key())),
                Err(error) => self.unreadable(key, &error, "Alertmanager sends the alert again if it still fires"),
            },
            KeyKind::OutdatedAlert => {
                let remedy = "start `failover serve`: it removes it";
                self.push(Finding::warning(key, "it is of an earlier build, and nobody believes it", remedy));
            }
            KeyKind::Chain(_) => {
                if let Err(error) = records::decode::<ChainEvidence>(key, bytes) {
                    self.unreadable(key, &error, "silent epochs are counted again from then on");
                }
            }
            KeyKind::SiteChain(..) => {
                if let Err(error) = records::decode::<SiteEpochs>(key, bytes) {
                    self.unreadable(key, &error, "what that site has seen of the chain counts from then on");
                }
            }
            KeyKind::Owner(id) => self.grant(key, &id, None, bytes),
            KeyKind::OwnerHistory(id, number) => self.grant(key, &id, Some(number), bytes),
            KeyKind::Session(id) => self.session(key, &id, bytes),
            KeyKind::Waiting(name) => {
                if let Err(error) = WaitingRecord::read(&name, bytes) {
                    self.unreadable(key, &error, "who runs under that name writes it again within the hour");
                }
            }
            KeyKind::Request(id) => match records::decode::<Request>(key, bytes) {
                Ok(request) if request.id != id => self.contradicts(key, &format!("it is the request {}", request.id)),
                Ok(request) if !self.configured.is_empty() && !self.configured.contains(&request.validator) => {
                    let detail = format!("it is about {}, which is not configured here", request.validator);
                    let remedy = "nothing to do: the watcher removes it after a day; ask again under the right name";
                    self.push(Finding::warning(key, detail, remedy));
                }
                Ok(_) => {}
                Err(error) => self.unreadable(key, &error, "ask again for what was asked"),
            },
            KeyKind::Journal(at) => match records::decode::<Entry>(key, bytes) {
                Ok(entry) if entry.at.duration_since(at).abs() > Span::from_secs(1) => {
                    self.contradicts(key, &format!("it was made at {}", entry.at));
                }
                Ok(_) => {}
                Err(error) => self.unreadable(key, &error, "nothing is decided by the journal"),
            },
            KeyKind::LastRequest => {}
            KeyKind::Promotion(id) => {
                if let Err(why) = super::grants::promotion_of(&id, bytes) {
                    self.push(Finding::problem(key, why, "until then no machine of this validator is deleted"));
                }
            }
            KeyKind::Check => {
                let detail = "a `failover check` that was interrupted has left it";
                self.push(Finding::warning(key, detail, format!("{}: nothing reads it", remove(key))));
            }
        }
    }

    fn contradicts(&mut self, key: &str, what: &str) {
        let remedy = format!("{}: nobody believes it", remove(key));
        self.problem(key, format!("it does not belong under its key: {what}"), remedy);
    }

    fn is_past(&mut self, key: &str, at: Time) {
        if self.now != Time::MAX && at.duration_since(self.now) > AHEAD {
            let remedy = "set the clock of this machine, or of the one that wrote it, then look again";
            self.push(Finding::warning(key, format!("it was written in the future, at {at}"), remedy));
        }
    }

    /// What the records say of each other.
    fn compare(&mut self, place: &str) {
        self.compare_identity(place);
        self.compare_grants();
        let mut machines: BTreeMap<InstanceId, ValidatorId> = BTreeMap::new();
        let mut incidents: BTreeMap<IncidentId, ValidatorId> = BTreeMap::new();
        for (id, envelope) in std::mem::take(&mut self.validators) {
            let key = LedgerKey::validator(&id);
            self.compare_validator(&key, &id, &envelope);
            let Some(case) = &envelope.validator.case else { continue };
            if let Some(other) = incidents.insert(case.incident.id, id.clone()) {
                let detail = format!("its incident {} is {other}'s as well", case.incident.id);
                self.problem(&key, detail, "close both with `failover close`, look at their machines first");
            }
            if let Stage::Standing(standby) = &case.stage
                && let Some(other) = machines.insert(standby.instance.id.clone(), id.clone())
            {
                let detail = format!("its standby {} is {other}'s as well", standby.instance);
                let remedy = "look whose it is by its label `validator`, and `failover close` the other's";
                self.problem(&key, detail, remedy);
            }
        }
    }

    fn compare_identity(&mut self, place: &str) {
        let key = LedgerKey::IDENTITY;
        match &self.identity {
            Some(identity) if identity.place != place => {
                let detail = format!("this ledger is a copy, or was moved: it was {}, and is {place}", identity.place);
                let remedy = "stop the failover that uses the original, if there is one; the next `failover serve` here \
                              gives this one an id of its own";
                self.push(Finding::warning(&*key, detail, remedy));
            }
            None if !self.identity_is_there && !self.validators.is_empty() => {
                let remedy = "start `failover serve`: it gives the ledger a new id and continues";
                self.problem(&key, "the ledger's own id is missing, and there are records that name it", remedy);
            }
            Some(_) | None => {}
        }
    }

    fn compare_ledger(&mut self, key: &str, ledger: uuid::Uuid) {
        if let Some(identity) = self.identity.as_ref().filter(|identity| !identity.knows(ledger)) {
            let error = RecordError::OtherLedger { key: key.to_owned(), found: ledger, ours: identity.id };
            self.unreadable(key, &error, "until then nothing is done for this validator");
        }
    }

    fn compare_validator(&mut self, key: &str, id: &ValidatorId, envelope: &Envelope) {
        let Envelope { ledger, written_at, token, validator, .. } = envelope;
        self.is_past(key, *written_at);
        self.compare_ledger(key, *ledger);
        if let Some(lease) = self.lease.as_ref().filter(|lease| lease.token < *token) {
            let detail = format!("it was written under lease {token}, and `lease` counts to {} only", lease.token);
            let remedy = "start `failover serve`, which takes it over; the ledger was put together from copies of \
                          different age, so compare `failover status` with the machines in the cloud";
            self.problem(key, detail, remedy);
        }
        if !self.configured.contains(id) {
            let (open, remedy) = match &validator.case {
                Some(case) => (
                    format!(", and its incident {} is open", case.incident.id),
                    "configure it again, or look \
                               for its machines in the cloud and delete them",
                ),
                None => (String::new(), "nothing to do; it is read again if it is configured again"),
            };
            let finding = if validator.case.is_some() { Finding::problem } else { Finding::warning };
            self.push(finding(key.to_owned(), format!("it is not configured here{open}"), remedy.to_owned()));
        }
        let Some(case) = &validator.case else { return };
        self.compare_case(key, id, case);
        if validator.history.iter().any(|closed| closed.id == case.incident.id) {
            let remedy = "see `failover journal`; if its outage is over, end it with `failover close`";
            let detail = format!("its incident {} is open, and among those that ended", case.incident.id);
            self.problem(key, detail, remedy);
        }
    }

    fn compare_case(&mut self, key: &str, id: &ValidatorId, Case { incident, stage, .. }: &Case) {
        let pending = match stage {
            Stage::Provisioning(pending) | Stage::Releasing { pending, .. } => Some(pending),
            Stage::Standing(standby) => {
                if incident.abandoned.iter().any(|gone| gone.instance.id == standby.instance.id) {
                    let remedy = "end it with `failover close`; the next incident begins with what is in the cloud";
                    self.problem(key, format!("its standby {} is also given up", standby.instance), remedy);
                }
                standby.extra.as_ref()
            }
        };
        let named = pending.filter(|_| !matches!(stage, Stage::Standing(_))).map(|pending| pending.id.incident);
        let spec = pending.and_then(|pending| match &pending.action {
            crate::domain::Action::Create(spec) => Some(&spec.validator),
            _ => None,
        });
        if named.is_some_and(|named| named != incident.id) || spec.is_some_and(|validator| validator != id) {
            let remedy = "end it with `failover close`; the next incident begins with what is in the cloud";
            self.problem(key, "what is under way is another incident's", remedy);
        }
    }
}

fn remove(key: &str) -> String {
    let file = key.rsplit('/').next().unwrap_or(key);
    format!("`failover ledger remove '{key}' --save {file}.json` takes it away")
}
