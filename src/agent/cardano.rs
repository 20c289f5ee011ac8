//! What a Cardano node's page says, judged: how far it is, whether that is synced, and whether it forges. Pure: it asks
//! nobody and reads no clock.
//!
//! **Invariant:** the node has no word for *synced*, so none is believed: its head's slot is compared with the slot of
//! the right time. A page that never changes is a node that falls behind.
//!
//! The page does not name the network. A node on another one is years behind, or in the future, and so is never synced.

mod slots;

use std::time::Duration;

use self::slots::Slots;
use super::{
    head::{self, Doing, Way},
    health::{NodeHealth, UNKNOWN_HEAD_AGE_SECONDS},
    pace::Pace,
    signer::Signs,
};
use crate::{
    adapters::{
        cardano::{CardanoError, CardanoLook},
        http::PageError,
    },
    config::CardanoNetwork,
    domain::{Span, Time, elapsed, human},
};

#[cfg(test)]
mod tests;

/// An older head is not now. One slot in twenty has a block (the coefficient of active slots is 0.05), so the next block
/// is 20 seconds away on average, but it takes longer than this only once in five million blocks, which are three years.
const FRESH: Span = Span::from_secs(300);

#[derive(Debug)]
pub struct CardanoJudge {
    slots: Slots,
    pace: Pace,
}

impl CardanoJudge {
    /// `network` gives every slot its time.
    #[must_use]
    pub fn new(network: CardanoNetwork) -> Self {
        Self { slots: Slots::of(network), pace: Pace::default() }
    }

    /// Judges one look: `now` is the right time as far as it is known, `uptime` a clock that only goes forward.
    pub fn judge(&mut self, look: &Result<CardanoLook, CardanoError>, now: Time, uptime: Duration) -> NodeHealth {
        let doing = self.doing(look, now);
        let (percent, seconds_to_go) = Doing::progress(doing.as_ref(), &mut self.pace, now, uptime);
        let listens = !matches!(look, Err(CardanoError::Page(PageError::Refused)));
        let look = look.as_ref().ok();
        let head = look.and_then(|look| look.slot).and_then(|slot| self.slots.time_of(slot));
        NodeHealth {
            percent,
            synced: doing.is_none(),
            stage: doing.map_or_else(|| "synced".into(), |doing| doing.stage),
            seconds_to_go,
            // A block is verified before it is a node's head.
            optimistic: false,
            head_age_seconds: head.map_or(UNKNOWN_HEAD_AGE_SECONDS, |head| head::age_seconds(head, now)),
            peers: look.and_then(|look| look.peers).unwrap_or(0),
            genesis_root: String::new(),
            chain_id: None,
            signs: Signs {
                seen: look.and_then(signs),
                hidden: look.is_none().then(|| "the Cardano node does not say whether it forges".into()),
            },
            listens,
            versions: look
                .and_then(|look| look.version.clone())
                .map(|version| ("cardano-node", version))
                .into_iter()
                .collect(),
        }
    }

    /// What it is doing until it is synced; `None` when it is.
    fn doing(&self, look: &Result<CardanoLook, CardanoError>, now: Time) -> Option<Doing> {
        let look = match look {
            Err(error) => return Some(waits(error)),
            Ok(look) => look,
        };
        let Some(slot) = look.slot else {
            // How long that takes is not known: what is left are blocks of very different size.
            let read = look.replayed_percent.map(|percent| format!(", {percent} % of it")).unwrap_or_default();
            return Some(waits(format!("has no head yet: it reads its database{read}")));
        };
        let Some(head) = self.slots.time_of(slot) else {
            return Some(waits(format!("has a head from the future, in slot {slot}")));
        };
        if let Some(ahead) = head::ahead(head, now) {
            return Some(waits(format!("has a head from the future, by {}", human(ahead))));
        }
        let age = elapsed(head, now);
        if age > FRESH {
            let stage = format!("Cardano node catches up: slot {slot}, {} behind", human(age));
            return Some(Doing { stage, way: Some(Way { from: self.slots.start(), to: head }) });
        }
        match (look.peers, signs(look)) {
            (Some(0), _) => Some(waits("has no peer")),
            // Whether it follows anybody is not known then, and unknown is not well.
            (None, _) => Some(waits("does not tell its peers")),
            (Some(_), Some(signs)) => Some(waits(format!("is no standby: {signs}"))),
            (Some(_), None) => None,
        }
    }
}

/// What says that it forges, or has the credentials for it.
fn signs(look: &CardanoLook) -> Option<String> {
    // That it is to forge says more than what came of it.
    let first = look.forging.iter().find(|name| *name == "forging_enabled").or(look.forging.first())?;
    Some(format!("the Cardano node counts what only a block producer does ({first})"))
}

fn waits(stage: impl std::fmt::Display) -> Doing {
    Doing::waits(format!("Cardano node {stage}"))
}
