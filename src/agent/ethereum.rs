//! What the beacon node and the execution client of a standby say together: how far they are, and whether that is
//! synced. Pure: it asks nobody and reads no clock.
//!
//! **Invariant:** only the beacon node's verified, fresh head on the right chain makes *synced*. An execution client
//! says `eth_syncing: false` before its sync ever began as well, so what it says shows progress and doubt, nothing else.

use std::time::Duration;

use super::{
    health::{NodeHealth, UNKNOWN_HEAD_AGE_SECONDS, percent},
    pace::{Outlook, Pace, Work},
    signer::Signs,
};
use crate::{
    adapters::{
        beacon::LocalLook,
        execution::{ExecutionLook, ExecutionSync, SyncProgress},
    },
    domain::{
        Time,
        chain::{ChainTime, SyncStatus, assess},
    },
};

mod stages;
#[cfg(test)]
mod tests;

/// The execution client's part of the whole way. With a checkpoint the beacon node needs minutes, the other hours.
const EXECUTION_PERCENT: u64 = 90;
/// Below this the state is what is waited for: geth stops this close behind the head until the state is there.
const PIVOT_DISTANCE: u64 = 256;
/// A beacon node that is so many slots behind has its own way to go first.
const FAR: u64 = 32;
/// A chain of more slots than this that has no block in its execution client is not synced, whatever anybody says.
const FIRST_SLOTS: u64 = 64;

#[derive(Debug, Default)]
pub struct EthereumJudge {
    genesis_root: Option<String>,
    pace: Pace,
    /// The block the execution client last said it has to come to; 0 before it has said so.
    highest: u64,
}

/// Why it is not synced, with how far it is.
struct Doing {
    stage: String,
    /// Done and remaining, if that can be counted.
    left: Option<(Work, u64, u64)>,
}

impl Doing {
    fn waits(stage: String) -> Self {
        Self { stage, left: None }
    }
}

impl EthereumJudge {
    /// `genesis_root` is the chain it has to follow, in lower case, if the operator has said.
    #[must_use]
    pub fn new(genesis_root: Option<String>) -> Self {
        Self { genesis_root, pace: Pace::default(), highest: 0 }
    }

    /// Judges one look: `now` is the right time as far as it is known, `uptime` a clock that only goes forward.
    pub fn judge(&mut self, beacon: &LocalLook, execution: &ExecutionLook, now: Time, uptime: Duration) -> NodeHealth {
        if let Ok(ExecutionSync::Syncing(progress)) = &execution.syncing {
            self.highest = stages::highest(progress);
        }
        let doing = self.doing(beacon, execution, now);
        let outlook = match &doing {
            Some(Doing { left: Some((work, done, remaining)), .. }) => {
                self.pace.outlook(*work, uptime, *done, *remaining)
            }
            Some(Doing { left: None, .. }) | None => {
                self.pace.rest();
                None
            }
        };
        let mut versions = Vec::new();
        versions.extend(beacon.version.clone().ok().map(|version| ("beacon node", version)));
        versions.extend(execution.version.clone().ok().map(|version| ("execution client", version)));
        NodeHealth {
            percent: if doing.is_none() { 100 } else { self.percent(beacon, execution, now).min(99) },
            synced: doing.is_none(),
            stage: doing.map_or_else(|| "synced".into(), |doing| doing.stage + &rate(outlook)),
            seconds_to_go: outlook.map(|outlook| outlook.seconds_to_go),
            // Without an answer it is not verified either.
            optimistic: beacon.status.as_ref().map_or(true, |status| status.optimistic || status.untold.is_some()),
            head_age_seconds: head_age(beacon, now),
            peers: beacon.peers.as_ref().map_or(0, |peers| u32::try_from(*peers).unwrap_or(u32::MAX)),
            genesis_root: beacon.chain.as_ref().map(|(root, _)| root.clone()).unwrap_or_default(),
            chain_id: None,
            signs: Signs::default(),
            listens: true,
            versions,
        }
    }

    /// What it is doing until it is synced; `None` when it is.
    fn doing(&self, beacon: &LocalLook, execution: &ExecutionLook, now: Time) -> Option<Doing> {
        let (root, time, status) = match (&beacon.chain, &beacon.status) {
            (Ok((root, time)), Ok(status)) => (root, time, status),
            (Err(trouble), _) | (_, Err(trouble)) => return Some(Doing::waits(format!("beacon node {trouble}"))),
        };
        if self.is_other_chain(root) {
            return Some(Doing::waits(format!("beacon node follows another chain ({root})")));
        }
        let verified = assess(status, time, now);
        match &execution.syncing {
            Err(error) => return Some(Doing::waits(format!("execution client {error}"))),
            Ok(ExecutionSync::Syncing(progress)) if verified.is_err() && is_busy(progress) => {
                return Some(execution_syncs(progress));
            }
            // Only an index is lacking, or the beacon node says the head is verified: that counts.
            Ok(ExecutionSync::Syncing(_)) => {}
            Ok(ExecutionSync::NotSyncing) => match &execution.block {
                Err(error) => return Some(Doing::waits(format!("execution client {error}"))),
                // While the beacon node itself has far to go, that is what is waited for.
                Ok(0) if !is_far(status, time, now) && (verified.is_err() || status.head.0 > FIRST_SLOTS) => {
                    return Some(Doing::waits("execution client has not begun to sync".into()));
                }
                Ok(_) => {}
            },
        }
        match verified {
            Ok(()) => None,
            Err(trouble) => {
                let left = slots(status, time, now).filter(|(done, of)| done < of);
                let left = left.map(|(done, of)| (Work::Slots, done, of - done));
                let slots = left.map(|(_, done, left)| format!(", slot {done} of {}", done + left));
                Some(Doing { stage: format!("beacon node {trouble}{}", slots.unwrap_or_default()), left })
            }
        }
    }

    fn is_other_chain(&self, root: &str) -> bool {
        self.genesis_root.as_ref().is_some_and(|expected| !expected.eq_ignore_ascii_case(root))
    }

    fn percent(&self, beacon: &LocalLook, execution: &ExecutionLook, now: Time) -> u8 {
        let (consensus, verified) = match (&beacon.chain, &beacon.status) {
            // Progress on another chain is none.
            (Ok((root, _)), _) if self.is_other_chain(root) => return 0,
            (Ok((_, time)), Ok(status)) => {
                let (done, of) = slots(status, time, now).unwrap_or((0, 0));
                (percent(done, of), !status.optimistic && !status.el_offline && status.head.0 > 0)
            }
            (Err(_), _) | (_, Err(_)) => (0, false),
        };
        let executed = match (&execution.syncing, &execution.block) {
            (Ok(ExecutionSync::Syncing(progress)), _) => stages::percent(progress),
            // It has blocks and its head is verified: then its way is behind it.
            (Ok(ExecutionSync::NotSyncing), Ok(block)) if *block > 0 && verified => 100,
            // It has come to its end, or was started again, and the beacon node has not looked yet.
            (Ok(ExecutionSync::NotSyncing), Ok(block)) => percent(*block, self.highest),
            (Ok(ExecutionSync::NotSyncing), Err(_)) | (Err(_), _) => 0,
        };
        let whole = u64::from(executed) * EXECUTION_PERCENT + u64::from(consensus) * (100 - EXECUTION_PERCENT);
        u8::try_from(whole / 100).unwrap_or(100)
    }
}

/// Whether more is lacking than an index, without which the node can be used.
fn is_busy(progress: &SyncProgress) -> bool {
    stages::highest(progress) > progress.current_block
        || progress.healing_trienodes > 0
        || progress.healing_bytecode > 0
        || (progress.tx_index_remaining_blocks == 0 && progress.state_index_remaining == 0)
}

fn execution_syncs(progress: &SyncProgress) -> Doing {
    let (done, of) = (progress.current_block, stages::highest(progress));
    let remaining = of.saturating_sub(done);
    let bytes = progress.synced_account_bytes.saturating_add(progress.synced_storage_bytes);
    let state = format!("{} of state", gigabytes(bytes));
    if remaining <= PIVOT_DISTANCE && (progress.healing_trienodes > 0 || progress.healing_bytecode > 0) {
        // How much will turn out to be lacking is not known before it is found.
        let (healed, left) =
            (progress.healed_trienodes, progress.healing_trienodes.saturating_add(progress.healing_bytecode));
        return Doing::waits(format!(
            "execution client: repairs its state, {healed} pieces done, {left} known to lack"
        ));
    }
    if remaining <= PIVOT_DISTANCE && bytes > 0 {
        let accounts = progress.synced_accounts;
        return Doing::waits(format!("execution client: fetches the state, {accounts} accounts, {state}"));
    }
    if of == 0 {
        return Doing::waits("execution client: looks for the head".into());
    }
    if let Some(stage) = stages::at_work(progress) {
        // The stages after it have rates of their own.
        return Doing::waits(format!("execution client: {stage}"));
    }
    // Nethermind has no head until its state is there, which is not counted in blocks.
    if let Some(mode) = progress.mode.as_ref().filter(|_| done == 0) {
        return Doing::waits(format!("execution client: {mode}, the head is block {}", number(of)));
    }
    let with_state = if bytes > 0 { format!(", {state}") } else { String::new() };
    let stage = format!("execution client: {} blocks{with_state}", done_of(done, of));
    Doing { stage, left: Some((Work::Blocks, done, remaining)) }
}

fn is_far(status: &SyncStatus, time: &ChainTime, now: Time) -> bool {
    slots(status, time, now).is_none_or(|(done, of)| of - done > FAR)
}

/// The head and the slot it should be; `None` before genesis.
fn slots(status: &SyncStatus, time: &ChainTime, now: Time) -> Option<(u64, u64)> {
    time.slot_at(now).map(|clock| (status.head.0.min(clock.0), clock.0))
}

fn head_age(beacon: &LocalLook, now: Time) -> u64 {
    let (Ok((_, time)), Ok(status)) = (&beacon.chain, &beacon.status) else { return UNKNOWN_HEAD_AGE_SECONDS };
    // A head from the future is no fresh one; how far it is off is not worth telling apart.
    let age = now.duration_since(time.start_of(status.head));
    u64::try_from(age.as_secs()).unwrap_or(if age > -time.slot() { 0 } else { UNKNOWN_HEAD_AGE_SECONDS })
}

/// "18.20 of 21.90 M", or whole numbers where that would hide that anything moves.
fn done_of(done: u64, of: u64) -> String {
    if of < 1_000_000 { format!("{done} of {of}") } else { format!("{} of {} M", millions(done), millions(of)) }
}

fn number(blocks: u64) -> String {
    if blocks < 1_000_000 { blocks.to_string() } else { format!("{} M", millions(blocks)) }
}

fn millions(blocks: u64) -> String {
    format!("{}.{:02}", blocks / 1_000_000, blocks % 1_000_000 / 10_000)
}

fn rate(outlook: Option<Outlook>) -> String {
    match outlook {
        None => String::new(),
        Some(Outlook { per_second, .. }) if per_second >= 10.0 => format!(", {per_second:.0} a second"),
        Some(Outlook { per_second, .. }) => format!(", {per_second:.1} a second"),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{}.{} GB", bytes / 1_000_000_000, bytes % 1_000_000_000 / 100_000_000)
}
