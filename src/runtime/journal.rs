//! The journal: what was decided about a validator, why, and who had asked. For people who look back.
//!
//! Nothing is decided by it: the validator's record is the state, and an entry lost in a crash changes nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{Action, Decision, Event, LedgerKey, Phase, Reason, Time, ValidatorId, stamped},
    ports::{Expect, Ledger, LedgerError},
    records,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When it was made, by the watcher's clock.
    pub at: Time,
    pub validator: ValidatorId,
    /// From which site the watcher looks.
    pub site: String,
    /// The lease under which it was made.
    pub token: u64,
    pub from: String,
    pub to: String,
    /// Who had asked for it, if a person had.
    pub asked_by: Option<String>,
    /// What that person wanted, and why.
    pub asked: Option<String>,
    /// Why, in the words used everywhere.
    pub reasons: Vec<String>,
    /// What it is about beside the phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<EntryKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::AsRefStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum EntryKind {
    /// Somebody will not get a notice; the reasons say which and why.
    NoticeDropped,
}

/// Who decides: the same for all entries under one lease.
pub(super) struct Author<'a> {
    pub(super) site: &'a str,
    pub(super) token: u64,
}

/// The entry that this decision is worth, if any. What comes and goes (a suspicion, a look at a machine) is not.
pub(super) fn entry(
    author: &Author<'_>,
    at: Time,
    event: &Event,
    from: Phase,
    to: Phase,
    made: &Decision,
) -> Option<Entry> {
    let idle = |phase: Phase| matches!(phase, Phase::Watching | Phase::Suspected);
    let moved = from != to && !(idle(from) && idle(to));
    let acts = made.actions.iter().any(|(_, action)| matches!(action, Action::Create(_)) || action.deletes());
    let reports = |reason: &Reason| matches!(reason, Reason::KeepsFailing { .. } | Reason::WorksAgain { .. });
    let request = if let Event::Requested(_, request) = event { Some(request) } else { None };
    let is_dropped = |reason: &Reason| matches!(reason, Reason::NoticeDropped { .. });
    let kind = made.reasons.iter().any(is_dropped).then_some(EntryKind::NoticeDropped);
    if !moved && !acts && request.is_none() && kind.is_none() && !made.reasons.iter().any(reports) {
        return None;
    }
    Some(Entry {
        at,
        validator: event.validator()?.clone(),
        site: author.site.to_owned(),
        token: author.token,
        from: from.name().to_owned(),
        to: to.name().to_owned(),
        asked_by: request.map(|request| request.by.clone()),
        asked: request.map(|request| format!("{}: {}", request.command, request.reason)),
        reasons: made.reasons.iter().map(ToString::to_string).collect(),
        kind,
    })
}

/// A name of its own for an entry, after every name that this process gave before: nobody else's is in the way, and
/// those of one moment stay in order.
pub(super) fn key(entry: &Entry) -> LedgerKey {
    LedgerKey::journal(&stamped(entry.at, Uuid::now_v7()))
}

/// Writes one down, once.
pub(super) async fn write(ledger: Arc<dyn Ledger>, key: LedgerKey, entry: Entry) {
    if let Err(error) = ledger.write(&key, records::encode(&key, &entry), Expect::Absent).await {
        tracing::warn!(validator = %entry.validator, %error, "a decision is not in the journal: {}", entry.reasons.join("; "));
    }
}

/// The last entries, oldest first: at most `last`, about one validator or about all. One that cannot be read is logged
/// and left out.
///
/// # Errors
/// [`LedgerError`].
pub async fn read(ledger: &dyn Ledger, about: Option<&ValidatorId>, last: usize) -> Result<Vec<Entry>, LedgerError> {
    let mut entries = Vec::new();
    for key in ledger.list(LedgerKey::JOURNAL, None).await?.into_iter().rev() {
        if entries.len() == last {
            break;
        }
        // Somebody may have cleaned up between the listing and now.
        let Some(stored) = ledger.get(&key).await? else { continue };
        let entry: Entry = match records::decode(&key, &stored.bytes) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(%error, "an entry of the journal is left out");
                continue;
            }
        };
        if about.is_none_or(|validator| *validator == entry.validator) {
            entries.push(entry);
        }
    }
    entries.reverse();
    Ok(entries)
}
