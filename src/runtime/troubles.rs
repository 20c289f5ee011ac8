//! What is wrong with the ledger itself: in the status for as long as it lasts, and mailed once a day. It repairs nothing.
//!
//! A record that cannot be read has no place for a mail that waits, so this mail is kept by nobody but this process: a
//! restart sends it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    domain::{Backoff, Context, Span, Time, ledger_mail},
    ports::{Clock, Notifier},
};

/// More lines of one kind are counted only: one broken disk breaks many records.
const SHOWN: usize = 20;
/// As long as a mail is not said again.
const REMIND: Span = Span::from_hours(24);
const AGAIN: Backoff = Backoff::new(Span::from_secs(10), Span::from_mins(10));

/// The part that is about the ledger as a whole and no record of it.
const WHOLE: &str = "ledger";

/// Shared by all who read the ledger; each part is one reader's.
#[derive(Clone, Debug)]
pub struct LedgerTroubles(Arc<watch::Sender<BTreeMap<String, Vec<String>>>>);

impl Default for LedgerTroubles {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(BTreeMap::new())))
    }
}

impl LedgerTroubles {
    /// What this reader cannot read now, in place of what it said before.
    pub fn set(&self, part: &str, mut texts: Vec<String>) {
        let more = texts.len().saturating_sub(SHOWN);
        texts.truncate(SHOWN);
        if more > 0 {
            texts.push(format!("{more} more records of {part} cannot be read: see `failover ledger verify`"));
        }
        self.0.send_if_modified(|parts| {
            let before = if texts.is_empty() { parts.remove(part) } else { parts.insert(part.into(), texts.clone()) };
            before.unwrap_or_default() != texts
        });
    }

    pub(super) fn set_whole(&self, text: Option<String>) {
        self.set(WHOLE, text.into_iter().collect());
    }

    pub(super) fn clear(&self) {
        self.0.send_replace(BTreeMap::new());
    }

    /// Records that cannot be read.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.0.borrow().iter().filter(|(part, _)| *part != WHOLE).flat_map(|(_, texts)| texts.clone()).collect()
    }

    pub(super) fn of_the_whole(&self) -> Vec<String> {
        self.0.borrow().get(WHOLE).cloned().unwrap_or_default()
    }
}

/// Notifies people until stopped: of each trouble when it is seen, and again every day.
pub(super) async fn mail(
    troubles: LedgerTroubles,
    notifier: Option<Arc<dyn Notifier>>,
    clock: Arc<dyn Clock>,
    site: String,
    cli: String,
    stop: CancellationToken,
) {
    let Some(notifier) = notifier else { return };
    let mut changes = troubles.0.subscribe();
    let mut mailed: BTreeMap<String, Time> = BTreeMap::new();
    loop {
        let now = clock.now();
        let all: BTreeSet<String> = changes.borrow_and_update().values().flatten().cloned().collect();
        mailed.retain(|text, at| all.contains(text) && now.duration_since(*at).abs() < REMIND);
        let due: Vec<&str> = all.iter().map(String::as_str).filter(|text| !mailed.contains_key(*text)).collect();
        if !due.is_empty() {
            let message = ledger_mail(&due, now, &Context { site: &site, cli: &cli });
            let (id, mut to, mut failures) = (Uuid::new_v4(), notifier.recipients(), 0);
            while !to.is_empty() {
                let delivery = notifier.send(&message, id, &to).await;
                for (recipient, why) in &delivery.rejected {
                    tracing::error!(recipient, why, "the mail about the ledger is refused");
                }
                to = delivery.retry.into_iter().map(|(recipient, _)| recipient).collect();
                if to.is_empty() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(AGAIN.pause(failures).unsigned_abs()) => failures += 1,
                    () = stop.cancelled() => return,
                }
            }
            mailed.extend(due.into_iter().map(|text| (text.to_owned(), now)));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(std::time::Duration::from_hours(1)) => {}
            () = stop.cancelled() => return,
        }
    }
}
