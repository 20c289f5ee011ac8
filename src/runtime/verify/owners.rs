//! What people write: grants, by their signature and their chain, and the session that a gate writes beside them.

use super::Verifier;
use crate::{
    domain::{
        KeyKind, ValidatorId,
        ownership::{Grant, GrantLink, SignedGrant},
    },
    ports::Finding,
    runtime::grants::session_of,
};

impl Verifier<'_> {
    /// `number`: of a copy, by its key.
    pub(super) fn grant(&mut self, key: &str, id: &ValidatorId, number: Option<u64>, bytes: &[u8]) {
        let remedy = match number {
            None => "put back a good copy of it: until then nothing starts by it, and no machine is deleted",
            Some(_) => "put back a good copy of it: it is needed to follow the history only",
        };
        let signed = match SignedGrant::parse(bytes) {
            Ok(signed) => signed,
            Err(error) => return self.problem(key, error.to_string(), remedy),
        };
        let grant = signed.grant.clone();
        if let Some(number) = number.filter(|number| *number != grant.number) {
            let detail = format!("it is grant {} and its key says {number}", grant.number);
            return self.problem(key, detail, remedy);
        }
        if let Some(rules) = self.rules.filter(|_| self.configured.contains(id)) {
            match (rules.verify(id, signed), number) {
                (Ok(_), _) => {}
                (Err(why), None) => {
                    let remedy = "configure who may sign, or sign again with `failover adopt --renew`: until then nothing \
                                  starts by it, and no machine is deleted";
                    self.problem(key, why, remedy);
                }
                // People leave, and their keys leave the list.
                (Err(why), Some(_)) => {
                    let remedy = "nothing to do if its signer has left allowed_signers since";
                    self.push(Finding::warning(key, why, remedy));
                }
            }
        }
        self.grants.entry(id.clone()).or_default().push((key.to_owned(), grant));
    }

    pub(super) fn session(&mut self, key: &str, id: &ValidatorId, bytes: &[u8]) {
        if let Err(why) = session_of(id, bytes) {
            let remedy = "put back a good copy of it: until then home's gate starts nothing, and no machine is deleted";
            self.problem(key, why, remedy);
        }
    }

    pub(super) fn compare_grants(&mut self) {
        for (_, mut grants) in std::mem::take(&mut self.grants) {
            grants.sort_by_key(|(key, grant)| (grant.number, std::cmp::Reverse(key.clone())));
            // The copy of the one in force is left when the program ends between copy and replacement.
            grants.dedup_by(|after, before| after.1 == before.1);
            let is_in_force = |key: &str| matches!(KeyKind::of(key), Some(KeyKind::Owner(_)));
            let newest = grants.last().map_or(0, |(_, grant)| grant.number);
            if let Some((key, grant)) = grants.iter().find(|(key, grant)| is_in_force(key) && grant.number < newest) {
                let detail = format!("it is grant {}, and there is a copy of grant {newest}", grant.number);
                let remedy = "somebody has put back an older one: find out which place signs, then `failover adopt`";
                self.problem(&key.clone(), detail, remedy);
            }
            let mut before: Option<Grant> = None;
            for (key, grant) in grants {
                let (number, link) = (grant.number, GrantLink::of(&grant, before.as_ref()));
                match link {
                    GrantLink::First | GrantLink::Ok => {}
                    GrantLink::MissingCopy => {
                        let detail = format!("grant {number} follows one of which there is no copy");
                        let remedy = "put back the copy from a backup: it is needed to follow the history only";
                        self.push(Finding::warning(key, detail, remedy));
                    }
                    GrantLink::Broken => {
                        let detail = format!("grant {number} does not follow the one before it");
                        let remedy = "find out who signed it and which place signs: somebody has put back an older ledger, \
                                      or signed beside the program";
                        self.problem(&key, detail, remedy);
                    }
                }
                before = Some(grant);
            }
        }
    }
}
