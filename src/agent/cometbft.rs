//! What a CometBFT node says of itself, judged: how far it is, whether that is synced, and whether its own key signs.
//! Pure: it asks nobody and reads no clock.
//!
//! **Invariant:** `catching_up: false` alone never makes *synced*: a node without peers, or on a chain that stands
//! still, says so as well. Only a head that is fresh by the right time does, on the chain that was configured, with a
//! peer, and with a key of its own that has no vote.

use std::time::Duration;

use super::{
    head::{self, Doing, Way},
    health::{NodeHealth, UNKNOWN_HEAD_AGE_SECONDS},
    pace::Pace,
    signer::Signs,
};
use crate::{
    adapters::{
        cometbft::{CometbftLook, CometbftStatus},
        http::PageError,
        json_rpc::RpcError,
    },
    domain::{Span, Time, elapsed, human},
};

#[cfg(test)]
mod tests;

/// An older head is not now. Chains of this kind make a block in one to six seconds, so this is ten of the slowest, and
/// what a round or two without a proposer cost; a node that lost its chain is noticed within one minute.
const FRESH: Span = Span::from_secs(60);

#[derive(Debug)]
pub struct CometbftJudge {
    network: String,
    pace: Pace,
    /// Where the way began, for a node that does not say what its oldest block is.
    first: Option<Time>,
}

impl CometbftJudge {
    /// `network` is the chain id it has to follow.
    #[must_use]
    pub fn new(network: String) -> Self {
        Self { network, pace: Pace::default(), first: None }
    }

    /// Judges one look: `now` is the right time as far as it is known, `uptime` a clock that only goes forward.
    pub fn judge(&mut self, look: &CometbftLook, now: Time, uptime: Duration) -> NodeHealth {
        let doing = self.doing(look, now);
        let (percent, seconds_to_go) = Doing::progress(doing.as_ref(), &mut self.pace, now, uptime);
        let status = look.status.as_ref().ok();
        let mut versions = Vec::new();
        versions.extend(status.and_then(|status| status.version.clone()).map(|version| ("CometBFT", version)));
        versions.extend(look.application.clone().map(|version| ("application", version)));
        NodeHealth {
            percent,
            synced: doing.is_none(),
            stage: doing.map_or_else(|| "synced".into(), |doing| doing.stage),
            seconds_to_go,
            // A block is final when it is there: there is no head that is followed before it is verified.
            optimistic: false,
            head_age_seconds: status.and_then(|status| head_age(status, now)).unwrap_or(UNKNOWN_HEAD_AGE_SECONDS),
            peers: look.peers.as_ref().copied().unwrap_or(0),
            genesis_root: String::new(),
            chain_id: status.and_then(|status| status.network.clone()),
            signs: signs(status),
            listens: !matches!(look.status, Err(RpcError::Page(PageError::Refused))),
            versions,
        }
    }

    /// What it is doing until it is synced; `None` when it is.
    fn doing(&mut self, look: &CometbftLook, now: Time) -> Option<Doing> {
        let status = match &look.status {
            Err(error) => return Some(waits(error)),
            Ok(status) => status,
        };
        match &status.network {
            None => return Some(waits("does not say which chain it follows")),
            Some(other) if *other != self.network => {
                return Some(waits(format!("follows another chain ({other}, not {})", self.network)));
            }
            Some(_) => {}
        }
        let (height, latest) = match (status.height, status.latest) {
            // A state that is fetched is not counted in blocks, and before the first block there is nothing to count.
            (Some(0), _) => return Some(waits("has no block yet: it looks for peers, or fetches a state")),
            (Some(height), Some(latest)) => (height, latest),
            (None, _) | (_, None) => return Some(waits("does not say which block is its newest")),
        };
        if let Some(ahead) = head::ahead(latest, now) {
            return Some(waits(format!("has a head from the future, by {}", human(ahead))));
        }
        let age = elapsed(latest, now);
        let first = *self.first.get_or_insert(latest);
        let earliest = status.earliest.filter(|earliest| *earliest <= latest && *earliest > Time::UNIX_EPOCH);
        let way = Some(Way { from: earliest.unwrap_or(first.min(latest)), to: latest });
        let behind = |what: &str| {
            let stage = format!("CometBFT {what}: block {height}, {} behind", human(age));
            Some(Doing { stage, way })
        };
        if status.catching_up == Some(true) {
            return behind("catches up");
        }
        if age > FRESH {
            return behind("says it is in step, but its head is old");
        }
        if status.catching_up.is_none() {
            return Some(waits("does not say whether it catches up"));
        }
        match (&look.peers, status.voting_power) {
            (Err(error), _) => Some(waits(error)),
            (Ok(0), _) => Some(waits("has no peer")),
            (Ok(_), Some(0)) => None,
            (Ok(_), Some(power)) => Some(waits(format!("is no standby: its own key has a voting power of {power}"))),
            (Ok(_), None) => Some(waits("does not say its key's voting power")),
        }
    }
}

/// What its own key is about: with a vote it signs. A node that does not answer does not say so either.
fn signs(status: Option<&CometbftStatus>) -> Signs {
    let power = status.and_then(|status| status.voting_power);
    let voting = |power| format!("the CometBFT node's own key has a voting power of {power}");
    Signs {
        seen: power.filter(|power| *power > 0).map(voting),
        hidden: power.is_none().then(|| "the CometBFT node does not say its key's voting power".into()),
    }
}

fn head_age(status: &CometbftStatus, now: Time) -> Option<u64> {
    let latest = status.latest.filter(|_| status.height.is_some_and(|height| height > 0))?;
    Some(head::age_seconds(latest, now))
}

fn waits(stage: impl std::fmt::Display) -> Doing {
    Doing::waits(format!("CometBFT {stage}"))
}
