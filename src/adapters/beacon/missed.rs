//! What the canonical chain has of some keys' duties, in epochs that are finalised. It judges nothing.

use std::{sync::Arc, time::Duration};

use super::{NodeConfig, client::Client, control::Sampler};
use crate::{
    domain::{
        PublicKey, Time,
        chain::{ChainTime, Control, Epoch, KeyStatus, NodeTrouble, assess},
        gates::MissedDuties,
    },
    ports::Clock,
};

/// So many epochs are asked about, the newest: a request each.
const MOST: u64 = 5;
/// An attestation of an epoch may be in a block of the next one, and these are final once the epoch after that is.
const INCLUDED: u64 = 2;
/// As in every other answer about silence: a smaller group says nothing ([`super::control`]).
const MIN_CONTROL: usize = 8;

/// What one node's canonical chain says of these keys in the last epochs that began at `since` or later and whose duties
/// are final. Of no epoch while there is none yet.
///
/// # Errors
/// Why this node cannot say.
pub async fn missed(
    node: &NodeConfig,
    expected_root: Option<&str>,
    keys: &[PublicKey],
    since: Time,
    limit: Duration,
    clock: &Arc<dyn Clock>,
) -> Result<MissedDuties, NodeTrouble> {
    let client = Client::new(&node.url, limit).map_err(|error| NodeTrouble::Broken(error.to_string()))?;
    let asked = tokio::time::timeout(limit.saturating_mul(6), ask(&client, expected_root, keys, since, &**clock)).await;
    asked.unwrap_or(Err(NodeTrouble::NoAnswer))
}

async fn ask(
    client: &Client,
    expected_root: Option<&str>,
    keys: &[PublicKey],
    since: Time,
    clock: &dyn Clock,
) -> Result<MissedDuties, NodeTrouble> {
    let chain = client.chain(expected_root).await?;
    assess(&client.syncing().await?, &chain.time, clock.now())?;
    let finalised = client.finalised().await?;
    let mut said = MissedDuties { epochs: 0, made: 0, missed: 0, control_made: true };
    let Some(epochs) = settled(&chain.time, since, finalised) else {
        return Ok(MissedDuties { control_made: false, ..said });
    };
    let resolved = Sampler::new(fastrand::Rng::new()).resolve(client, keys).await?;
    let indices = resolved.indices();
    for epoch in epochs {
        let paid = client.final_rewards(Epoch(epoch), &indices).await?;
        let mut control = Control { live: 0, total: 0 };
        for target in resolved.control.iter().filter_map(|index| paid.get(index)) {
            control.total += 1;
            control.live += usize::from(*target > 0);
        }
        for info in resolved.keys.values().filter(|info| info.status == KeyStatus::Active) {
            match paid.get(&info.index) {
                Some(target) if *target > 0 => said.made += 1,
                Some(target) if *target < 0 => said.missed += 1,
                Some(_) | None => {}
            }
        }
        said.epochs += 1;
        said.control_made &= control.total >= MIN_CONTROL && control.live * 3 >= control.total * 2;
    }
    client.still_on(&chain).await?;
    Ok(said)
}

/// The newest epochs that are settled and began at `since` or later.
fn settled(time: &ChainTime, since: Time, finalised: Epoch) -> Option<std::ops::RangeInclusive<u64>> {
    let last = finalised.0.checked_sub(INCLUDED)?;
    let first = match time.epoch_at(since) {
        None => 0,
        Some(epoch) if time.interval(epoch).from >= since => epoch.0,
        Some(epoch) => epoch.0.saturating_add(1),
    };
    (first <= last).then(|| first.max((last + 1).saturating_sub(MOST))..=last)
}

/// Of what several nodes say: a duty that one of them has counts, and of the rest the first that says anything.
#[must_use]
pub fn agreed(said: &[MissedDuties]) -> Option<MissedDuties> {
    let made = said.iter().find(|said| said.made > 0);
    let missed = || said.iter().find(|said| said.missed > 0 && said.control_made);
    made.or_else(missed).or_else(|| said.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Span, TimeExt as _};

    #[test]
    fn only_epochs_after_the_incident_whose_duties_are_final_are_asked_about() {
        let time = ChainTime::new(0, 12_000, 32).unwrap();
        let at = |epoch: u64| time.interval(Epoch(epoch)).from;
        let of = |since, finalised| settled(&time, since, Epoch(finalised));
        assert_eq!(of(at(100), 104), Some(100..=102));
        assert_eq!(of(at(100).plus(Span::from_secs(1)), 104), Some(101..=102), "one that it began in is not after it");
        assert_eq!(of(at(100), 102), Some(100..=100));
        assert_eq!(of(at(100), 101), None, "its duties may still be included");
        assert_eq!(of(at(100), 400), Some(394..=398), "no more than the newest");
        assert_eq!((of(Time::MIN, 1), of(Time::MIN, 2)), (None, Some(0..=0)));
        assert!(of(Time::MAX, u64::MAX).is_none_or(|epochs| epochs.count() <= 5));
    }

    #[test]
    fn a_duty_that_one_node_has_is_not_outvoted() {
        let said = |made, missed, control_made| MissedDuties { epochs: 2, made, missed, control_made };
        let (duty, silent, sick) = (said(1, 3, true), said(0, 4, true), said(0, 4, false));
        assert_eq!(agreed(&[silent, duty, silent]), Some(duty));
        assert_eq!(agreed(&[sick, silent]), Some(silent));
        assert_eq!((agreed(&[sick]), agreed(&[])), (Some(sick), None));
    }
}
