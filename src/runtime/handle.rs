//! The way to the loop: what can be sent to it, and what it reports to others.
//!
//! It holds no state of its own; a handle that nobody listens to drops what it is sent.

use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::{LedgerTroubles, lease::Lease, status::Status};
use crate::domain::{Event, IncidentId, Reason, Time, ValidatorId};

/// What can be sent to the loop.
#[derive(Debug)]
pub enum Input {
    Event(Event),
    /// Something happened, and the sender wants to know when it is in the ledger. Dropped unanswered when the event is
    /// rejected or the loop stops.
    Acknowledged(Event, oneshot::Sender<()>),
    Show(oneshot::Sender<Status>),
    /// Home is back: whoever leads gives the lease back cleanly.
    HandOver,
}

/// A step of a validator that is in the ledger, for those who report it elsewhere.
#[derive(Clone, Debug)]
pub struct Step {
    pub validator: ValidatorId,
    /// The incident it belongs to, if there is one.
    pub incident: Option<IncidentId>,
    pub reason: Reason,
    pub at: Time,
}

/// How many steps may wait for a slow listener; older ones are lost to it.
pub(super) const STEPS: usize = 256;

/// The way to the loop, for everybody else.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) leads: watch::Receiver<bool>,
    /// Asked at every question, because a process that was stopped and resumes does not know of its loss yet.
    pub(super) lease: watch::Receiver<Option<Lease>>,
    pub(super) steps: broadcast::Sender<Step>,
    pub(super) troubles: LedgerTroubles,
}

impl Handle {
    /// Tells the loop what happened. Whoever waits for the lease keeps the last word of each source.
    pub async fn send(&self, event: Event) {
        let _ = self.inputs.send(Input::Event(event)).await;
    }

    /// Gives the lease back, if this process leads: as a clean stop does, and then it waits for it again.
    pub async fn hand_over(&self) {
        let _ = self.inputs.send(Input::HandOver).await;
    }

    /// Whether somebody still listens.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.inputs.is_closed()
    }

    /// Everything, if this process leads and is not stuck.
    pub async fn status(&self) -> Option<Status> {
        if !self.leads() {
            return None;
        }
        // It may have lost the lease before it came to this question.
        self.see().await.filter(|status| status.holds_lease)
    }

    /// Everything, as this process sees it: one that waits for the lease shows its own signals beside what the ledger
    /// says. `None` when the loop does not answer.
    pub async fn see(&self) -> Option<Status> {
        let (sender, receiver) = oneshot::channel();
        let seen = async {
            self.inputs.send(Input::Show(sender)).await.ok()?;
            receiver.await.ok()
        };
        tokio::time::timeout(Duration::from_secs(2), seen).await.ok()?
    }

    /// Where what cannot be read in the ledger is reported.
    #[must_use]
    pub fn troubles(&self) -> &LedgerTroubles {
        &self.troubles
    }

    /// Whether this process holds the lease for certain at this moment, and has read the records.
    #[must_use]
    pub fn leads(&self) -> bool {
        let for_certain = |lease: &Lease| !lease.margin().is_zero();
        *self.leads.borrow() && self.lease.borrow().as_ref().is_some_and(for_certain)
    }

    /// Every step from now on, after it is in the ledger.
    #[must_use]
    pub fn steps(&self) -> broadcast::Receiver<Step> {
        self.steps.subscribe()
    }

    /// Changes when this process begins or ceases to lead.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.leads.clone()
    }
}
