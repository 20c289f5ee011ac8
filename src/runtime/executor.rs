//! Carries out actions, one a validator, beside the loop. Every action ends in an outcome, whatever the cloud does.

use std::{sync::Arc, time::Duration};

use super::{
    grants::{self, GrantRules},
    lease::Lease,
};
use crate::{
    domain::{Action, ActionId, InstanceRef, Outcome, Seen, StandbySpec, ValidatorId, Written},
    ports::{Cloud, CloudError, IncompleteList, Ledger, Machines, Observed, Scope, Unpromoted},
};

const NO_MORE: &str = "this watcher may change nothing any more: it has lost the lease, or gives it back";

/// How often a machine that no incident claims is looked at for a new report, and how many times. Agents report every half
/// minute.
pub const FRESH_EVERY: Duration = Duration::from_secs(20);
const FRESH_LOOKS: u32 = 6;

/// Enough of a serial port for its last lines, and little enough to pass around.
const CONSOLE_TAIL: i64 = 16 * 1024;

#[derive(Clone)]
pub struct Executor {
    pub cloud: Arc<dyn Cloud>,
    /// For `owners/` and `sessions/`, which are read before anything is deleted.
    pub ledger: Arc<dyn Ledger>,
    /// By which those two are verified.
    pub grants: GrantRules,
    /// The ledger's id, which machines carry as a label.
    pub identity: uuid::Uuid,
    /// Nothing is started that could outlast it.
    pub lease: Lease,
    /// How long one call that changes something may take.
    pub call_timeout: Duration,
    /// How long an action may take in all.
    pub action_timeout: Duration,
    /// How often a machine that nobody has followed is looked at for a new report.
    pub fresh_every: Duration,
}

impl Executor {
    /// Carries out one action. It is bounded in time, and ends in `Failed` or an unknown outcome rather than not at all.
    pub async fn carry_out(&self, validator: &ValidatorId, id: ActionId, action: &Action) -> Outcome {
        let work = async {
            let outcome = self.outcome(validator, id, action).await;
            outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string()))
        };
        tokio::time::timeout(self.action_timeout, work).await.unwrap_or_else(|_| {
            let why = format!("no answer for {}s", self.action_timeout.as_secs());
            match action {
                Action::Create(_) => Outcome::Created(crate::domain::CreateOutcome::Unknown(why)),
                Action::Find
                | Action::Observe(_)
                | Action::Delete(_)
                | Action::Abandon(_)
                | Action::Reclaim(_)
                | Action::Console(_)
                | Action::Disks => Outcome::Failed(why),
            }
        })
    }

    async fn outcome(&self, validator: &ValidatorId, id: ActionId, action: &Action) -> Result<Outcome, CloudError> {
        Ok(match action {
            Action::Find => self.find(validator).await?,
            Action::Observe(instance) => Outcome::Observed(self.cloud.observe(instance).await?.map(seen)),
            Action::Create(spec) => self.create(spec).await,
            Action::Delete(instance) | Action::Abandon(instance) | Action::Reclaim(instance) => {
                self.delete(validator, id, action, instance).await
            }
            Action::Console(instance) => match self.cloud.serial_port(instance, -CONSOLE_TAIL).await? {
                Some(port) => Outcome::Console(port.contents),
                None => Outcome::Failed("the machine is gone".into()),
            },
            Action::Disks => Outcome::Disks(self.cloud.disks(&Scope::Incident(validator.clone(), id.incident)).await?),
        })
    }

    async fn find(&self, validator: &ValidatorId) -> Result<Outcome, CloudError> {
        match self.cloud.find(&Scope::Validator(validator.clone())).await {
            Ok(machines) => Ok(Outcome::Found(machines)),
            Err(CloudError::Incomplete(list)) => {
                let IncompleteList { found, unseen_zones, why } = *list;
                Ok(Outcome::FoundWithout { machines: found, unseen_zones, why })
            }
            Err(error) => Err(error),
        }
    }

    /// The call that changes something has to end before the lease does: a successor need not wait for it then.
    async fn create(&self, spec: &StandbySpec) -> Outcome {
        if !self.lease.may_change(self.call_timeout).await {
            return Outcome::Failed(NO_MORE.into());
        }
        Outcome::Created(self.cloud.create(spec, self.identity).await)
    }

    async fn delete(&self, validator: &ValidatorId, id: ActionId, action: &Action, instance: &InstanceRef) -> Outcome {
        match self.may_delete(validator, id, action, instance).await {
            Ok(None) => Outcome::Deleted,
            Ok(Some(unpromoted)) => {
                if !self.lease.may_change(self.call_timeout).await {
                    return Outcome::Failed(NO_MORE.into());
                }
                match self.cloud.delete(&id, &unpromoted).await {
                    Ok(()) => Outcome::Deleted,
                    Err(error) => Outcome::Failed(error.to_string()),
                }
            }
            Err(refusal) => refusal,
        }
    }

    /// The check that comes right before every deletion. What cannot be read counts against it.
    async fn may_delete(
        &self,
        validator: &ValidatorId,
        id: ActionId,
        action: &Action,
        instance: &InstanceRef,
    ) -> Result<Option<Unpromoted>, Outcome> {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed(error.to_string());
        let Some(mut observed) = self.observe(instance).await? else { return Ok(None) };
        if matches!(action, Action::Reclaim(_)) {
            match self.with_a_fresh_report(instance, observed).await? {
                Some(fresh) => observed = fresh,
                None => return Ok(None),
            }
        }
        if matches!(action, Action::Abandon(_)) && observed.written != Written::Nothing {
            return Err(Outcome::Untouchable(format!("{instance} was given up, but has spoken since")));
        }
        let view = grants::view(&*self.ledger, &self.grants, validator).await.map_err(|error| failed(&error))?;
        Unpromoted::check(&observed, validator, id.incident, &view).map(Some).map_err(|untouchable| {
            let kind = if untouchable.for_now { Outcome::Failed } else { Outcome::Untouchable };
            kind(untouchable.to_string())
        })
    }

    async fn observe(&self, instance: &InstanceRef) -> Result<Option<Observed>, Outcome> {
        self.cloud.observe(instance).await.map_err(|error| Outcome::Failed(error.to_string()))
    }

    /// The machine as it is once its report has moved: nobody has followed it, so what it wrote may be of any age. One that
    /// has never written anything has never run anything.
    async fn with_a_fresh_report(&self, instance: &InstanceRef, first: Observed) -> Result<Option<Observed>, Outcome> {
        if matches!(first.written, Written::Nothing | Written::Unreadable(_)) {
            return Ok(Some(first));
        }
        match fresh_report(&*self.cloud, instance, &first.written, self.fresh_every).await {
            Ok(Fresh::Moved(now)) => Ok(Some(*now)),
            Ok(Fresh::Gone) => Ok(None),
            Ok(Fresh::Silent(waited)) => {
                let waited = waited.as_secs();
                let why = format!("{instance} has reported nothing new for {waited}s, so nobody knows what runs there");
                Err(Outcome::Untouchable(why))
            }
            Err(error) => Err(Outcome::Failed(error.to_string())),
        }
    }
}

/// What became of a machine's report while it was looked at.
#[derive(Debug)]
pub enum Fresh {
    Moved(Box<Observed>),
    Gone,
    /// For so long.
    Silent(Duration),
}

/// Looks at a machine until its report is another one than `old`: one that does not move may be of any age, and of a boot
/// that is over.
///
/// # Errors
/// The cloud does not say.
pub async fn fresh_report(
    cloud: &dyn Machines,
    instance: &InstanceRef,
    old: &Written,
    every: Duration,
) -> Result<Fresh, CloudError> {
    let mark = |written: &Written| written.report().map(|report| (report.boot_id.clone(), report.counter));
    let old = mark(old);
    for _ in 0..FRESH_LOOKS {
        tokio::time::sleep(every).await;
        let Some(now) = cloud.observe(instance).await? else { return Ok(Fresh::Gone) };
        let found = mark(&now.written);
        if found.is_some() && found != old {
            return Ok(Fresh::Moved(Box::new(now)));
        }
    }
    Ok(Fresh::Silent(every * FRESH_LOOKS))
}

fn seen(observed: Observed) -> Seen {
    Seen {
        state: observed.machine.state,
        role: observed.machine.role,
        deletion_protection: observed.machine.deletion_protection,
        written: observed.written,
    }
}
