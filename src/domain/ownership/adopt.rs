//! What `failover adopt` has to do so that home may sign, or why it must not.

use std::{cmp::Ordering, time::Duration};

use super::{Adoption, Grant, GrantPlace, Session, adoption_number};
use crate::domain::{InstanceId, Machine};

/// What was found, each as it was read before the cloud was asked.
#[derive(Clone, Copy, Debug)]
pub struct AdoptFacts<'a> {
    pub site: &'a str,
    /// The grant in force.
    pub grant: Option<&'a Grant>,
    /// Why it cannot be verified. Then it still counts for whatever it forbids.
    pub unverified: Option<&'a str>,
    pub session: Option<&'a Session>,
    /// The highest number among the copies of earlier grants.
    pub copy: Option<u64>,
    /// That copy, if it can be read.
    pub newest_copy: Option<&'a Grant>,
    /// The highest number that the operator knows from elsewhere, for example from a gate's message.
    pub known: Option<u64>,
    /// Sign again although nothing is wrong: signers change.
    pub renew: bool,
    /// All machines of the validator, or why the cloud does not say.
    pub machines: Result<&'a [KeyMachine], &'a str>,
    /// The operator's statement that this machine does not exist any more.
    pub deleted: Option<&'a InstanceId>,
    /// The operator's statement that nothing at home can sign.
    pub stated: bool,
    /// After how long a session of this validator's gates is old; `None` if one of them continues without the ledger.
    pub longest: Option<Duration>,
    /// Whether the duties of its keys can be watched, or why not.
    pub watched: Result<(), &'a str>,
}

/// A machine as the cloud shows it.
#[derive(Clone, Debug)]
pub struct KeyMachine {
    pub machine: Machine,
    /// It has ended. One that is suspended has not: it resumes with its memory, and with its boot id.
    pub is_terminated: bool,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum AdoptPlan<'a> {
    /// Home may sign already.
    Nothing { number: u64 },
    /// Sign a grant for home once [`Adoption::next`] says so.
    Sign { adoption: Adoption<'a>, previous: Option<String> },
}

/// Why no grant must be signed for home.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdoptRefusal {
    #[error(
        "the cloud cannot be asked whether a machine holds the keys ({0}): log in (gcloud auth \
         application-default login) and try again"
    )]
    CloudUnknown(String),
    #[error(
        "{machine} may hold the keys and is not TERMINATED: stop it (`gcloud compute instances stop`), see it \
         TERMINATED, then try again"
    )]
    MachineRuns { machine: String },
    #[error(
        "grant {number} names the machine {instance} in {zone}, which the cloud does not list: find it there \
         and stop it; if it does not exist any more, state that with `--deleted {instance}`"
    )]
    MachineUnlisted { number: u64, instance: InstanceId, zone: String },
    #[error(
        "the grant in force cannot be verified ({0}): put its signer back into allowed_signers, sign again with `--renew`, \
         and only then take it out; `--renew` without it stops home until it is signed"
    )]
    Unverified(String),
    #[error(
        "a promotion is under way: the session's number is {session}, above grant {grant}. If nobody \
         promotes, `--renew` gives home back the right to sign"
    )]
    Moving { session: u64, grant: u64 },
    #[error(
        "number {number} was known and the session is missing: a process at home may sign under the one that is gone, and one \
         that continues without the ledger (on_ledger_loss: run) does so for as long as it likes. Stop everything that \
         holds these keys at home, then state that with `--statement`, or put back the session from a backup"
    )]
    SessionLost { number: u64 },
    #[error(
        "number {number} was known and the session is missing: a process at home may sign under the one that is gone, and \
         nobody can watch that it does not ({why}). Stop everything that holds these keys at home, then state that with \
         `--statement`, or put back the session from a backup"
    )]
    Unwatched { number: u64, why: String },
    #[error("number {0} is the last one there is, or not a number of ours: see `failover grants`")]
    NumberTooLarge(u64),
    #[error("number {number} is not above {known}, which is known: make the grant again")]
    NumberTooSmall { number: u64, known: u64 },
}

impl<'a> AdoptFacts<'a> {
    /// # Errors
    /// [`AdoptRefusal`].
    pub fn plan(&self) -> Result<AdoptPlan<'a>, AdoptRefusal> {
        self.no_machine_holds_keys()?;
        let granted = self.granted();
        let is_settled = match (self.grant, self.session) {
            (Some(grant), Some(session)) => {
                let is_ours = grant.owner == GrantPlace::Home { site: self.site.to_owned() };
                is_ours && self.unverified.is_none() && granted == Some(grant.number) && session.number <= grant.number
            }
            (Some(_) | None, Some(_) | None) => false,
        };
        if let (Some(grant), false) = (self.grant, self.renew) {
            if let Some(why) = self.unverified {
                return Err(AdoptRefusal::Unverified(why.to_owned()));
            }
            if let Some(session) = self.session.filter(|session| session.number > grant.number) {
                return Err(AdoptRefusal::Moving { session: session.number, grant: grant.number });
            }
            if is_settled && !self.stated {
                return Ok(AdoptPlan::Nothing { number: grant.number });
            }
        }
        // Not a free one at once: somebody may hold the one that was deleted.
        if let (None, Some(number), false) = (self.session, granted, self.stated) {
            if self.longest.is_none() {
                return Err(AdoptRefusal::SessionLost { number });
            }
            self.watched.map_err(|why| AdoptRefusal::Unwatched { number, why: why.to_owned() })?;
        }
        let raised = self.session.map(|session| session.number);
        let number = adoption_number(granted, raised)
            .ok_or_else(|| AdoptRefusal::NumberTooLarge(granted.max(raised).unwrap_or_default()))?;
        let adoption = Adoption {
            number,
            over: self.grant,
            keeps: is_settled && !self.stated,
            // Else it was refused above.
            machines_terminated: true,
            session: self.session,
            unchanged: Duration::ZERO,
            was_known: granted.or(raised).is_some(),
            longest: self.longest,
            silent: 0,
            stated: self.stated,
        };
        Ok(AdoptPlan::Sign { adoption, previous: self.grant.or(self.newest_copy).map(Grant::digest) })
    }

    /// The same for a grant that was signed elsewhere: the session may have been raised to its number meanwhile.
    ///
    /// # Errors
    /// [`AdoptRefusal`].
    pub fn plan_with(&self, number: u64) -> Result<AdoptPlan<'a>, AdoptRefusal> {
        let plan = self.plan()?;
        match &plan {
            AdoptPlan::Nothing { .. } => Ok(plan),
            AdoptPlan::Sign { adoption, .. } => match number.cmp(&adoption.number) {
                Ordering::Equal => Ok(plan),
                Ordering::Less => Err(AdoptRefusal::NumberTooSmall { number, known: adoption.number - 1 }),
                Ordering::Greater => Err(AdoptRefusal::NumberTooLarge(number)),
            },
        }
    }

    /// The highest number of a grant that was ever known.
    fn granted(&self) -> Option<u64> {
        self.grant.map(|grant| grant.number).max(self.copy).max(self.known)
    }

    /// # Errors
    /// [`AdoptRefusal`].
    pub fn no_machine_holds_keys(&self) -> Result<(), AdoptRefusal> {
        use crate::domain::Role;
        let machines = self.machines.map_err(|why| AdoptRefusal::CloudUnknown(why.to_owned()))?;
        let granted = self.grant.and_then(|grant| match &grant.owner {
            GrantPlace::Cloud { zone, instance_id, .. } => Some((grant.number, instance_id, zone)),
            GrantPlace::Home { .. } => None,
        });
        let is_granted = |machine: &Machine| granted.is_some_and(|(_, instance, _)| machine.instance.id == *instance);
        for KeyMachine { machine, is_terminated } in machines {
            if !is_terminated && (machine.role == Role::Promoted || is_granted(machine)) {
                return Err(AdoptRefusal::MachineRuns { machine: machine.instance.to_string() });
            }
        }
        match granted {
            Some((number, instance, zone))
                if !machines.iter().any(|it| is_granted(&it.machine)) && self.deleted != Some(instance) =>
            {
                Err(AdoptRefusal::MachineUnlisted { number, instance: instance.clone(), zone: zone.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}
