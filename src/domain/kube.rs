//! What a cluster shows of a validator: the judgement, from the few facts that [`crate::adapters::kube`] keeps.
//!
//! It watches nobody and reads no clock. Two rules stand above all others: what is not known is *unknown*, never down;
//! and a pod that is ready is only *not down*, because readiness is whatever its author wrote there. An *up* from here
//! never outvotes a chain that says down (see [`crate::domain::Signals::assess`]).

mod cause;
mod command;
mod facts;
mod judge;
mod node;
mod pod;
#[cfg(test)]
mod tests;

pub use cause::{BY_SELECTOR, Cause, Changed, End, Gone, Unseen};
pub use command::{ContainerCommand, starts_through_gate};
pub use facts::*;
pub use judge::judge;
pub use node::is_sick;

use super::{Span, Time, Verdict};

/// What the operator allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// A crash loop that began with a change of the template.
    pub crash_after_change: OnCrash,
    /// A crash loop that began by itself; a dead disk looks like that.
    pub crash: OnCrash,
    /// For how long a change of the template may take.
    pub rollout_grace: Span,
    /// For how long a pod may take from its making until it runs.
    pub start_grace: Span,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            crash_after_change: OnCrash::Wait,
            crash: OnCrash::Down,
            rollout_grace: Span::from_mins(10),
            // An image of some gigabytes over a home's line takes this long.
            start_grace: Span::from_mins(5),
        }
    }
}

/// What a crash loop means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnCrash {
    /// It needs a human more than a machine in the cloud: nothing opens by itself, people are notified.
    Wait,
    /// The validator is down.
    Down,
}

/// What the cluster shows of a validator at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What is the matter, or that nothing is. Its text is in an operator's words.
    pub cause: Cause,
    /// What that means.
    pub verdict: Verdict,
    /// No incident opens by itself while this is so: a human has to say whether this is an outage.
    pub hold: bool,
    /// The facts it rests on, one a line, for people.
    pub evidence: Vec<String>,
    /// When to judge again though nothing has changed.
    pub review_at: Option<Time>,
}
