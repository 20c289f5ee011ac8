//! The grants of a validator as a chain, each verified, for people.

use serde::Serialize;

use super::{GrantRules, get, history, view};
use crate::{
    domain::{
        LedgerKey, Owner, Span, Time, ValidatorId,
        ownership::{Grant, GrantLink, GrantPlace, OnLedgerLoss, SignedGrant},
    },
    ports::{Ledger, LedgerError},
};

/// How far back the time is added up in which the session was held.
const HELD_WITHIN: Span = Span::from_hours(7 * 24);

/// All that the ledger says about who may sign.
#[derive(Debug, Serialize)]
pub struct GrantChain {
    pub validator: ValidatorId,
    /// From the first to the one in force.
    pub grants: Vec<GrantRow>,
    pub session: Option<SessionRow>,
    /// Who may sign now; absent when that is not known.
    pub owner: Option<Owner>,
    /// What does not verify.
    pub problems: Vec<String>,
}

/// One grant.
#[derive(Debug, Serialize)]
pub struct GrantRow {
    pub number: u64,
    pub in_force: bool,
    pub owner: Option<GrantPlace>,
    pub by: String,
    /// Fingerprint of the key that signed it. Absent when the signature is refused.
    pub key: Option<String>,
    pub issued_at: Option<Time>,
    pub reason: String,
    pub link: Option<GrantLink>,
    /// What does not match, where the link to the grant before it is broken.
    pub broken: Option<String>,
    /// Why it is no answer.
    pub problem: Option<String>,
    /// Of one that was replaced: its signer is not listed any more.
    pub note: Option<String>,
}

/// The session, for people.
#[derive(Debug, Serialize)]
pub struct SessionRow {
    pub number: u64,
    pub holder: Option<uuid::Uuid>,
    /// How long it has not changed, by the store's clock.
    pub unchanged: Option<Span>,
    pub on_loss: OnLedgerLoss,
    /// How long it was held in the last seven days.
    pub held: Span,
}

/// Reads all of them.
///
/// # Errors
/// The ledger did not answer.
pub async fn chain(
    ledger: &dyn Ledger,
    rules: &GrantRules,
    validator: &ValidatorId,
    now: Time,
) -> Result<GrantChain, LedgerError> {
    let mut keys: Vec<_> = history(ledger, validator).await?.into_iter().map(Some).collect();
    keys.push(None);
    let (mut grants, mut problems): (Vec<GrantRow>, Vec<String>) = (Vec::new(), Vec::new());
    let mut before: Option<Grant> = None;
    for copy in keys {
        let key =
            copy.map_or_else(|| LedgerKey::owner(validator), |number| LedgerKey::owner_history(validator, number));
        let stored = match get(ledger, &key).await? {
            Ok(Some(stored)) => Ok(stored),
            Ok(None) => continue,
            Err(why) => Err(why),
        };
        let signed = stored.and_then(|stored| SignedGrant::parse(&stored.bytes).map_err(|error| error.to_string()));
        let in_force = copy.is_none();
        let row = match signed {
            Err(why) => unreadable(copy.unwrap_or_default(), in_force, why),
            Ok(signed) => {
                let grant = signed.grant.clone();
                // The copy of the one in force is left when the program ends between copy and replacement.
                if before.as_ref() == Some(&grant) {
                    grants.pop();
                    before = previous(ledger, validator, &grants).await?;
                }
                let row = row(rules, validator, signed, copy, before.as_ref());
                before = Some(grant);
                row
            }
        };
        problems.extend(row.problem.iter().map(|why| format!("{key}: {why}")));
        match row.link {
            Some(GrantLink::Broken) => {
                problems.extend(
                    row.broken.iter().map(|why| format!("{key}: it does not follow the grant before it: {why}")),
                );
            }
            Some(GrantLink::MissingCopy) => problems.push(format!("{key}: the copy of the grant before it is missing")),
            Some(GrantLink::First | GrantLink::Ok) | None => {}
        }
        grants.push(row);
    }
    let view = view(ledger, rules, validator).await?;
    let owner = match view.owner() {
        Ok(owner) => Some(owner),
        Err(why) => {
            if !problems.contains(&why) {
                problems.push(why);
            }
            None
        }
    };
    let session = match view.session {
        Ok(Some(session)) => {
            let key = LedgerKey::session(validator);
            let unchanged = match ledger.get(&key).await? {
                Some(stored) => ledger.age(&key, &stored.version).await?,
                None => None,
            };
            let from = now.checked_sub(HELD_WITHIN).unwrap_or(Time::MIN);
            let within = session.held.iter().map(|held| held.until.min(now).duration_since(held.from.max(from)));
            let held = within.filter(|span| span.is_positive()).fold(Span::ZERO, Span::saturating_add);
            let (number, holder, on_loss) = (session.number, session.holder, session.on_loss);
            Some(SessionRow { number, holder, unchanged, on_loss, held })
        }
        Ok(None) | Err(_) => None,
    };
    Ok(GrantChain { validator: validator.clone(), grants, session, owner, problems })
}

fn row(
    rules: &GrantRules,
    validator: &ValidatorId,
    signed: SignedGrant,
    copy: Option<u64>,
    before: Option<&Grant>,
) -> GrantRow {
    let Grant { owner, number, issued_at, by, reason, .. } = signed.grant.clone();
    let link = GrantLink::of(&signed.grant, before);
    let broken = before.filter(|_| link == GrantLink::Broken).map(|before| mismatch(&signed.grant, before));
    let has_left = copy.is_some() && rules.has_left(validator, signed.clone());
    let verified = rules.verify(validator, signed);
    let misplaced = copy.filter(|copy| *copy != number);
    let misplaced = misplaced.map(|copy| format!("it is grant {number}, and its key says {copy}"));
    let key = verified.as_ref().ok().map(|grant| grant.key().to_owned());
    let refusal = verified.err();
    let (note, refusal) = if has_left { (refusal, None) } else { (None, refusal) };
    GrantRow {
        number,
        in_force: copy.is_none(),
        owner: Some(owner),
        by,
        key,
        issued_at: Some(issued_at),
        reason,
        link: Some(link),
        broken,
        problem: refusal.or(misplaced),
        note,
    }
}

/// What of two grants that do not follow each other does not match.
fn mismatch(grant: &Grant, before: &Grant) -> String {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    let (number, digest) = (before.number, before.digest());
    match &grant.previous {
        None => format!("it names no grant, and grant {number} is {}", short(&digest)),
        Some(named) if *named != digest => {
            format!("it names {}, and grant {number} is {}", short(named), short(&digest))
        }
        Some(_) => format!("its number {} cannot come after grant {number}", grant.number),
    }
}

fn unreadable(number: u64, in_force: bool, why: String) -> GrantRow {
    GrantRow {
        number,
        in_force,
        owner: None,
        by: String::new(),
        key: None,
        issued_at: None,
        reason: String::new(),
        link: None,
        broken: None,
        problem: Some(why),
        note: None,
    }
}

/// The grant of the last of these rows.
async fn previous(
    ledger: &dyn Ledger,
    validator: &ValidatorId,
    rows: &[GrantRow],
) -> Result<Option<Grant>, LedgerError> {
    let Some(row) = rows.iter().rev().find(|row| row.link.is_some()) else { return Ok(None) };
    let stored = get(ledger, &LedgerKey::owner_history(validator, row.number)).await?;
    Ok(stored.ok().flatten().and_then(|stored| SignedGrant::parse(&stored.bytes).ok()).map(|signed| signed.grant))
}
