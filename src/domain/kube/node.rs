//! Whether a node lives, from its lease and its conditions.
//!
//! A lease's own time is not compared with our clock to find out whether it is old: what counts is when we last saw it
//! change. Only how far the two clocks are apart is read from it.

use super::{Gone, Known, NodeFacts, NodeLease, Ready, Unseen};
use crate::domain::{Span, Time, TimeExt};

/// Clocks further apart than this are a fault of their own: then silence of the lease alone is not believed.
const MAX_SKEW: Span = Span::from_secs(60);

/// What a node is at a moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NodeView {
    Well,
    Pressed(String),
    /// It is there and does not work.
    Sick(String),
    /// It gives no sign of life.
    Gone(Gone),
    Unseen(Unseen),
}

/// Judges a node, and says when its lease runs out if nothing changes until then.
pub(super) fn view(node: &NodeFacts, now: Time) -> (NodeView, Option<Time>) {
    let state = match &node.object {
        Known::NotYet => return (unseen_yet(node), None),
        Known::Blind(why) => {
            let what = format!("node {}", node.name);
            return (NodeView::Unseen(Unseen::Blind { what, why: why.clone() }), None);
        }
        Known::Missing | Known::Removed => return (NodeView::Gone(Gone::Removed), None),
        Known::Is(state) => state,
    };
    if state.ready == Ready::Unknown {
        return (NodeView::Gone(Gone::ReadyUnknown { why: state.message.clone() }), None);
    }
    let ends_at = match &node.lease {
        Known::NotYet => return (unseen_yet(node), None),
        // A node without a lease, or one we may not read: its conditions have to do.
        Known::Missing | Known::Removed | Known::Blind(_) => None,
        Known::Is(lease) => {
            let ends_at = end_of(lease);
            if now >= ends_at {
                return (silent(node, lease, now), None);
            }
            Some(ends_at)
        }
    };
    let view = match state.ready {
        Ready::False => NodeView::Sick(not_ready(&state.message)),
        Ready::Unsaid => NodeView::Sick("it has no condition Ready".into()),
        Ready::True | Ready::Unknown if !state.pressures.is_empty() => NodeView::Pressed(state.pressures.join(", ")),
        Ready::True | Ready::Unknown => NodeView::Well,
    };
    (view, ends_at)
}

impl NodeFacts {
    /// Whether somebody has closed it for new pods.
    #[must_use]
    pub fn is_cordoned(&self) -> bool {
        match &self.object {
            Known::Is(state) => state.cordoned,
            Known::NotYet | Known::Missing | Known::Removed | Known::Blind(_) => false,
        }
    }
}

/// Whether the node was gone or not ready: a pod that goes with it has not been deleted by a human.
#[must_use]
pub fn is_sick(node: &NodeFacts, now: Time) -> bool {
    match view(node, now).0 {
        NodeView::Sick(_) | NodeView::Gone(_) => true,
        NodeView::Well | NodeView::Pressed(_) | NodeView::Unseen(_) => false,
    }
}

fn end_of(lease: &NodeLease) -> Time {
    lease.changed_at.plus(lease.duration)
}

fn silent(node: &NodeFacts, lease: &NodeLease, now: Time) -> NodeView {
    if lease.skew.abs() > MAX_SKEW && (lease.seen_alive || !lease.skew.is_negative()) {
        return NodeView::Unseen(Unseen::ClockSkew { node: node.name.clone(), skew: lease.skew });
    }
    let silent = now.duration_since(lease.changed_at);
    // Kubelets renew four times as often, so of two that stop within half of it neither was heard after the other.
    if lease.nearest.is_some_and(|other| other.duration_since(lease.changed_at).abs() <= lease.duration / 2) {
        return NodeView::Unseen(Unseen::LeasesStopped { node: node.name.clone(), silent });
    }
    NodeView::Gone(Gone::LeaseStale { silent })
}

fn unseen_yet(node: &NodeFacts) -> NodeView {
    NodeView::Unseen(Unseen::NotYet { what: format!("node {} and its lease", node.name) })
}

fn not_ready(message: &str) -> String {
    if message.is_empty() { "NotReady".into() } else { format!("NotReady ({message})") }
}
