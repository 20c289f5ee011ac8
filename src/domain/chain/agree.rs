//! Several nodes' opinions made one: they agree, or the verdict is unknown.
//!
//! A node that cannot say counts for nothing, but it is named beside the verdict of those that can. It cannot veto:
//! otherwise the weakest of the nodes would decide whether the chain is a signal at all.

use super::{
    ChainHealth, ChainTime, Epoch, EpochRecord, KeyCounts, KeyStates, NodeEpoch, NodeOpinion, NodeTrouble, PublicKey,
    ValidatorObservation, judge, key_states, opinion,
};
use crate::domain::{ChainView, Evidence, Interval, Reading, Time, TimeExt, ValidatorId, Verdict};

/// What the nodes agree on for one validator.
#[derive(Clone, Debug)]
pub struct Agreed {
    pub verdict: Verdict,
    pub why: String,
    /// What became of its keys, if any node could say.
    pub keys: Option<KeyStates>,
}

/// How many silent keys are named one by one.
const MAX_NAMED: usize = 4;

type Voice<'a> = (&'a NodeEpoch, Result<Option<NodeOpinion>, NodeTrouble>);

/// One validator by all nodes, each judged alone first.
#[must_use]
pub fn agree(epoch: Epoch, looks: &[NodeEpoch], keys: &[PublicKey]) -> Agreed {
    let voices: Vec<Voice<'_>> = looks.iter().map(|look| (look, opinion(look, keys))).collect();
    let mut states = states(looks, keys);
    let (mut verdict, mut why) = weigh(epoch, &voices, states.as_ref());
    // Of its silence such a node says nothing, of a duty it does: nobody may be called silent beside it.
    let is_duty = |look: &&NodeEpoch| judge::live(look, keys) > 0;
    if let Some(look) = looks.iter().find(is_duty).filter(|_| verdict == Verdict::Down) {
        let live = judge::live(look, keys);
        (verdict, why) = (Verdict::Unknown, format!("node {} shows {live} of its keys live; {why}", look.node));
    }
    if let Some(states) = &mut states {
        let silent = voices.iter().filter_map(|(_, voice)| voice.as_ref().ok()?.as_ref().map(|o| o.silent.len()));
        states.silent = if verdict == Verdict::Unknown { 0 } else { silent.max().unwrap_or(0) };
    }
    Agreed { verdict, why, keys: states }
}

fn weigh(epoch: Epoch, voices: &[Voice<'_>], states: Option<&KeyStates>) -> (Verdict, String) {
    let alone = voices.len() == 1;
    let name = |look: &NodeEpoch| if alone { "its node".into() } else { format!("node {}", look.node) };
    let troubles: Vec<String> = voices
        .iter()
        .filter_map(|(look, voice)| voice.as_ref().err().map(|trouble| format!("{} {trouble}", name(look))))
        .collect();
    let mut roots = voices.iter().filter_map(|(look, voice)| voice.is_ok().then_some(look.genesis_root.as_ref()));
    let first = roots.next();
    if roots.any(|root| Some(root) != first) {
        return (Verdict::Unknown, "its nodes follow different chains: set ethereum.genesis_root".into());
    }
    let said: Vec<(&NodeEpoch, &NodeOpinion)> =
        voices.iter().filter_map(|(look, voice)| Some((*look, voice.as_ref().ok()?.as_ref()?))).collect();
    let Some((_, opinion)) = said.first() else {
        let idle = voices.iter().any(|(_, voice)| voice.is_ok());
        let why = if idle { vec![no_duties(states)] } else { troubles };
        return (Verdict::Unknown, why.join("; "));
    };
    if said.iter().any(|(_, other)| other.verdict != opinion.verdict) {
        let says = |(look, opinion): &(&NodeEpoch, &NodeOpinion)| {
            format!("node {} says {} in epoch {epoch}", look.node, word(opinion.verdict))
        };
        return (Verdict::Unknown, said.iter().map(says).chain(troubles).collect::<Vec<_>>().join("; "));
    }
    let mut why = vec![sentence(epoch, opinion)];
    why.extend(said.iter().find_map(|(look, opinion)| on_chain(look, opinion)));
    if let Some(left_out) = states.and_then(left_out) {
        why.push(left_out);
    }
    why.extend(troubles.iter().map(|trouble| format!("{trouble} and is left out")));
    (opinion.verdict, why.join("; "))
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Up => "live",
        Verdict::Partial => "partly silent",
        Verdict::Down => "silent",
        Verdict::Unknown => "nothing",
    }
}

fn sentence(epoch: Epoch, opinion: &NodeOpinion) -> String {
    let others = format!("{} of {} others live", opinion.control.live, opinion.control.total);
    let (silent, all) = (opinion.silent.len(), opinion.live + opinion.silent.len());
    match opinion.verdict {
        Verdict::Up | Verdict::Down | Verdict::Unknown => {
            format!("{} in epoch {epoch}, {others}", word(opinion.verdict))
        }
        Verdict::Partial => {
            let mut named: Vec<String> = opinion.silent.iter().take(MAX_NAMED).map(ToString::to_string).collect();
            if silent > MAX_NAMED {
                named.push(format!("{} more", silent - MAX_NAMED));
            }
            format!("{silent} of {all} keys silent in epoch {epoch} ({}), {others}", named.join(", "))
        }
    }
}

/// What the canonical chain adds to a silence. It lags an epoch behind liveness.
fn on_chain(look: &NodeEpoch, opinion: &NodeOpinion) -> Option<String> {
    let rewards = judge::rewards(look, &opinion.silent)?;
    (opinion.verdict == Verdict::Down && rewards.missed > 0 && rewards.made == 0)
        .then(|| format!("missed on the chain in epoch {}", rewards.epoch))
}

fn left_out(states: &KeyStates) -> Option<String> {
    let counted = [
        (states.pending, "pending"),
        (states.exited, "exited"),
        (states.slashed.len(), "slashed"),
        (states.missing, "not on the chain"),
    ];
    let named: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!named.is_empty()).then(|| format!("left out: {}", named.join(", ")))
}

fn no_duties(states: Option<&KeyStates>) -> String {
    let details = states.and_then(left_out).map(|text| format!(" ({text})")).unwrap_or_default();
    format!("none of its keys is active{details}")
}

/// The first node's word on the keys, with every key that *any* node calls slashed: that must not be outvoted.
fn states(looks: &[NodeEpoch], keys: &[PublicKey]) -> Option<KeyStates> {
    let mut all = looks.iter().filter_map(|look| look.keys.as_ref()).map(|known| key_states(known, keys));
    let mut states = all.next()?;
    for other in all {
        for key in other.slashed {
            if !states.slashed.contains(&key) {
                states.slashed.push(key);
            }
        }
    }
    Some(states)
}

impl Agreed {
    /// As a signal, about the whole of the epoch.
    #[must_use]
    pub fn reading(&self, epoch: Epoch, time: &ChainTime) -> Reading {
        let about = time.interval(epoch);
        Reading {
            verdict: self.verdict,
            evidence: Evidence::Chain,
            about,
            fresh_until: about.to.plus(time.believed_for()),
            why: self.why.as_str().into(),
        }
    }
}

/// Everything about one validator at the end of one epoch.
#[must_use]
pub fn observe(
    epoch: Epoch,
    looks: &[NodeEpoch],
    validator: &ValidatorId,
    keys: &[PublicKey],
    time: &ChainTime,
) -> ValidatorObservation {
    let agreed = agree(epoch, looks, keys);
    ValidatorObservation {
        validator: validator.clone(),
        reading: agreed.reading(epoch, time),
        keys: agreed.keys,
        records: looks.iter().map(|look| record(look, keys, time)).collect(),
    }
}

/// The chain as a whole. One well node that sees it not finalising is enough: then nothing is created, which is the
/// harmless side to err on.
#[must_use]
pub fn chain_view(looks: &[NodeEpoch]) -> ChainView {
    let of = |look: &NodeEpoch| look.finalised.map(|epoch| ChainHealth::of(Epoch(look.epoch.0 + 1), epoch));
    let health = looks.iter().filter_map(of).fold(ChainHealth::Unknown, ChainHealth::worst);
    let mut roots = looks.iter().filter_map(|look| look.genesis_root.as_ref());
    let first = roots.next();
    let genesis_root = first.filter(|first| roots.all(|root| root == *first)).cloned();
    ChainView { health, genesis_root }
}

fn record(look: &NodeEpoch, keys: &[PublicKey], time: &ChainTime) -> EpochRecord {
    let opinion = opinion(look, keys);
    let said = opinion.as_ref().ok().and_then(Option::as_ref);
    let states = look.keys.as_ref().map(|known| key_states(known, keys));
    let live = judge::live(look, keys).max(said.map_or(0, |opinion| opinion.live));
    let unknown_because = match &opinion {
        Ok(Some(_)) => None,
        Ok(None) => Some(no_duties(states.as_ref())),
        Err(trouble) => Some(format!("the node {trouble}")),
    };
    EpochRecord {
        epoch: look.epoch,
        about: Some(time.interval(look.epoch)),
        node: look.node.clone(),
        peer: look.peer.clone(),
        observed_at: look.observed_at,
        verdict: said.map_or(Verdict::Unknown, |opinion| opinion.verdict),
        unknown_because,
        synced_since: look.well_since,
        genesis_root: look.genesis_root.clone(),
        keys: (said.is_some() || live > 0).then(|| states.unwrap_or_default()).map(|states| KeyCounts {
            live,
            silent: said.map_or(0, |opinion| opinion.silent.len()),
            pending: states.pending,
            exited: states.exited,
            slashed: states.slashed.len(),
            missing: states.missing,
        }),
        control: said.map(|opinion| opinion.control),
        rewards: judge::rewards(look, keys),
        finalised: look.finalised,
    }
}

/// A reading for a time at which nothing can be judged. It is about no earlier than `after`, the end of the last
/// reading, because a signal about an earlier time is taken for old news.
#[must_use]
pub fn cannot_say(after: Time, why: &str) -> Reading {
    let mut reading = Reading::unknown(Evidence::Chain, after, why);
    reading.about = Interval { from: after, to: after };
    reading
}
