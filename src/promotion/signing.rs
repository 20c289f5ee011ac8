//! The signature: asked of a person once, and in force only when `owners/` is read to hold it.

use super::{GrantDraft, GrantSigning, ProgressKind, PromotionError, PromotionExecutor, PromotionOutcome};
use super::{executor::Round, failure::Failure, reading::Reading};
use crate::{
    domain::{
        ownership::{Grant, GrantPlace, SignedGrant},
        promotion::{PromotionRecord, SignOrder},
    },
    ports::PutError,
    records,
    runtime::grants::{ReplaceError, replace},
};

/// A signature that is in force nowhere. It never leaves memory unless it wins.
pub(super) struct Prepared {
    order: SignOrder,
    /// What was stated when it was signed.
    statement: Option<String>,
    grant: SignedGrant,
}

impl Prepared {
    /// With the statement that the record has by now.
    fn is_for(&self, record: &PromotionRecord, order: &SignOrder) -> bool {
        self.order == *order && self.statement == stated(record, order)
    }
}

/// A grant for home needs none.
fn stated(record: &PromotionRecord, order: &SignOrder) -> Option<String> {
    record.statement.clone().filter(|_| order.cloud.is_some())
}

impl PromotionExecutor<'_> {
    /// A person takes as long as they take, so that after it everything is read and asked again; only if the same order
    /// comes out is it written.
    pub(super) async fn sign(&mut self, reading: &Reading, order: SignOrder) -> Result<Round, Failure> {
        let (Some(record), Some((grant, stored))) = (reading.record(), &reading.grant) else { return Ok(Round::Next) };
        if grant.digest() != order.over {
            return Ok(Round::Next);
        }
        let Some(prepared) = self.prepared.take().filter(|prepared| prepared.is_for(record, &order)) else {
            return self.ask_for_signature(record, grant.grant(), order).await;
        };
        let validator = &record.validator;
        match replace(self.deps.ledger, validator, Some(stored), &prepared.grant).await {
            Ok(()) => {
                self.say(ProgressKind::Signs, format!("grant {} is in force", order.number));
                Ok(Round::Next)
            }
            Err(ReplaceError::Lost) => {
                let text = "another grant came first, so this one is thrown away";
                self.say(ProgressKind::Overtaken, text.to_owned());
                Ok(Round::Next)
            }
            Err(ReplaceError::Unknown(why)) => {
                self.prepared = Some(prepared);
                Err(Failure::Passing(why))
            }
            Err(ReplaceError::Ledger(error) | ReplaceError::Write(PutError::Failed(error))) => {
                self.prepared = Some(prepared);
                Err(error.into())
            }
            Err(error @ (ReplaceError::OtherCopy { .. } | ReplaceError::Write(_))) => {
                Err(PromotionError::Replace(error).into())
            }
        }
    }

    async fn ask_for_signature(
        &mut self,
        record: &PromotionRecord,
        in_force: &Grant,
        order: SignOrder,
    ) -> Result<Round, Failure> {
        let owner = match &order.cloud {
            // An abort lets the same home sign, whatever site this configuration is of.
            None => match &in_force.owner {
                home @ GrantPlace::Home { .. } => home.clone(),
                GrantPlace::Cloud { .. } => GrantPlace::Home { site: self.deps.site.to_owned() },
            },
            Some((instance, boot)) => GrantPlace::Cloud {
                project: self.deps.project.to_owned(),
                zone: instance.zone.clone(),
                instance_id: instance.id.clone(),
                boot_id: boot.clone(),
            },
        };
        let draft = GrantDraft {
            validator: record.validator.clone(),
            owner,
            number: order.number,
            previous: order.over.clone(),
            statement: stated(record, &order),
            evidence: digest_of(record),
        };
        self.say(ProgressKind::Signs, format!("grant {} has to be signed", order.number));
        match self.deps.signer.sign(&draft).await.map_err(PromotionError::NotSigned)? {
            GrantSigning::Signed(grant) => {
                self.check(&draft, &grant)?;
                self.prepared = Some(Prepared { order, statement: draft.statement, grant: *grant });
                Ok(Round::Next)
            }
            GrantSigning::Declined => Ok(Round::End(PromotionOutcome::Declined)),
            GrantSigning::Printed => Ok(Round::End(PromotionOutcome::Printed)),
        }
    }

    /// With what a gate will check it with.
    fn check(&self, draft: &GrantDraft, signed: &SignedGrant) -> Result<(), PromotionError> {
        let grant = &signed.grant;
        if (&grant.owner, grant.number, grant.previous.as_ref()) != (&draft.owner, draft.number, Some(&draft.previous))
        {
            return Err(PromotionError::NotSigned("what was signed is another grant".to_owned()));
        }
        let verified = self.deps.rules.verify(&draft.validator, signed.clone());
        verified.map(drop).map_err(|why| PromotionError::NotSigned(format!("the signature is refused: {why}")))
    }
}

/// SHA-256 of the record as it is kept, in hex.
fn digest_of(record: &PromotionRecord) -> String {
    use sha2::{Digest as _, Sha256};
    let key = crate::domain::LedgerKey::promotion(&record.validator);
    Sha256::digest(records::encode(&key, record)).iter().map(|byte| format!("{byte:02x}")).collect()
}
